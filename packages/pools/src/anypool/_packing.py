"""A chunk as the message that carries it to a worker of another process."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from anypool_serialize import Frames, dumps

from anypool._chunk import Body, Calling, Mode
from anypool._desk import Flight
from anypool._serve import RUN
from anypool._wire import NO_DIGEST, Buffer, Kind, Message, Ref

__all__: list[str] = []

# Bodies up to here ride along with every chunk; larger ones are sent once per worker.
_SMALL_BODY = 16 << 10
_IN_BAND = 1 << 62


class Parcel(NamedTuple):
    """A pickle and its buffers, ready to be the parts of a message."""

    parts: list[Buffer | Ref]
    size: int


def inline(frames: Frames) -> Parcel:
    """Everything in the message itself."""
    parts: list[Buffer | Ref] = [frames.header, *(bytes(buffer.raw()) for buffer in frames.buffers)]
    return Parcel(parts, sum(map(len, parts)))


def pack_inline(payload: Any) -> tuple[Parcel, int]:
    """Items as one pickle; what they refer to may change afterwards."""
    header = dumps(payload, oob=_IN_BAND).header
    return Parcel([header], len(header)), len(header)


def body_inline(calling: Calling) -> Body:
    """What is called, named by the hash of its bytes unless it is small enough to ride along always."""
    header = dumps(tuple(calling), oob=_IN_BAND).header
    digest = NO_DIGEST if len(header) <= _SMALL_BODY else hashlib.sha256(header).digest()
    return Body(calling, Parcel([header], len(header)), digest, len(header))


def run_message(slot: int, flight: Flight, with_body: bool) -> Message:
    """RUN for a chunk: the function's body if the worker needs it, then the items."""
    chunk = flight.chunk
    job, body = chunk.job, chunk.job.body
    parts: list[Buffer | Ref] = list(body.parcel.parts) if with_body else []
    body_parts = len(parts)
    skip = chunk.skip
    if job.mode is Mode.CALL:
        for parcel in chunk.payload[skip : skip + chunk.count]:
            parts += parcel.parts
    else:
        parts += chunk.payload.parts
    meta = RUN.pack(job.mode, job.stop, chunk.careful, body_parts, skip, job.budget, 0)
    return Message(Kind.RUN, 0, slot, flight.seq, job.number, 0, chunk.count, 0, body.digest, meta, parts)
