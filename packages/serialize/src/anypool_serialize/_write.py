"""One object written by one pickler, as frames."""

from __future__ import annotations

from collections import namedtuple

from ._errors import TooLarge
from ._pickler import reducers

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pickle import PickleBuffer
    from typing import Any, NamedTuple

    from ._pickler import Pickler

    class Frames(NamedTuple):
        """A serialized object: pickle bytes and the buffers that travel beside them.

        The buffers are views of the sender's memory, not copies: write them out before the object changes.
        """

        header: bytes
        buffers: tuple[PickleBuffer, ...]

else:
    Frames = namedtuple("Frames", ("header", "buffers"), module="anypool_serialize")
    Frames.__doc__ = "A serialized object: pickle bytes, and the buffers (views of the sender's memory) beside them."

IN_BAND = 1 << 62
# A tenth of the time of a small message goes into the constructor of a named tuple.
_new = tuple.__new__


class _Sink:
    __slots__ = ("write",)


class _Limit:
    """Ends a pickling that takes too many bytes; asked for each large object, and for each 64 KiB of small ones."""

    def __init__(self, parts: list[bytes], most: int) -> None:
        self._parts, self._most, self._written = parts, most, 0

    def count(self, size: int) -> None:
        self._written += size
        if self._written > self._most:
            raise TooLarge(f"more than {self._most} bytes")

    def write(self, data: bytes) -> None:
        self.count(len(data))
        self._parts.append(data)


def write(
    kind: Callable[..., Pickler], obj: object, strict: bool, oob: int, most: int | None = None
) -> tuple[Frames, Sequence[object]]:
    """Frames, and the objects whose copy shares nothing with them; `TooLarge` as soon as it is clear."""
    parts: list[bytes] = []
    buffers: list[Any] = []

    def keep(buffer: Any) -> bool:
        if (size := buffer.raw().nbytes) < oob:
            return True
        if limit is not None:
            limit.count(size)
        buffers.append(buffer)
        return False

    limit = None if most is None else _Limit(parts, most)
    sink: Any = _Sink()
    sink.write = parts.append if limit is None else limit.write
    pickler = kind(sink, 5, False, keep)
    if strict:
        pickler.strict = True
    try:
        pickler.dump(obj)
    finally:
        if reducers.passing:
            reducers.forget_passing()
    header = parts[0] if len(parts) == 1 else b"".join(parts)
    return _new(Frames, (header, tuple(buffers))), () if pickler.opened is None else pickler.opened.copies
