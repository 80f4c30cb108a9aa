"""The owner's side of shared memory: what goes out to workers, what comes from them, and when it is given back."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOMEM

from anypool import _linux
from anypool._packing import Parcel, inline
from anypool._segments import ARENA, SEGMENT, Arena, Mappings, Sealed, SegmentLost
from anypool._wire import Buffer, Message, Ref
from anypool_serialize import Frames

__all__: list[str] = []


class Buffers:
    """One pool's segments; used by all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arena = Arena(ARENA)
        self._mappings = Mappings()
        self._returned: deque[int] = deque()
        # Buffers that went through a pipe, large as they were: no memory, no descriptor, or out of reach.
        self.inline = 0
        # Slots whose bytes were read instead of mapped.
        self._unread: deque[Ref] = deque()
        # Read by workers when they start, to see whether segments of this process can be reached.
        self._probe = Sealed.write([b"probe"])
        # Given up for a moment when a result has to be read and no descriptor is left.
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def probe(self) -> Ref | None:
        """A segment that every worker should be able to open."""
        return self._probe.refs[0] if self._probe is not None else None

    def place(self, frames: Frames) -> Parcel:
        """Copy what is large into the arena; what has no room there goes inline."""
        header, buffers = frames
        if not buffers and len(header) < SEGMENT:
            return Parcel([header], len(header))
        with self._lock:
            while self._returned:
                self._arena.free(self._returned.popleft())
            parts = [self._put(header), *(self._put(buffer.raw()) for buffer in buffers)]
        size = sum(part.size if isinstance(part, Ref) else len(part) for part in parts)
        return Parcel(parts, size, self._returned)

    def _put(self, part: Buffer) -> Buffer | Ref:
        if len(part) >= SEGMENT:
            if (ref := self._arena.put(part)) is not None:
                return ref
            self.inline += 1
        return bytes(part)

    @staticmethod
    def place_sealed(frames: Frames) -> Parcel:
        """Write what is large once for all workers, to be mapped and never changed."""
        header, buffers = frames
        raw: list[Buffer] = [header, *(buffer.raw() for buffer in buffers)]
        large = [part for part in raw if len(part) >= SEGMENT]
        sealed = Sealed.write(large) if large else None
        if sealed is None:
            return inline(frames)
        refs = iter(sealed.refs)
        parts = [next(refs) if len(part) >= SEGMENT else bytes(part) for part in raw]
        return _SealedParcel(parts, sum(map(len, raw)), sealed)

    def fetcher(self, message: Message) -> Callable[[Ref], Buffer]:
        """What gives the segments of one reply; they are given back when nothing refers to them.

        Raises `SegmentLost` if the worker has ended, and they with it.
        """
        refs = []
        for part in message.parts:
            if type(part) is Ref:
                refs.append(part)
            elif len(part) >= SEGMENT:
                self.inline += 1
        return _Fetcher(self._view, refs) if refs else _no_refs

    def _view(self, ref: Ref) -> Buffer:
        try:
            return self._mappings.view(ref)
        except SegmentLost as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in (EMFILE, ENFILE, ENOMEM):
                raise
        data = self._read_by_the_spare(ref)
        self._unread.append(ref)
        return data

    def _read_by_the_spare(self, ref: Ref) -> bytearray:
        with self._lock:
            if self._spare < 0:
                raise SegmentLost(f"{ref} can't be read: no descriptor is left")
            spare, self._spare = self._spare, -1
            os.close(spare)
            try:
                fd = _linux.open_of(ref.pid, ref.fd, os.O_RDONLY)
                try:
                    return bytearray(self.read(ref._replace(fd=fd)))
                finally:
                    os.close(fd)
            except (OSError, MemoryError) as error:
                raise SegmentLost(f"{ref} can't be read: {error}") from error
            finally:
                # Somebody else may have taken the last one meanwhile.
                with suppress(OSError):
                    self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def given_back(self) -> list[Ref]:
        """Slots of workers' arenas that nobody uses any more."""
        free = self._mappings.collect()
        while self._unread:
            free.append(self._unread.popleft())
        return free

    def forget(self, pid: int) -> None:
        """A worker has ended."""
        self._mappings.forget(pid)

    def fetched(self, parts: list[Buffer | Ref]) -> list[Buffer | Ref]:
        """The same with the bytes of segments, for a worker that can't reach them."""
        self.inline += sum(type(part) is Ref for part in parts)
        return [self._bytes_of(part) if type(part) is Ref else part for part in parts]

    def _bytes_of(self, ref: Ref) -> bytes:
        # What a hub passes on lies in a segment of its owner's.
        return self.read(ref) if ref.pid == os.getpid() else bytes(self._mappings.view(ref))

    @staticmethod
    def read(ref: Ref) -> bytes:
        """The bytes behind a descriptor of this process, for who can't map them."""
        parts = []
        at, end = ref.offset, ref.offset + ref.size
        while at < end:
            parts.append(os.pread(ref.fd, end - at, at))
            if not parts[-1]:
                raise SegmentLost(f"{ref} ends before byte {end}")
            at += len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        """Give everything back; arrays that are still used stay valid."""
        self._arena.close()
        self._mappings.close()
        if self._probe is not None:
            self._probe.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


class _SealedParcel(Parcel):
    """A parcel that owns its segment."""

    __slots__ = ("_sealed",)

    def __init__(self, parts: Sequence[Buffer | Ref], size: int, sealed: Sealed) -> None:
        super().__init__(parts, size)
        self._sealed = sealed


class _Fetcher:
    """Opens the segments of a reply when it arrives: later its worker may be gone, and they with it."""

    def __init__(self, view: Callable[[Ref], Buffer], refs: list[Ref]) -> None:
        self._views = {ref: view(ref) for ref in refs}

    def __call__(self, ref: Ref) -> Buffer:
        return self._views.pop(ref)


def _no_refs(ref: Ref) -> Buffer:
    raise ValueError(f"{ref} was not announced by its message")
