"""A number that no other process has, nor a fork of this one."""

from __future__ import annotations

import os

__all__: list[str] = []

_number = os.urandom(16)


def origin() -> bytes:
    """16 bytes."""
    return _number


def _renew() -> None:
    global _number
    _number = os.urandom(16)


os.register_at_fork(after_in_child=_renew)
