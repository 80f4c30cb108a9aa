"""What `pool.share` gives: objects that cross to each worker once, and lie on each machine once.

Who shares writes the pickle and its buffers into one sealed segment. With each chunk that uses it goes where that is;
a worker maps it read-only the first time, and unpickles it when a task first asks for it. Where it can't be reached
(another machine, no memory for it) the worker says NEED, and gets the bytes with the chunk when that is sent again.
What comes without its bytes, since it was there already, is an empty part.
"""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from anypool import _share
from anypool._aside import Aside
from anypool._chunk import Body, Calling, Chunk, Mode, weight
from anypool._launcher import Launcher
from anypool._packing import new_digest
from anypool._result import refuse
from anypool._serve import RUN
from anypool._shared import Entry, arrived, entries, forget, note, with_their_own
from anypool._wire import Message

__all__: list[str] = []

T = TypeVar("T")


class Facts(NamedTuple):
    """What a handle says without its object."""

    kind: str
    nbytes: int
    launcher: str
    readonly: bool


class Shared(Generic[T]):
    """A handle of an object that crosses to each worker once; made by `Pool.share`, where it says what that means.

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
        """Whether arrays in it, and all that has buffers, refuse to be written to in tasks of its own pool.

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
        if self._entry is not None:
            self._entry, self._digest = None, b""

    def _find(self) -> Entry | None:
        # By its digest in a process that it came to: there it keeps nothing.
        return self._entry or entries.get(self._digest)

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
            note(entry)
        return _arrive, (self._digest, tuple(self._facts))

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
    entries[entry.digest] = entry
    return shared


def _references(launcher: Launcher) -> bool:
    groups = getattr(launcher, "groups", None) or [launcher]
    return all(group.traits.crosses == "references" for group in groups)


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
    used = used_by(chunk)
    if not used:
        return
    for entry in used:
        message.parts.append(entry.part(known, near, again))
        if known is not None:
            known.add(entry.digest)
        if not entry.told:
            entry.told = True
            _listen()
    message.meta = RUN.pack(*RUN.unpack(message.meta)[:-1], len(used))
    message.meta += b"".join(entry.digest for entry in used)


def used_by(chunk: Chunk) -> list[Entry]:
    """What a chunk uses, and what is in that."""
    payload = chunk.payload
    parcels = payload[chunk.skip : chunk.skip + chunk.count] if type(payload) is list else [payload]
    uses = [entry for parcel in (chunk.job.body.parcel, *parcels) for entry in getattr(parcel, "uses", ())]
    return with_their_own(uses) if uses else uses


def far(chunk: Chunk) -> None:
    """A worker can't reach what this chunk uses."""
    for entry in used_by(chunk):
        entry.far = True


def passed_on(message: Message, count: int) -> list[Entry] | None:
    """What comes with a RUN that a hub has to send to somebody else; None if some of it has to come again."""
    return arrived(message, count, open_here=False)


def forgotten(digest: bytes) -> Body:
    """Forget it here; what crews are told to release."""
    forget(digest)
    calling: Any = Calling(len)
    return Body(calling, None, digest, sys.maxsize, digest)


def _arrive(digest: bytes, facts: tuple[Any, ...]) -> Shared[Any]:
    entry = entries.get(digest)
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
        # While the interpreter ends no thread can be had, and all workers are about to end anyway.
        with suppress(RuntimeError):
            _teller = Aside("anypool-helper-shared")


def told_later(digest: bytes) -> None:
    if _teller is not None:
        _teller.call(lambda: _tell(digest))


def _tell(digest: bytes) -> None:
    from anypool._registry import pools

    if (serving := sys.modules.get("anypool._serving")) is not None:
        serving.drop(digest)
    body = forgotten(digest)
    for pool in list(pools.values()):
        engine: Any = pool._live()  # noqa: SLF001 - what a pool shows to its registry
        if engine is not None:
            engine.forget(body)


def _after_fork() -> None:
    global _teller
    _teller = None


os.register_at_fork(after_in_child=_after_fork)
_share.tools = sys.modules[__name__]
Shared.__module__ = "anypool"
