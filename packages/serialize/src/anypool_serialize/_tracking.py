"""Gives classes that travel by value one identity per process.

A class is known by the process that first sent it and a number. Whoever receives that pair again gets the
class it already has, and the process that sent it first gets its own class back.
"""

import os
from itertools import count
from weakref import ref

TrackId = tuple[str, int]

# No lock: the collector and signal handlers run finalizers and handlers that send classes at any moment, in the very
# thread that would hold it. Single operations on these are atomic, and the first entry for a key counts.
_numbers = count(1)
_ids: dict[int, tuple[ref[object], TrackId]] = {}
_objects: dict[TrackId, ref[object]] = {}


def _new_origin() -> str:
    return f"{os.getpid():x}-{os.urandom(16).hex()}"


_origin = _new_origin()


def _after_fork() -> None:
    # Two children of one parent would otherwise give the same number to different classes.
    global _origin
    _origin = _new_origin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def identify(obj: object) -> TrackId:
    """The pair that stands for `obj` in every process; a new one if it has none yet."""
    entry = _ids.get(id(obj))
    if entry is not None and entry[0]() is obj:
        return entry[1]
    track = (_origin, next(_numbers))
    reference = _reference(track, obj)
    present, chosen = _ids.setdefault(id(obj), (reference, track))
    if present() is not obj:
        # Left by a dead object: an exception had stopped what forgets it.
        present, chosen = _ids[id(obj)] = (reference, track)
    if present is reference:
        _objects[track] = reference
    return chosen


def known(track: TrackId) -> object | None:
    """What this process has for `track`, or None."""
    entry = _objects.get(track)
    return None if entry is None else entry()


def adopt(track: TrackId, obj: object) -> object:
    """Make `obj` stand for `track` here, unless something else was faster: returns what does."""
    reference = _reference(track, obj)
    # First, so that whoever finds it by its number can send it on under that number.
    _ids[id(obj)] = (reference, track)
    present = _objects.setdefault(track, reference)()
    if present is None:
        _objects[track] = reference
        return obj
    return present


def is_own(obj: object) -> bool:
    """Whether `obj` was first sent by this process: nobody else may change it."""
    entry = _ids.get(id(obj))
    return entry is not None and entry[0]() is obj and entry[1][0] == _origin


def _reference(track: TrackId, obj: object) -> ref[object]:
    key = id(obj)

    def forget(dead: ref[object]) -> None:
        entry = _ids.get(key)
        if entry is not None and entry[0] is dead:
            _ids.pop(key, None)
        if _objects.get(track) is dead:
            _objects.pop(track, None)

    return ref(obj, forget)
