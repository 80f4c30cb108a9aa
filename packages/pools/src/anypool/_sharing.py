"""What `pool.share` gives: objects that cross to each worker once, and lie on each machine once.

Who shares writes the pickle and its buffers into one sealed segment. With each chunk that uses it goes where that is;
a worker maps it read-only the first time, and unpickles it when a task first asks for it. Where it can't be reached
(another machine, no memory for it) the worker says NEED, and gets the bytes with the chunk when that is sent again.
What comes without its bytes, since it was there already, is an empty part.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from stat import S_ISREG
from struct import Struct
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from anypool import _linux, _share
from anypool._aside import Aside
from anypool._buffers import Buffers
from anypool._chunk import Body, Calling, Chunk, Mode, weight
from anypool._launcher import Launcher
from anypool._packing import new_digest
from anypool._result import refuse
from anypool._segments import Sealed, SegmentLost
from anypool._serve import RUN
from anypool._wire import Buffer, Message, Ref
from anypool_serialize import dumps, loads

__all__: list[str] = []

T = TypeVar("T")

_DIGEST = 32
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


class Facts(NamedTuple):
    """What a handle says without its object."""

    kind: str
    nbytes: int
    launcher: str
    readonly: bool


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
        """Serialise it, if that was not done; return its bytes. Raises `Unserializable`."""
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

    def unlock(self) -> None:
        """In a forked child."""
        self._lock = threading.RLock()

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
                    raise SegmentLost(f"{blob} can't be read")
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
        view, at = self.view(), _DIGEST + _LENGTH.size
        (count,) = _LENGTH.unpack_from(view, _DIGEST)
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
        if getattr(self, "told", False):
            _told_later(self.digest)


class _StandIn:
    """Arrives as the object itself."""

    __slots__ = ("_entry",)

    def __init__(self, entry: Entry) -> None:
        self._entry = weakref.ref(entry)

    def __reduce__(self) -> tuple[Any, ...]:
        entry = self._entry()
        assert entry is not None
        _note(entry)
        return _value_of, (entry.digest,)


# All that is here; what has arrived is kept until who shared it says otherwise.
_entries: weakref.WeakValueDictionary[bytes, Entry] = weakref.WeakValueDictionary()
_kept: dict[bytes, Entry] = {}


class Shared(Generic[T]):
    """A handle of an object that crosses to each worker once; made by `Pool.share`.

    As an argument by itself it stands for its object. It can be used in any pool of this process and in tasks, is
    released when it is dropped, and can be a `with` block's. A task that has begun or waits still gets its object after
    that. It travels with what pools send, and not in a pickle of your own.
    """

    __slots__ = ("__weakref__", "_digest", "_entry", "_facts")

    def __init__(self, digest: bytes, facts: Facts, entry: Entry | None = None) -> None:
        self._digest, self._facts, self._entry = digest, facts, entry

    @property
    def value(self) -> T:
        """The object; `ValueError` once it is released.

        By reference where tasks get it so, elsewhere as workers see it, for the one who shared it too.
        """
        value: T = self._live().value
        return value

    @property
    def readonly(self) -> bool:
        """Whether arrays in it, and all that has buffers, refuse to be written to in tasks.

        False where these get the object itself, as on serial and thread: there a change is seen by everybody. Where it
        is True a change of anything else, as a dict, is seen by the tasks of one worker only.
        """
        return self._facts.readonly

    @property
    def nbytes(self) -> int:
        """How many bytes it took to serialise; where that is not needed, what the object says of itself."""
        return self._facts.nbytes

    @property
    def released(self) -> bool:
        """Whether it can't be used any more."""
        return self._find() is None

    def release(self) -> None:
        """Have workers forget the object, and give its memory back, once no task needs it; in tasks it does nothing."""
        self._entry = None

    def _find(self) -> Entry | None:
        if self._entry is not None:
            return self._entry
        # In a process that it came to; where it was made, what is left belongs to tasks.
        return _kept.get(self._digest)

    def _live(self) -> Entry:
        entry = self._find()
        if entry is None:
            raise ValueError(f"{self!r} can't be used any more; share the object again")
        return entry

    def given(self, by_reference: bool) -> Any:
        """What is sent in its place."""
        entry = self._live()
        if by_reference:
            return entry.value
        entry.pack()
        return entry.stand_in

    def __enter__(self) -> Self:
        self._live()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        entry = self._find()
        if entry is not None:
            _note(entry)
        # One that is released arrives so, whatever its worker still has.
        return _arrive, (self._digest if entry is not None else b"", tuple(self._facts))

    def __repr__(self) -> str:
        kind, nbytes, launcher, readonly = self._facts
        state = "released" if self.released else "read-only" if readonly else "by reference, not read-only"
        return f"<anypool.Shared {kind}, {nbytes:,} bytes, {launcher}, {state}>"


