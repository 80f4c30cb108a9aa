"""The last that tasks have said, where their owner finds it though their worker dies without handing in anything.

A segment of the owner's has a page for each of the chunks that were sent last; a worker of the same machine opens it by
the owner's process and descriptor, and writes to it at once, for a task may be the end of its worker.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from struct import Struct

from anypool import _linux
from anypool._relay import wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from anypool._relay import Entry

__all__: list[str] = []

# Process, descriptor, -1 if there is none, and what is written on the first page.
PLACE = Struct("<Ii16s")
NOWHERE = PLACE.pack(0, -1, b"")
# What a page begins with: the chunk's number and how many bytes follow.
_HEAD = Struct("<QH")
_PAGE, _PAGES = 4096, 256
_MOST = _PAGE - _HEAD.size
_NAME = "tails"


class Tails:
    """The owner's end: there once somebody has asked for its place, until it is closed."""

    def __init__(self) -> None:
        self._place: bytes | None = None
        self._open: _Open | None = None
        self._making = allocate_lock()

    @property
    def place(self) -> bytes:
        """What workers are told."""
        if self._place is None:
            with self._making:
                if self._place is None:
                    self._place = self._made()
        return self._place

    def _made(self) -> bytes:
        try:
            opened = _Open(_linux.new_segment(_NAME))
            os.pwrite(opened.fd, key := os.urandom(16), 0)
        except (AttributeError, OSError):
            return NOWHERE  # Not on Linux, or for want of means.
        self._open = opened
        return PLACE.pack(os.getpid(), opened.fd, key)

    def close(self) -> None:
        """Nobody asks any more."""
        self._place, self._open = NOWHERE, None

    def last(self, seq: int) -> str:
        """What was said, as far as it was not handed in, in a chunk of this number; "" if that is not known."""
        opened = self._open
        page = os.pread(opened.fd, _PAGE, _offset(seq)) if opened is not None else b""
        if len(page) < _HEAD.size:
            return ""
        of, size = _HEAD.unpack_from(page)
        return page[_HEAD.size :][:size].decode(errors="replace") if of == seq else ""


class _Open:
    """A descriptor, for as long as anybody has this."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Named here, for at the interpreter's end the module may be empty by now.
        close(self.fd)


class Saying(list["Entry"]):
    """What a chunk says, for its outcome to carry; the end of that goes to its owner's page at once."""

    def __init__(self, place: bytes, seq: int) -> None:
        super().__init__()
        self._place, self._seq = place, seq
        self._tail = b""
        self._open: _Open | None = None
        self._asked = False

    def append(self, entry: Entry) -> None:
        """Keep it, in both places."""
        super().append(entry)
        if not self._asked:
            self._open, self._asked = _opened(self._place), True
        if self._open is not None:
            self._tail = tail = (self._tail + wording(entry))[-_MOST:]
            self._write(self._open.fd, tail)

    def _write(self, fd: int, tail: bytes) -> None:
        try:
            os.pwrite(fd, _HEAD.pack(self._seq, len(tail)) + tail, _offset(self._seq))
        except OSError:
            pass  # It is no more than a help.

    def handed_in(self) -> None:
        """Have the owner's page empty, for where its number is used again."""
        if self._open is not None:
            self._tail = b""
            self._write(self._open.fd, b"")


# The last that was opened.
_known: tuple[bytes, _Open | None] = NOWHERE, None


def _opened(place: bytes) -> _Open | None:
    """The segment, if it is that one: on another machine, or later, there may be anything in its place."""
    global _known
    known = _known
    if known[0] != place:
        known = _known = place, _open(*PLACE.unpack(place))
    return known[1]


def _open(pid: int, fd: int, key: bytes) -> _Open | None:
    try:
        # Before it is opened, which alone may do something to what is no segment.
        if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith(f"/memfd:anypool-{_NAME}"):
            return None
        opened = _Open(_linux.open_of(pid, fd, os.O_RDWR))
        return opened if os.pread(opened.fd, len(key), 0) == key else None
    except OSError:
        return None


def page_of(hub: int, wire: int) -> int:
    """The number under which the owner finds what is said behind a hub, whose chunks have none that it knows."""
    return hub << 32 | wire


def _offset(seq: int) -> int:
    return _PAGE * (1 + seq % _PAGES)
