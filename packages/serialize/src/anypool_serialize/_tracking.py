"""Gives classes that travel by value one identity per process.

A class is known by the process that first sent it and a number. Whoever receives that pair again gets the
class it already has, and the process that sent it first gets its own class back.
"""

import os
import threading
from weakref import ref

TrackId = tuple[str, int]

_lock = threading.Lock()
_numbers = 0
_ids: dict[int, tuple[ref[object], TrackId]] = {}
_objects: dict[TrackId, ref[object]] = {}


def _new_origin() -> str:
    return f"{os.getpid():x}-{os.urandom(16).hex()}"


_origin = _new_origin()


def _after_fork() -> None:
    # Two children of one parent would otherwise give the same number to different classes.
    global _origin, _lock
    _origin = _new_origin()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def identify(obj: object) -> TrackId:
    """The pair that stands for `obj` in every process; a new one if it has none yet."""
    global _numbers
    with _lock:
        entry = _ids.get(id(obj))
        if entry is not None and entry[0]() is obj:
            return entry[1]
        _numbers += 1
        track = (_origin, _numbers)
        _remember(track, obj)
        return track


def known(track: TrackId) -> object | None:
    """What this process has for `track`, or None."""
    entry = _objects.get(track)
    return None if entry is None else entry()


def adopt(track: TrackId, obj: object) -> object:
    """Make `obj` stand for `track` here, unless another thread was faster: returns the one that does."""
    with _lock:
        present = known(track)
        if present is not None:
            return present
        _remember(track, obj)
        return obj


def is_own(obj: object) -> bool:
    """Whether `obj` was first sent by this process: nobody else may change it."""
    entry = _ids.get(id(obj))
    return entry is not None and entry[0]() is obj and entry[1][0] == _origin


def _remember(track: TrackId, obj: object) -> None:
    key = id(obj)

    def forget(dead: ref[object]) -> None:
        # Runs at any moment, in any thread, perhaps while the lock is held: plain dict operations only.
        entry = _ids.get(key)
        if entry is not None and entry[0] is dead:
            _ids.pop(key, None)
        if _objects.get(track) is dead:
            _objects.pop(track, None)

    reference = ref(obj, forget)
    _ids[key] = (reference, track)
    _objects[track] = reference
