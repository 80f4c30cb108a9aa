"""Big buffers between processes of one machine, through anonymous memory instead of pipes.

Touching fresh shared memory costs about thirty times a copy into warm memory, so an arena's slots are used
again and again, and stay mapped on both sides. The first offset of each segment is unique in its process:
a descriptor number that is used again can't be taken for the segment it named before.
"""

from __future__ import annotations

import itertools
import mmap
import os
import threading
import weakref
from _pickle import PickleBuffer
from collections import deque
from collections.abc import Callable, Iterable

from anypool import _linux
from anypool._wire import Buffer, Ref

__all__: list[str] = []

# A part of this size or more is worth a segment: below it, the pipe's copy costs less than the bookkeeping.
SEGMENT = 64 << 10
# Bytes of results in segments that wait to be given back; beyond it they go through the pipe.
ARENA = 1 << 30

_PAGE = mmap.PAGESIZE
# One mapping, and in Python below 3.13 one descriptor, for every window of a segment.
_WINDOW = 64 << 20
_SPACING = 1 << 40
_MOST_SEGMENTS = 1 << 22
# Beyond so many the one used longest ago is unmapped; what is in use stays valid.
_MOST_WINDOWS = 256
# Lent slots that are looked at each time.
_SWEPT = 16
# A warm slot may be this many classes too big: better than touching fresh memory.
_LOOSE_FIT = 3

_numbers = itertools.count(1)


class SegmentLost(OSError):
    """A segment can't be opened: its process has ended, or is another user's, or descriptors have run out."""


def _first_offset() -> int:
    return next(_numbers) % _MOST_SEGMENTS * _SPACING


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step


