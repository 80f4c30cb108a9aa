"""What the caller's loggers and warning filters let through, in the form that goes along with what is called."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import Any

from anypool._wire import IN_BAND
from anypool_serialize import dumps

__all__: list[str] = []

# In a logger's cache of levels, which is emptied whenever any level is set; its other keys are numbers.
_MARK: Any = "anypool"
_WARNING = 30
_NO_LEVELS: tuple[int, int, dict[str, int]] = (_WARNING, 0, {})
# Those of a new interpreter.
_FRESH = [
    ("default", None, DeprecationWarning, "__main__", 0),
    ("ignore", None, DeprecationWarning, None, 0),
    ("ignore", None, PendingDeprecationWarning, None, 0),
    ("ignore", None, ImportWarning, None, 0),
    ("ignore", None, ResourceWarning, None, 0),
]


class _Known:
    """What was packed last, and of what."""

    levels = _NO_LEVELS
    filters: Any = None
    copied: list[Any] = []  # noqa: RUF012 - replaced, never changed
    changes = 0
    packed: bytes | None = None


_changing = threading.RLock()


def _after_fork() -> None:
    global _changing
    _changing = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def listening() -> bytes | None:
    """The settings that hold now; None for those of a new interpreter. Takes 0.3 us as long as nothing changes."""
    filters = warnings.filters
    log = sys.modules.get("logging")
    if (
        (log is None or _MARK in getattr(log.root, "_cache", ()))
        and filters is _Known.filters
        and filters == _Known.copied
    ):
        return _Known.packed
    with _changing:
        # Who looks meanwhile does not take what was packed before for what holds now, and waits here.
        known, _Known.filters = _Known.filters, None
        return _packed(known, filters, _levels(log))


def _packed(known: Any, filters: Any, levels: tuple[int, int, dict[str, int]]) -> bytes | None:
    if filters is not known or filters != _Known.copied:
        # Numbered, for to enter and to leave `catch_warnings` lets all be shown again, even if they are the same.
        _Known.copied = [*filters]
        _Known.changes += known is not None or _Known.copied != _FRESH
    elif levels == _Known.levels:
        _Known.filters = filters
        return _Known.packed
    _Known.levels = levels
    _Known.packed = None if levels == _NO_LEVELS and not _Known.changes else _pickled(levels)
    _Known.filters = filters
    return _Known.packed


def _pickled(levels: tuple[int, int, dict[str, int]]) -> bytes:
    filters = [
        (action, _pattern(message), _named(category), _pattern(module), lineno)
        for action, message, category, module, lineno in _Known.copied
    ]
    try:
        return bytes(dumps((_Known.changes, *levels, filters), oob=IN_BAND).header)
    except Exception:  # noqa: BLE001 - a category of the user's that doesn't travel
        known = [each for each in filters if isinstance(each[2], str) or each[2].__module__ == "builtins"]
        return bytes(dumps((_Known.changes, *levels, known), oob=IN_BAND).header)


def _named(category: Any) -> Any:
    """A category by the name of its module and its own, lest workers import that module only to know it."""
    module, name = category.__module__, category.__qualname__
    if module in ("builtins", "__main__") or getattr(sys.modules.get(module), name, None) is not category:
        return category
    return f"{module}:{name}"


def _pattern(found: Any) -> str | None:
    """The text of a regular expression; of a plain word, which stands for itself, the expression."""
    return None if found is None else f"{found}$" if isinstance(found, str) else found.pattern


def _levels(log: Any) -> tuple[int, int, dict[str, int]]:
    if log is None:
        return _NO_LEVELS
    root = log.root
    # First, so that what is set meanwhile takes the mark away again.
    getattr(root, "_cache", {})[_MARK] = True
    own = {name: each.level for name, each in [*root.manager.loggerDict.items()] if getattr(each, "level", 0)}
    return root.level, root.manager.disable, own