def share(obj: T, launcher: Launcher, workers: int) -> Shared[T]:
    """A handle for tasks of such a launcher."""
    refuse((obj,), {})
    if isinstance(obj, Shared):
        raise TypeError(f"{obj!r} is shared already; it can be used in any pool")
    entry = Entry(new_digest(), value=obj)
    references = _references(launcher)
    if references:
        nbytes = getattr(obj, "nbytes", None)
        size = nbytes if isinstance(nbytes, int) else weight(obj)
    else:
        size = entry.pack()
        entry.close_to_view()
    kind = type(obj)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    shared: Shared[T] = Shared(entry.digest, Facts(name, size, f"{launcher.name}:{workers}", not references), entry)
    entry.handle = weakref.ref(shared)
    _entries[entry.digest] = entry
    return shared


def _references(launcher: Launcher) -> bool:
    groups = getattr(launcher, "groups", None) or [launcher]
    return all(group.traits.crosses == "references" for group in groups)


def _joined(parts: Iterable[Buffer]) -> bytes:
    whole = bytearray()
    for part in parts:
        whole += bytes(-len(whole) % _ALIGNED)
        whole += part
    return bytes(whole)


def _mapped(ref: Ref, digest: bytes) -> memoryview | None:
    """The bytes of a segment; None if that is not there, or there is another one in its place."""
    try:
        fd = _linux.open_of(ref.pid, ref.fd, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not S_ISREG(found.st_mode) or found.st_size < ref.offset + ref.size:
            return None
        view = memoryview(_linux.map_readonly(fd, ref.size, ref.offset))
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    return view if view[:_DIGEST] == digest else None


# What is packed at the moment uses these.
_here = threading.local()


@contextmanager
def noted() -> Iterator[dict[Entry, None]]:
    """Gather what the object that is serialised within uses, and have all of it serialised at the end."""
    before: dict[Entry, None] | None = getattr(_here, "uses", None)
    uses: dict[Entry, None] = {}
    _here.uses = uses
    try:
        yield uses
    finally:
        _here.uses = before
    if len(uses) > _MOST_USES:
        # Fewer items at a time are tried then.
        raise ValueError(f"one message takes along at most {_MOST_USES} shared objects, got {len(uses)}")
    for entry in uses:
        entry.pack()


def _note(entry: Entry) -> None:
    uses: dict[Entry, None] | None = getattr(_here, "uses", None)
    if uses is not None:
        uses[entry] = None


def opened(payload: Any, mode: Mode, by_reference: bool) -> Any:
    """The payload of a chunk with objects in the places of their handles."""
    if mode is Mode.MAP:
        return [_open_all(column, by_reference) for column in payload]
    return [tuple(_open_all(row, by_reference)) if type(row) is tuple else row for row in payload]


def opened_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], by_reference: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call with objects in the places of their handles."""
    return tuple(_open_all(args, by_reference)), opened_kwargs(kwargs, by_reference)


def opened_kwargs(kwargs: dict[str, Any], by_reference: bool) -> dict[str, Any]:
    """The same for keyword arguments."""
    if Shared not in map(type, kwargs.values()):
        return kwargs
    return dict(zip(kwargs, _open_all([*kwargs.values()], by_reference), strict=True))


def _open_all(values: Any, by_reference: bool) -> Any:
    if type(values) is range or Shared not in map(type, values):
        return values
    return [each.given(by_reference) if type(each) is Shared else each for each in values]


def attach(
    message: Message, chunk: Chunk, known: set[bytes] | None = None, near: bool = True, again: bool = False
) -> None:
    """Name what a chunk uses in its RUN, and say where each of these is, or what, see `Entry.part`."""
    entries = used_by(chunk)
    if not entries:
        return
    for entry in entries:
        message.parts.append(entry.part(known, near, again))
        if known is not None:
            known.add(entry.digest)
        if not entry.told:
            entry.told = True
            _listen()
    message.meta = RUN.pack(*RUN.unpack(message.meta)[:-1], len(entries))
    message.meta += b"".join(entry.digest for entry in entries)


def used_by(chunk: Chunk) -> list[Entry]:
    """What a chunk uses, and what is in that."""
    payload = chunk.payload
    parcels = payload[chunk.skip : chunk.skip + chunk.count] if type(payload) is list else [payload]
    found: dict[Entry, None] = {}
    left = [entry for parcel in (chunk.job.body.parcel, *parcels) for entry in getattr(parcel, "uses", ())]
    while left:
        entry = left.pop()
        if entry not in found:
            found[entry] = None
            left += entry.uses
    return [*found]


def arrived(message: Message, count: int, open_here: bool = True) -> list[Entry] | None:
    """Take what is shared off a RUN and keep it; None if something of it is neither here nor to be reached.

    `open_here`: whether it is to be opened, or only passed on.
    """
    parts, message.parts = message.parts[-count:], message.parts[:-count]
    found: list[Entry] = []
    whole = True
    for at, part in enumerate(parts):
        start = RUN.size + at * _DIGEST
        digest = bytes(message.meta[start : start + _DIGEST])
        entry = _entries.get(digest) or _received(digest, part)
        if entry is not None and (not open_here or entry.reaches()):
            found.append(entry)
        elif isinstance(part, Ref) or bytes(part) != _GONE:
            forget(digest)
            whole = False
    return found if whole else None


def _received(digest: bytes, part: Buffer | Ref) -> Entry | None:
    if not isinstance(part, Ref) and len(part) <= len(_GONE):
        return None
    entry = _kept.setdefault(digest, Entry(digest, part if isinstance(part, Ref) else bytes(part)))
    _entries[digest] = entry
    return entry


def forget(digest: bytes) -> None:
    """Who shared this has let go of it."""
    _kept.pop(digest, None)


def far(chunk: Chunk) -> None:
    """A worker can't reach what this chunk uses."""
    for entry in used_by(chunk):
        entry.far = True