def _class_of(size: int) -> int:
    """The slot size for `size` bytes: whole pages, four classes for each doubling."""
    pages = max(1, -(-size // _PAGE))
    return _round_up(pages, 1 << max(0, pages.bit_length() - 3)) * _PAGE


def _span(offset: int, size: int) -> tuple[int, int]:
    """Start and length of the mapping for a slot: its window, or the slot alone if it crosses windows."""
    start = offset - offset % _WINDOW
    return (start, _WINDOW) if offset + size <= start + _WINDOW else (offset, size)


class _Closed:
    """What ends with `close` ends so when it is collected."""

    def close(self) -> None:
        raise NotImplementedError

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # noqa: BLE001 - at the interpreter's end nothing that it needs may be left
            pass


class Arena(_Closed):
    """Memory of this process that it fills and others read, slot by slot; `refused` counts what didn't fit.

    At most `limit` bytes are taken from the system. Not thread-safe.
    """

    def __init__(self, limit: int) -> None:
        self.refused = 0
        self._limit = limit
        self._fd = -1
        self._pid = os.getpid()
        self._taken = 0
        self._next = self._end = _first_offset()
        self._used: dict[int, int] = {}
        self._warm: dict[int, list[int]] = {}
        self._cold: dict[int, list[int]] = {}
        self._windows: dict[tuple[int, int], mmap.mmap] = {}
        _arenas.add(self)

    def put(self, data: Buffer) -> Ref | None:
        """Copy `data` into a free slot; None when there is no room, and the data has to travel otherwise."""
        source = memoryview(data).cast("B")
        size = source.nbytes
        try:
            offset = self._take(_class_of(size))
        except (OSError, ValueError):
            offset = None
        if offset is None:
            self.refused += 1
            return None
        window, start = self._window(offset, self._used[offset])
        with memoryview(window) as whole:
            whole[start : start + size] = source
        return Ref(self._pid, self._fd, offset, size)

    def free(self, offset: int) -> None:
        """Take a slot back, whose reader no longer uses it."""
        size = self._used.pop(offset, None)
        if size is not None:
            self._warm.setdefault(size, []).append(offset)

    def _take(self, size: int) -> int | None:
        wanted = size
        for _ in range(_LOOSE_FIT):
            if self._warm.get(wanted):
                return self._use(self._warm[wanted].pop(), wanted)
            wanted = _class_of(wanted + 1)
        if self._taken + size > self._limit and not self._evict(self._taken + size - self._limit):
            return self._take_bigger(size)
        return self._grow(size)

    def _use(self, offset: int, size: int) -> int:
        self._used[offset] = size
        return offset

    def _take_bigger(self, size: int) -> int | None:
        held = min((held for held in self._warm if held >= size and self._warm[held]), default=None)
        return None if held is None else self._use(self._warm[held].pop(), held)

    def _evict(self, size: int) -> bool:
        """Give at least `size` bytes of free slots back to the system; whether there were as many."""
        if sum(held * len(offsets) for held, offsets in self._warm.items()) < size:
            return False
        for held in sorted(self._warm, reverse=True):
            while self._warm[held] and size > 0:
                offset = self._warm[held].pop(0)
                window, start = self._window(offset, held)
                _linux.give_back(window, start, held)
                self._cold.setdefault(held, []).append(offset)
                self._taken -= held
                size -= held
        return True

    def _grow(self, size: int) -> int:
        """A new slot, or the place of one that was given back."""
        if self._fd < 0:
            self._fd = _linux.new_segment("arena")
        offset = self._cold[size].pop() if self._cold.get(size) else self._place(size)
        try:
            _linux.reserve(self._fd, offset, size)
            window, start = self._window(offset, size)
        except (OSError, ValueError):
            self._cold.setdefault(size, []).append(offset)
            raise
        self._taken += size
        _linux.populate(window, start, size)
        return self._use(offset, size)

    def _place(self, size: int) -> int:
        offset = self._next
        if _span(offset, size)[0] == offset:
            # Slots that don't fit into a window start with one, and nothing follows them in their last.
            offset = _round_up(offset, _WINDOW)
        end = offset + size
        if end > self._end:
            # Only a claim on offsets: a hole takes no space.
            os.ftruncate(self._fd, _round_up(end, _WINDOW))
            self._end = _round_up(end, _WINDOW)
        self._next = end if size <= _WINDOW else _round_up(end, _WINDOW)
        return offset

    def _window(self, offset: int, size: int) -> tuple[mmap.mmap, int]:
        span = _span(offset, size)
        if span not in self._windows:
            self._windows[span] = mmap.mmap(self._fd, span[1], offset=span[0])
        return self._windows[span], offset - span[0]

    def close(self) -> None:
        """Give everything back; readers that have mapped a slot keep it."""
        self._limit = -1
        for table in (self._windows, self._used, self._warm, self._cold):
            table.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Sealed(_Closed):
    """Buffers written once, that nobody can change any more, as one segment of this process."""

    def __init__(self, fd: int, refs: list[Ref]) -> None:
        self._fd = fd
        self.refs = refs
        _sealed.add(self)

    @classmethod
    def write(cls, buffers: Iterable[Buffer], step: int = _PAGE) -> Sealed | None:
        """Copy the buffers into a segment, each to begin at a multiple of `step` bytes.

        None when the system has no room or no descriptor for it.
        """
        at = _first_offset()
        refs = []
        fd = -1
        try:
            fd = _linux.new_segment("sealed")
            for buffer in buffers:
                size = _write_at(fd, buffer, at)
                refs.append(Ref(os.getpid(), fd, at, size, sealed=True))
                at = _round_up(at + size, step)
            os.ftruncate(fd, at)
            _linux.seal(fd)
            sealed, fd = cls(fd, refs), -1
        except OSError:
            return None
        finally:
            if fd >= 0:
                os.close(fd)
        return sealed

    def close(self) -> None:
        """Let go; processes that have mapped it keep it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _write_at(fd: int, buffer: Buffer, offset: int) -> int:
    # A write fills fresh pages faster than touching them through a mapping does.
    rest = memoryview(buffer).cast("B")
    size = len(rest)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written
    return size


class Mappings(_Closed):
    """Reads other processes' segments: views that can be written to and live as long as anybody uses them.

    Up to `keep` bytes of arena slots are lent out at a time; what comes on top is copied out. Thread-safe.
    """

    def __init__(self, keep: int = 64 << 20) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._lent: deque[tuple[memoryview, Ref]] = deque()
        self._held = 0
        self._done: list[Ref] = []
        self._files: dict[tuple[int, int, int], int] = {}
        self._windows: dict[tuple[int, int, int, int], mmap.mmap] = {}
        self._private: dict[tuple[int, int, int], tuple[weakref.ref[mmap.mmap], set[int]]] = {}
        _mappings.add(self)

    def view(self, ref: Ref) -> memoryview:
        """The bytes of `ref`; raises `SegmentLost` when they can't be reached."""
        with self._lock:
            try:
                if ref.sealed:
                    return self._view_private(ref)
                return self._view_slot(ref)
            except (OSError, ValueError) as error:
                raise SegmentLost(f"{ref} can't be read: {error}") from error

    def _view_slot(self, ref: Ref) -> memoryview:
        window, start = self._window(ref)
        inner = memoryview(window)[start : start + ref.size]
        if self._held + ref.size > self._keep:
            self._sweep()
        if self._held + ref.size > self._keep:
            self._done.append(ref)
            return _linux.private_copy(inner)
        self._held += ref.size
        self._lent.append((inner, ref))
        # A view of its own, not another one of the same buffer: `inner` can be released exactly when
        # neither this view, nor any view made from it, nor any array over one of them is left.
        return memoryview(PickleBuffer(inner))

    def _window(self, ref: Ref) -> tuple[mmap.mmap, int]:
        start, length = _span(ref.offset, ref.size)
        key = (ref.pid, ref.fd, start, length)
        window = self._windows.pop(key, None)
        if window is None:
            window = mmap.mmap(self._open(ref), length, offset=start)
            if len(self._windows) >= _MOST_WINDOWS:
                del self._windows[next(iter(self._windows))]
        self._windows[key] = window
        return window, ref.offset - start

    def _open(self, ref: Ref) -> int:
        key = (ref.pid, ref.fd, ref.offset // _SPACING)
        if key not in self._files:
            self._files[key] = _linux.open_of(ref.pid, ref.fd, os.O_RDWR)
        return self._files[key]

    def _view_private(self, ref: Ref) -> memoryview:
        """A view whose changes stay in this process; one mapping serves a segment, each place once."""
        first = ref.offset // _SPACING * _SPACING
        key = (ref.pid, ref.fd, first)
        known, places = self._private.get(key, (None, set[int]()))
        mapping = known() if known is not None else None
        if mapping is None or ref.offset in places:
            mapping, places = _map_private(ref, first), set()
            self._private[key] = weakref.ref(mapping, lambda gone: self._drop_private(key, gone)), places
        places.add(ref.offset)
        start = ref.offset - first
        return memoryview(mapping)[start : start + ref.size]

    def _drop_private(self, key: tuple[int, int, int], gone: weakref.ref[mmap.mmap]) -> None:
        # Called whenever the last user lets go, in any thread, maybe with the lock held: only atomic steps.
        known = self._private.get(key)
        if known is not None and known[0] is gone:
            self._private.pop(key, None)

    def _sweep(self) -> None:
        # In turns: a caller may keep a thousand results, and each message asks.
        lent = self._lent
        for _ in range(min(_SWEPT, len(lent))):
            inner, ref = lent[0]
            try:
                inner.release()
            except BufferError:
                lent.rotate(-1)
            else:
                self._done.append(ref)
                lent.popleft()
                self._held -= ref.size

    def collect(self) -> list[Ref]:
        """Slots that nobody uses any more, to be given back to their arenas; of many not all are looked at."""
        if not self._lent and not self._done:
            return []
        with self._lock:
            self._sweep()
            done, self._done = self._done, []
        # A sweep that Ctrl-C cut short may have noted a slot that the next one notes again.
        return list(dict.fromkeys(done))

    def forget(self, pid: int) -> None:
        """A process has ended: what is in use stays valid, the rest is unmapped, nothing is given back."""
        with self._lock:
            self._forget(lambda known: known == pid)

    def close(self) -> None:
        """Forget all processes; views stay valid as long as they are used."""
        with self._lock:
            self._forget(lambda known: True)

    def _forget(self, gone: Callable[[int], bool]) -> None:
        for file in [key for key in self._files if gone(key[0])]:
            os.close(self._files.pop(file))
        self._windows = {key: window for key, window in self._windows.items() if not gone(key[0])}
        self._private = {key: known for key, known in self._private.items() if not gone(key[0])}
        self._lent = deque((inner, ref) for inner, ref in self._lent if not gone(ref.pid))
        self._done = [ref for ref in self._done if not gone(ref.pid)]
        self._held = sum(ref.size for _, ref in self._lent)

    def abandon(self) -> None:
        """In a forked child: forget all; the lock may be held by a thread that doesn't exist here."""
        self._lock = threading.Lock()
        self.close()


def _map_private(ref: Ref, first: int) -> mmap.mmap:
    fd = _linux.open_of(ref.pid, ref.fd, os.O_RDONLY | os.O_NONBLOCK)
    try:
        length = os.fstat(fd).st_size - first
        return _linux.map_private(fd, length, first)
    finally:
        os.close(fd)


_arenas: weakref.WeakSet[Arena] = weakref.WeakSet()
_sealed: weakref.WeakSet[Sealed] = weakref.WeakSet()
_mappings: weakref.WeakSet[Mappings] = weakref.WeakSet()


def _forget_in_fork() -> None:
    """In a forked child: what the parent gave out or was lent is not this process'."""
    for lent in [*_arenas, *_sealed]:
        lent.close()
    for reader in list(_mappings):
        reader.abandon()


os.register_at_fork(after_in_child=_forget_in_fork)
