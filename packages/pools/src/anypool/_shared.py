"""Shared objects as processes have them: how they are laid out, opened and kept; no more than a worker needs.

What was serialised is one run of bytes: its digest, how many parts it has and how long they are, then the parts, a
pickle and its buffers, each where an array may begin.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from stat import S_ISREG
from struct import Struct

from anypool import _linux, _share
from anypool._segments import Sealed, SegmentLost
from anypool._serve import RUN
from anypool._wire import Buffer, Message, Ref
from anypool_serialize import dumps, loads

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from anypool._sharing import Shared

__all__: list[str] = []

DIGEST = 32
_LENGTH = Struct("<Q")
# As numpy's own arrays are: what begins elsewhere is slower to compute with.
_ALIGNED = 64
_UNOPENED: Any = object()
_MOST_USES = 1000
# A part that says so: what was to come is not to be had any more.
_GONE = b"\0"
# Seconds for which a worker that nobody can tell keeps what it can't look after, and between two looks.
_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 1.0


class Entry:
    """One shared object as this process has it: whole, as it was serialised, or both.

    `far`: some worker can't reach its segment. `told`: there are workers that have it, and are to forget it with this.
    """

    __slots__ = (
        "__weakref__", "_lock", "_sealed", "_value", "_view", "blob", "digest", "far", "handle", "stand_in", "told",
        "used", "uses",
    )  # fmt: skip

    def __init__(self, digest: bytes, blob: Ref | bytes | None = None, value: Any = _UNOPENED) -> None:
        self.digest, self.blob, self._value = digest, blob, value
        self.stand_in = _StandIn(self)
        # Other shared objects in it.
        self.uses: tuple[Entry, ...] = ()
        self.handle: weakref.ref[Shared[Any]] | None = None
        self.far = self.told = False
        self.used = time.monotonic()
        self._sealed: Sealed | None = None
        self._view: memoryview | None = None
        self._lock = threading.RLock()

    def pack(self) -> int:
        """Serialise it; return how many bytes that made, 0 if it was done before. Raises `Unserializable`."""
        with self._lock:
            if self.blob is not None:
                return 0
            with noted() as uses:
                header, buffers = dumps((self._value,), oob=0, names=("obj",))
            self.uses = tuple(uses)
            parts: list[Buffer] = [header, *(buffer.raw() for buffer in buffers)]
            index = b"".join([self.digest, _LENGTH.pack(len(parts)), *(_LENGTH.pack(len(part)) for part in parts)])
            self._sealed = Sealed.write([index, *parts], _ALIGNED)
            if self._sealed is not None:
                first, last = self._sealed.refs[0], self._sealed.refs[-1]
                self.blob = first._replace(size=last.offset + last.size - first.offset)
            else:
                self.blob = _joined([index, *parts])
            return sum(map(len, parts))

    def disown(self) -> None:
        """In a forked child: whoever held the lock is not here, and whom it was told to are the parent's workers."""
        self._lock, self.told = threading.RLock(), False

    def close_to_view(self) -> None:
        """Let go of the object itself: what this process sees of it from now on is what workers see."""
        self._value = _UNOPENED

    def view(self) -> memoryview:
        """What was serialised, read-only. Raises `SegmentLost` if it can't be reached."""
        with self._lock:
            if self._view is None:
                blob = self.blob
                found = _mapped(blob, self.digest) if isinstance(blob, Ref) else memoryview(blob or b"")
                if found is None:
                    raise SegmentLost(f"{blob!r} can't be read")
                self._view = found
            return self._view

    def reaches(self) -> bool:
        """Whether it can be opened here."""
        try:
            return self._value is not _UNOPENED or bool(self.view())
        except SegmentLost:
            return False

    @property
    def value(self) -> Any:
        """The object; unpickled by the first who asks."""
        self.used = time.monotonic()
        if self._value is _UNOPENED:
            with self._lock:
                if self._value is _UNOPENED:
                    self._value = self._opened()
        return self._value

    def _opened(self) -> Any:
        view, at = self.view(), DIGEST + _LENGTH.size
        (count,) = _LENGTH.unpack_from(view, DIGEST)
        sizes = memoryview(view[at : at + count * _LENGTH.size]).cast("Q")
        at += count * _LENGTH.size
        parts = []
        for size in sizes:
            at = -(-at // _ALIGNED) * _ALIGNED
            parts.append(view[at : at + size])
            at += size
        (value,) = loads(parts[0], parts[1:])
        if (setflags := getattr(value, "setflags", None)) is not None and type(value).__module__ == "numpy":
            # One that is not contiguous, or of objects, has no buffer of its own.
            setflags(write=False)
        if count == 1:
            self._view = None
        return value

    def part(self, known: set[bytes] | None, near: bool, again: bool) -> Buffer | Ref:
        """What goes along with a chunk, for a channel whose worker has what is `known`, or for any worker."""
        if isinstance(self.blob, Ref) and (near if known is not None else not (again and self.far)):
            return self.blob
        if not again and (known is None or self.digest in known):
            return b""
        try:
            if isinstance(self.blob, Ref) and self.blob.pid == os.getpid():
                from anypool._buffers import Buffers  # Workers have nothing to send.

                return Buffers.read(self.blob)
            return bytes(self.view())
        except SegmentLost:
            return _GONE

    @property
    def orphaned(self) -> bool:
        """Whether who shared it has let go of it, as far as that can be seen; or nobody has asked for it for long."""
        if isinstance(self.blob, Ref):
            return _mapped(self.blob, self.digest) is None
        return time.monotonic() - self.used > _IDLE_SECONDS

    def __del__(self) -> None:
        if getattr(self, "told", False) and _share.tools is not None:
            _share.tools.told_later(self.digest)


class _StandIn:
    """Arrives as the object itself."""

    __slots__ = ("_entry",)

    def __init__(self, entry: Entry) -> None:
        self._entry = weakref.ref(entry)

    def __reduce__(self) -> tuple[Any, ...]:
        entry = self._entry()
        assert entry is not None
        note(entry)
        return value_of, (entry.digest,)


# All that is here; what has arrived is kept until who shared it says otherwise.
entries: weakref.WeakValueDictionary[bytes, Entry] = weakref.WeakValueDictionary()
kept: dict[bytes, Entry] = {}


def _joined(parts: Iterable[Buffer]) -> bytes:
    whole = bytearray()
    for part in parts:
        whole += bytes(-len(whole) % _ALIGNED)
        whole += part
    return bytes(whole)


def _mapped(ref: Ref, digest: bytes) -> memoryview | None:
    """The bytes of a segment; None if that is not there, or there is another one in its place."""
    own, fd = ref.pid == os.getpid(), -1
    try:
        fd = ref.fd if own else _linux.open_of(ref.pid, ref.fd, os.O_RDONLY | os.O_NONBLOCK)
        found = os.fstat(fd)
        if not S_ISREG(found.st_mode) or found.st_size < ref.offset + ref.size:
            return None
        view = memoryview(_linux.map_readonly(fd, ref.size, ref.offset))
    except (OSError, ValueError):
        return None
    finally:
        if fd >= 0 and not own:
            os.close(fd)
    return view if view[:DIGEST] == digest else None


# What is packed at the moment uses these.
_here = threading.local()


class noted:  # noqa: N801 - read as a phrase: with noted() as uses
    """Gather what the object that is serialised within uses, and have all of it serialised at the end."""

    def __enter__(self) -> dict[Entry, None]:
        self._before: dict[Entry, None] | None = getattr(_here, "uses", None)
        self._uses: dict[Entry, None] = {}
        _here.uses = self._uses
        return self._uses

    def __exit__(self, kind: object, *_: object) -> None:
        _here.uses = self._before
        if kind is not None:
            return
        for entry in self._uses:
            entry.pack()
        if (count := len(with_their_own(self._uses))) > _MOST_USES:
            # Fewer items at a time are tried then.
            raise ValueError(f"one message takes along at most {_MOST_USES} shared objects, got {count}")


def note(entry: Entry) -> None:
    """What is packed at the moment, if anything is, uses this."""
    uses: dict[Entry, None] | None = getattr(_here, "uses", None)
    if uses is not None:
        uses[entry] = None


def with_their_own(found: Iterable[Entry]) -> list[Entry]:
    """Each of these and of what is shared within them, once."""
    seen, left = dict.fromkeys(found), [*found]
    while left:
        for entry in left.pop().uses:
            if entry not in seen:
                seen[entry] = None
                left.append(entry)
    return [*seen]


def arrived(message: Message, count: int, open_here: bool = True) -> list[Entry] | None:
    """Take what is shared off a RUN and keep it; None if something of it is neither here nor to be reached.

    `open_here`: whether it is to be opened, or only passed on.
    """
    parts, message.parts = message.parts[-count:], message.parts[:-count]
    found: list[Entry] = []
    whole = True
    for at, part in enumerate(parts):
        start = RUN.size + at * DIGEST
        digest = bytes(message.meta[start : start + DIGEST])
        entry = entries.get(digest) or _received(digest, part)
        if entry is not None and type(entry.blob) is Ref and type(part) is not Ref and len(part) > len(_GONE):
            # Sent by who knows that it can't be opened here, and another chunk still holds what was sent before.
            entry.blob = bytes(part)
        if entry is not None and (not open_here or entry.reaches()):
            found.append(entry)
        elif isinstance(part, Ref) or bytes(part) != _GONE:
            forget(digest)
            whole = False
    return found if whole else None


def _received(digest: bytes, part: Buffer | Ref) -> Entry | None:
    if not isinstance(part, Ref) and len(part) <= len(_GONE):
        return None
    entry = kept.setdefault(digest, Entry(digest, part if isinstance(part, Ref) else bytes(part)))
    entries[digest] = entry
    return entry


def forget(digest: bytes) -> None:
    """Who shared this has let go of it."""
    kept.pop(digest, None)


def value_of(digest: bytes) -> Any:
    """The object that arrives in place of its handle."""
    entry = entries.get(digest)
    if entry is None:
        raise ValueError("a shared object is not to be had any more: the process that it came from has ended")
    return entry.value


class Watch:
    """Ends what has come to a worker that nobody can tell anything: it looks for itself, as long as there is any."""

    def __init__(self, drop: Callable[[bytes], None]) -> None:
        self._drop = drop
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Look, from now on."""
        with self._lock:
            if self._thread is None and kept:
                self._thread = threading.Thread(target=self._look, name="anypool-helper-shared", daemon=True)
                self._thread.start()

    def sweep(self) -> None:
        """Look once."""
        for digest in [digest for digest, entry in list(kept.items()) if entry.orphaned]:
            forget(digest)
            self._drop(digest)

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            self.sweep()
            with self._lock:
                if not kept:
                    self._thread = None
                    return


def _after_fork() -> None:
    for entry in list(entries.values()):
        entry.disown()


os.register_at_fork(after_in_child=_after_fork)
