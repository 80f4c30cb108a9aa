"""What a user is told of a group of a mix that is not there."""

from __future__ import annotations

import logging
import warnings

from anypool._budget import _outside
from anypool._groups import Group

__all__: list[str] = []


def could_not_start(group: Group) -> None:
    """Warn of it, at the user's own line."""
    text = f"group {group.name} of the mix could not start, and the others go on: {group.reason}"
    logging.getLogger("anypool").warning("%s", text)
    warnings.warn(text, RuntimeWarning, stacklevel=_outside())


def is_gone(group: Group) -> None:
    """Log it: there is no line to point to."""
    text = f"group {group.name} of the mix is gone: {group.reason}"
    logging.getLogger("anypool").warning("%s", text)
