"""The last that tasks have said, where their owner finds it though their worker dies without handing in anything.

A segment of the owner's has a page for each of the chunks that were sent last; a worker of the same machine opens it by
the owner's process and descriptor, and writes to it at once, for a task may be the end of its worker.
"""

from __future__ import annotations

import os
from struct import Struct

from anypool import _linux
from anypool._origin import origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from anypool._relay import Entry

__all__: list[str] = []

# Process and descriptor, -1 if there is none.
PLACE = Struct("<Ii")
NOWHERE = PLACE.pack(0, -1)
# What a page begins with: the chunk's number and how many bytes follow. On the first page is the owner's origin.
_HEAD = Struct("<QH")
_PAGE, _PAGES = 4096, 256
_MOST = _PAGE - _HEAD.size
_NAME = "tails"
_ORIGIN = 16


class Tails:
    """The owner's end."""

    def __init__(self) -> None:
        self.place = NOWHERE
        self._file: Any = None
        try:
            self._file = open(_linux.new_segment(_NAME), "r+b", buffering=0)  # noqa: SIM115 - it ends with this object
            os.pwrite(self._file.fileno(), origin(), 0)
        except (AttributeError, OSError):
            return  # Not on Linux, or for want of means.
        self.place = PLACE.pack(os.getpid(), self._file.fileno())

    def last(self, seq: int) -> str:
        """What was said, as far as it was not handed in, in a chunk of this number; "" if that is not known."""
        if self._file is None:
            return ""
        page = os.pread(self._file.fileno(), _PAGE, _offset(seq))
        if len(page) < _HEAD.size:
            return ""
        of, size = _HEAD.unpack_from(page)
        return page[_HEAD.size :][:size].decode(errors="replace") if of == seq else ""


class Saying(list["Entry"]):
    """What a chunk says, for its outcome to carry; the end of that goes to its owner's page at once."""

    def __init__(self, owner: bytes, place: bytes, seq: int) -> None:
        super().__init__()
        self._where, self._seq = (owner, place), seq
        self._tail = b""
        self._file: Any = None

    def append(self, entry: Entry) -> None:
        """Keep it, in both places."""
        from anypool._relay import wording

        super().append(entry)
        if self._file is None:
            self._file = _opened(*self._where) or False
        if self._file:
            self._tail = tail = (self._tail + wording(entry))[-_MOST:]
            self._write(tail)

    def _write(self, tail: bytes) -> None:
        try:
            os.pwrite(self._file.fileno(), _HEAD.pack(self._seq, len(tail)) + tail, _offset(self._seq))
        except OSError:
            pass  # It is no more than a help.


    def handed_in(self) -> None:
        """Have the owner's page empty, for where its number is used again."""
        if self._file:
            self._tail = b""
            self._write(b"")


# The last that was opened.
_known: tuple[tuple[bytes, bytes], Any] | None = None


def _opened(owner: bytes, place: bytes) -> Any:
    """The segment, if it is one of that owner's: on another machine, or later, there may be anything in its place."""
    global _known
    known = _known
    if known is None or known[0] != (owner, place):
        pid, fd = PLACE.unpack(place)
        known = _known = (owner, place), _open(owner, pid, fd) if fd >= 0 else None
    return known[1]


def _open(owner: bytes, pid: int, fd: int) -> Any:
    try:
        # Before it is opened, which alone may do something to what is no segment.
        if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith(f"/memfd:anypool-{_NAME}"):
            return None
        file = open(_linux.open_of(pid, fd, os.O_RDWR), "r+b", buffering=0)  # noqa: SIM115 - kept
    except OSError:
        return None
    return file if os.pread(file.fileno(), _ORIGIN, 0) == owner else None


def page_of(hub: int, wire: int) -> int:
    """The number under which the owner finds what is said behind a hub, whose chunks have none that it knows."""
    return hub << 32 | wire


def _offset(seq: int) -> int:
    return _PAGE * (1 + seq % _PAGES)
