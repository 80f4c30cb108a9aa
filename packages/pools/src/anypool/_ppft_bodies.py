"""The functions that workers of one ppserver share: one of them holds each in memory that the others can open."""

from __future__ import annotations

import os
import sys

from anypool import _linux
from anypool._serve import RUN
from anypool._wire import Decoder, encode

__all__: list[str] = []

_MOST, _MOST_BYTES = 256, 64 << 20

# By digest, the descriptor and the size of what is held.
_held: dict[bytes, tuple[int, int]] = {}


def hold(data: bytes, digest: bytes) -> str:
    """Keep a message that carries a function; returns process and descriptor, nothing where that can't be."""
    if sys.platform != "linux":
        return ""
    if digest not in _held:
        try:
            _held[digest] = _segment_of(data, digest.hex()), len(data)
        except OSError:  # There is no room for it, or no descriptor.
            return ""
        while len(_held) > 1 and (len(_held) > _MOST or sum(size for _, size in _held.values()) > _MOST_BYTES):
            os.close(_held.pop(next(iter(_held)))[0])
    return f"{os.getpid()} {_held[digest][0]}"


def _segment_of(data: bytes, name: str) -> int:
    fd = _linux.new_segment(name)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
    except OSError:
        os.close(fd)
        raise
    return fd


def let_go() -> None:
    """Hold nothing any more, as the child of who does."""
    while _held:
        os.close(_held.popitem()[1][0])


def at_hand(data: bytes, place: tuple[int, int]) -> bytes | None:
    """A RUN message with the function that it lacks; None if that is no longer held."""
    (message,) = Decoder().feed(data)
    try:
        with open(_linux.open_of(*place, os.O_RDONLY), "rb") as file:
            # Whose number it is may have changed, and what the descriptor is.
            if message.digest.hex() not in os.readlink(f"/proc/self/fd/{file.fileno()}"):
                return None
            (body,) = Decoder().feed(file.read())
    except OSError:
        return None
    mode, stop, careful, _, *more = RUN.unpack_from(message.meta)
    message.meta = RUN.pack(mode, stop, careful, len(body.parts), *more) + bytes(message.meta)[RUN.size :]
    message.parts = [*body.parts, *message.parts]
    return b"".join(encode(message))
