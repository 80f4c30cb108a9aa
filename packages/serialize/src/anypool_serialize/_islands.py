"""Dill for the single objects that nothing else carries: a pickle of its own inside the stream."""

from __future__ import annotations

import os
import pickle
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._message import Reduction

_lock = threading.RLock()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def import_dill() -> ModuleType:
    """Dill, with the standard pickler's table left as it was: importing dill adds 49 types to it."""
    import sys

    loaded = sys.modules.get("dill")
    if loaded is not None and not getattr(getattr(loaded, "__spec__", None), "_initializing", False):
        return loaded
    with _lock:
        table: dict[type, Any] = pickle._Pickler.dispatch  # noqa: SLF001  it is what must be restored
        before = dict(table)
        import dill

        for kind in table.keys() - before.keys():
            del table[kind]
        table.update(before)
        module: ModuleType = dill
        return module


def loads(data: bytes) -> object:
    # `ignore`: dill would otherwise give the object the class of that name in this `__main__`.
    result: object = import_dill().loads(data, ignore=True)
    return result


def reduce_by_dill(obj: Any) -> Reduction:
    """Raises what dill raises.

    File mode 1: a copy of a file stands where the original stood and does not empty it, as 0 would with "w".
    """
    return loads, (import_dill().dumps(obj, protocol=5, byref=False, fmode=1, recurse=True),)


def carries(kind: type) -> bool:
    """Whether dill has a way of its own for this type; a capsule's, a raw pointer, is not used."""
    return kind.__name__ != "PyCapsule" and kind in import_dill().Pickler.dispatch
