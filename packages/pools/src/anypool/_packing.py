"""A chunk as the message that carries it to a worker of another process."""

from __future__ import annotations

import itertools
import types
from _pickle import dumps as pickled
from collections import deque
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Any

from anypool import _share
from anypool._chunk import Body, Calling, Mode
from anypool._listening import listening
from anypool._origin import origin
from anypool._result import refuse
from anypool._serve import PLAIN, RUN, loading
from anypool._slot import Flight
from anypool._wire import IN_BAND, MOST_BUFFERS, NO_DIGEST, Buffer, Kind, Message, Ref
from anypool_serialize import Frames, TooLarge, by_reference, dumps

__all__: list[str] = []

# Bodies up to here ride along with every chunk; larger ones are sent once per worker.
_SMALL_BODY = 16 << 10
# Workers forget the body of a map that has ended if it is larger than this.
DROPPED_BODY = 1 << 20

_numbers = itertools.count(1)
# Bodies of functions that travel by name; nothing of them can change but where the name leads, which is checked.
_named: dict[Any, Body] = {}
_MOST_NAMED = 256
# So much weighs the name of a shared object, in bytes.
_USE = 1 << 10
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)


class Parcel:
    """A pickle and its buffers as the parts of messages; each part that lies in an arena slot is given back at the end.

    The slots are named in `returned` when nothing refers to the parcel any more, which may be in any thread.
    """

    __slots__ = ("_returned", "parts", "size", "uses")

    # What is shared and used in it, for as long as the parcel is needed; not there if there is nothing.
    uses: tuple[Any, ...]

    def __init__(self, parts: Sequence[Buffer | Ref], size: int, returned: deque[int] | None = None) -> None:
        self.parts, self.size, self._returned = parts, size, returned

    def __del__(self) -> None:
        # An interrupt may have struck before anything was set.
        if (returned := getattr(self, "_returned", None)) is not None:
            returned.extend(part.offset for part in self.parts if isinstance(part, Ref))


Place = Callable[[Frames], Parcel]


def inline(frames: Frames) -> Parcel:
    """Everything in the message itself; copied, since the originals may change before it leaves."""
    header, buffers = frames
    if not buffers:
        return Parcel([header], len(header))
    parts: list[Buffer | Ref] = [header, *(bytes(buffer.raw()) for buffer in buffers)]
    return Parcel(parts, sum(map(len, parts)))


def _frames(obj: object, names: tuple[str, ...] = (), most: int | None = None) -> Frames:
    frames = dumps(obj, names=names, most=most)
    return frames if len(frames.buffers) <= MOST_BUFFERS else dumps(obj, names=names, oob=IN_BAND, most=most)


def _parcel(obj: object, place: Place, names: tuple[str, ...] = (), most: int | None = None) -> tuple[Parcel, Frames]:
    if _share.tools is None:
        frames = _frames(obj, names, most)
        return place(frames), frames
    from anypool._shared import noted  # There by now.

    with noted() as uses:
        frames = _frames(obj, names, most)
        parcel = place(frames)
    if uses:
        parcel.uses = tuple(uses)
        # However little is sent for each, there is a limit to how many one message names.
        parcel.size += len(uses) * _USE
    return parcel, frames


def new_digest() -> bytes:
    """A name that no other process gives."""
    return origin() + next(_numbers).to_bytes(16, "little")


def pack(payload: Any, most: int, place: Place = inline) -> tuple[Parcel | None, int]:
    """Items, serialised, and their bytes; what they refer to may change afterwards. Raises `Unserializable`.

    Of what takes more than `most` bytes not many more are written: the parcel is None, the size a lower bound.
    """
    try:
        parcel, _ = _parcel(payload, place, most=most)
    except TooLarge:
        return None, most + 1
    return parcel, parcel.size


def pack_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], place: Place = inline) -> tuple[Mode, Any, int]:
    """The arguments of one call: how they travel, what travels, and its size in bytes.

    A few numbers and strings can't change, nor do they run code when they are pickled: that is left to `pack_plain`.
    """
    size = 0
    for arg in args:
        if type(arg) not in PLAIN:
            break
        size += getsizeof(arg)
    else:
        if not kwargs and size < _SMALL_BODY:
            return Mode.STAR, args, size
    refuse(args, kwargs)
    parcel, _ = _parcel((args, kwargs), place, ("args", "kwargs"))
    return Mode.CALL, parcel, parcel.size


def pack_plain(calls: list[tuple[Any, ...]]) -> Parcel:
    """The arguments of calls that `pack_arguments` has left as they were."""
    header = pickled(calls, 5)
    return Parcel([header], len(header))


def pack_body(calling: Calling, place: Place = inline) -> Body:
    """What is called, serialised, and named by the hash of its bytes unless it is so small that it always rides along.

    What workers forget when the map ends is named by a number: to hash it would take longer than to send it.
    """
    function = calling.function
    bare = not any(calling[1:])
    if bare and (known := named_body(function)) is not None:
        return known
    calling = calling._replace(listening=listening())
    if loading():
        # Each worker would import the module for itself, and have workers that do.
        raise RuntimeError(
            "a module maps over processes while a worker is importing it, to find what it is to run; "
            'do so in a function, or under `if __name__ == "__main__":`'
        )
    names = ("f", "kwargs", "retry_on", "seeding", "scope", "map_reduce", "profiled", "logging")
    parcel, frames = _parcel(tuple(calling), place, names)
    digest = NO_DIGEST
    if parcel.size > DROPPED_BODY:
        digest = new_digest()
    elif parcel.size > _SMALL_BODY:
        from hashlib import sha256  # Not at the top: it takes a twentieth of the start of a pool.

        digest = sha256(b"".join((frames.header, *(buffer.raw() for buffer in frames.buffers)))).digest()
    body = Body(calling, parcel, digest, parcel.size, frames.header if digest == NO_DIGEST else digest)
    if bare and type(function) in _FUNCTIONS and by_reference(function):
        if len(_named) >= _MOST_NAMED:
            _named.clear()
        _named[function, calling.listening] = body
    return body


def named_body(function: Callable[..., Any]) -> Body | None:
    """The body of a function that was packed before and still is what its name leads to."""
    known = _named.get((function, listening())) if type(function) in _FUNCTIONS else None
    return known if known is not None and by_reference(function) else None


def run_message(slot: int, flight: Flight, with_body: bool, careful: bool) -> Message:
    """RUN for a chunk: the function's body if the worker needs it, then the items."""
    chunk = flight.chunk
    job, body = chunk.job, chunk.job.body
    parts: list[Buffer | Ref] = [*body.parcel.parts] if with_body else []
    body_parts = len(parts)
    skip = chunk.skip
    if job.mode is not Mode.CALL:
        parts += chunk.payload.parts
    else:
        for parcel in chunk.payload[skip : skip + chunk.count]:
            parts += parcel.parts
    meta = RUN.pack(job.mode, job.stop, careful, body_parts, skip, job.budget, chunk.first, 0)
    return Message(Kind.RUN, 0, slot, flight.seq, job.number, 0, chunk.count, 0, body.digest, meta, parts)