def body_of(digest: bytes) -> Body:
    """What crews are told to release."""
    calling: Any = Calling(len)
    return Body(calling, None, digest, sys.maxsize, digest)


def _value_of(digest: bytes) -> Any:
    entry = _entries.get(digest)
    if entry is None:
        raise ValueError("a shared object is not to be had any more: the process that it came from has ended")
    return entry.value


def _arrive(digest: bytes, facts: tuple[Any, ...]) -> Shared[Any]:
    entry = _entries.get(digest)
    known = entry.handle() if entry is not None and entry.handle is not None else None
    shared: Shared[Any] = known if known is not None else Shared(digest, Facts(*facts))
    if entry is not None and known is None:
        entry.handle = weakref.ref(shared)
    return shared


# Workers are told by a thread: what ends a handle may be a collection, in the middle of anything.
_teller: Aside | None = None


def _listen() -> None:
    global _teller
    if _teller is None:
        _teller = Aside("anypool-helper-shared")


def _told_later(digest: bytes) -> None:
    if _teller is not None:
        _teller.call(lambda: _tell(digest))


def _tell(digest: bytes) -> None:
    from anypool._registry import pools

    if (serving := sys.modules.get("anypool._serving")) is not None:
        serving.drop(digest)
    body = body_of(digest)
    for pool in list(pools.values()):
        engine: Any = pool._live()  # noqa: SLF001 - what a pool shows to its registry
        if engine is not None:
            engine.forget(body)


class Watch:
    """Ends what has come to a worker that nobody can tell anything: it looks for itself, as long as there is any."""

    def __init__(self, drop: Callable[[bytes], None]) -> None:
        self._drop = drop
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Look, from now on."""
        with self._lock:
            if self._thread is None and _kept:
                self._thread = threading.Thread(target=self._look, name="anypool-helper-shared", daemon=True)
                self._thread.start()

    def sweep(self) -> None:
        """Look once."""
        for digest in [digest for digest, entry in list(_kept.items()) if entry.orphaned]:
            forget(digest)
            self._drop(digest)

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            self.sweep()
            with self._lock:
                if not _kept:
                    self._thread = None
                    return


def _after_fork() -> None:
    global _teller
    _teller = None
    # The threads that may have held them are no more.
    for entry in list(_entries.values()):
        entry.unlock()


os.register_at_fork(after_in_child=_after_fork)
_share.tools = sys.modules[__name__]
Shared.__module__ = "anypool"
