"""The message being written: what its reducers remember, and how one of them stops it."""

from __future__ import annotations

import types
from _pickle import Pickler as _CPickler

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reduction = Any  # a tuple as __reduce__ returns, a global's name, or NotImplemented for "as pickle does"
    Reducer = Callable[["MessagePickler", Any], Reduction]


class Refused(Exception):
    """Stops a pickler at `obj`; never leaves the package."""

    def __init__(self, obj: object, reason: str) -> None:
        super().__init__(reason)
        self.obj = obj
        self.reason = reason


class CellShell:
    """Stands for a function's cell in the stream; it is written before what the cell holds."""

    __slots__ = ()


class Message:
    """What reducers remember about the message being written."""

    __slots__ = ("begun", "cells", "copies", "namespaces")

    def __init__(self) -> None:
        # Objects whose copy shares nothing with them.
        self.copies: list[object] = []
        # Functions that share their globals, or an enclosing variable, share it on the far side too.
        self.namespaces: dict[int, dict[str, Any]] = {}
        self.cells: dict[int, tuple[CellShell, types.CellType]] = {}
        self.begun: dict[int, object] = {}

    def again(self, obj: object) -> bool:
        """Whether `obj` is met within itself: the pickler asks about an object until it is written."""
        met = id(obj) in self.begun
        self.begun[id(obj)] = obj
        return met


class MessagePickler(_CPickler):
    """What writes a message, as its reducers see it."""

    strict = False
    opened: Message | None = None

    @property
    def message(self) -> Message:
        # Made when first asked for: most messages are data and have no use for it.
        if self.opened is None:
            self.opened = Message()
        return self.opened
