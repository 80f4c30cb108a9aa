"""Run a chunk of items: the only code that a backend ever runs on a worker."""

from __future__ import annotations

import threading
from _pickle import dumps as pickled
from collections.abc import Callable, Iterator
from struct import Struct
from time import perf_counter

from anypool._chunk import Calling, Direct, Mode
from anypool._context import Scope, entered
from anypool._each import call_each, drawn_from, run
from anypool._failure import RAISED, STOPPED, as_an_items, describe
from anypool._segments import SegmentLost
from anypool._task import running
from anypool._wire import IN_BAND, INLINE, MOST_BUFFERS, NO_DIGEST, PARTIAL, Buffer, Kind, Message, Ref
from anypool_serialize import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__: list[str] = []

# mode, stop, careful, number of parts that are the function's body, items to skip, budget in seconds, index of the
# first item in its map's input, number of last parts that are shared objects, whose digests follow
RUN = Struct("<BBBxHIdQH")
# seconds, number of errors, what the payload is: values, values and exceptions, or a few plain values; a profile?
REPLY = Struct("<dIBxH")
VALUES, MIXED, FEW_PLAIN = 0, 1, 2
ERROR = Struct("<IB")
_MOST_BODIES = 256
# Immutable, and pickled without running any code.
PLAIN = frozenset({int, float, bool, str, bytes, type(None)})
_MOST_BODY_BYTES = 64 << 20
# To ask the types of more values costs more than it saves.
_FEW = 16


_here = threading.local()
# A task is never outside of tasks, whatever its launcher says.
_NOTHING_LEFT = Scope()


class _Unchanged:
    """What a worker was started with holds."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


_AS_STARTED = _Unchanged()


def loading() -> bool:
    """Whether this thread, of a worker, is importing or rebuilding what a chunk needs."""
    return getattr(_here, "loading", False)


class Server:
    """Answers RUN messages; keeps the functions it has seen, by the digest of their bytes.

    In a process that is not its caller's it `hears` what the caller's loggers and warning filters let through.
    """

    hears = False

    def __init__(self) -> None:
        self.listening: bytes | None = None
        self._catch_up: Callable[[], None]
        self._changing = threading.Lock()
        # Threads of a hub or a mix have one server together.
        self._keeping = threading.RLock()
        self._bodies: dict[bytes, tuple[Calling, int]] = {}
        self._held = 0
        # By what is shared, the bodies of those chunks that used it.
        self._users: dict[bytes, set[bytes]] = {}

    def answer(self, message: Message, fetch: Callable[[Ref], Buffer]) -> Iterator[Message]:
        """Replies to a RUN: one, or one per item if it asks for care. Never raises because of user code.

        `fetch` opens parts that lie in a segment.
        """
        mode, stop, careful, body_parts, skip, budget, first, shared = RUN.unpack_from(message.meta)
        try:
            # Kept as long as the chunk runs.
            _uses = self._shared(message, shared) if shared else ()
            loaded = self._load(message, mode, body_parts, skip, fetch)
            if loaded is not None and self.hears:
                self._hear(loaded[0].listening)
        except SegmentLost:
            yield _reply_to(message, Kind.NEED, INLINE)
            return
        except BaseException as error:  # noqa: BLE001 - what can't be loaded here is every item's outcome
            yield self._pack(message, [None] * message.count, dict.fromkeys(range(message.count), error), 0.0)
            return
        if loaded is None:
            yield _reply_to(message, Kind.NEED)
            return
        calling, items = loaded
        if calling.profiled:
            calling = _rare("_profiling").recorded(calling)
        if message.count == 1 and mode != Mode.MAP and not (careful or any(calling[1:-1])):
            with running(first if message.map else None, 1, None):
                reply = self._one(message, calling, items[0] if mode == Mode.CALL else (items[0], {}))
            yield reply
            return
        items, drawn = drawn_from(mode, items)
        calls = call_each(calling, mode, items)
        place = running(first if message.map else None, message.count, drawn)
        if not careful:
            yield self._measured(message, calling, calls, message.count, budget, bool(stop), place)
            return
        yield _reply_to(message, Kind.REPLY, PARTIAL)
        for left in range(message.count, 0, -1):
            reply = self._measured(message, calling, calls, 1, budget, bool(stop), place)
            failed = REPLY.unpack_from(reply.meta)[1]
            if left > 1 and not (stop and failed):
                reply.flags = PARTIAL
            yield reply
            if not reply.flags:
                return

    def _load(
        self, message: Message, mode: int, body_parts: int, skip: int, fetch: Callable[[Ref], Buffer]
    ) -> tuple[Calling, Any] | None:
        """What is called, and with what; None if the function is not known here."""
        _here.loading = True
        try:
            calling = self._calling(message.digest, message.parts[:body_parts], fetch)
            if calling is None:
                return None
            items, whole = _unpack_items(mode, message.parts[body_parts:], fetch, skip, message.count)
            if not whole:
                calling = calling._replace(function=_rare("_salvage").Checked(calling.function))
            return calling, items
        finally:
            _here.loading = False

    def _hear(self, listening: bytes | None) -> None:
        if listening != self.listening:
            relay = _rare("_relay_warnings")
            # Several threads of a hub may come with it at once: what it says holds before any of them goes on.
            with self._changing:
                if listening != self.listening:
                    relay.listen(listening)
                    self._catch_up = relay.catch_up
                    self.listening = listening
        elif listening is not None:
            with self._changing:
                self._catch_up()

    def _shared(self, message: Message, count: int) -> Any:
        """What is shared and comes with a RUN, or came before."""
        found = _rare("_shared").arrived(message, count)
        if found is None:
            raise SegmentLost("a shared object is not here")
        key = bytes(message.parts[0]) if message.digest == NO_DIGEST else message.digest
        with self._keeping:
            for entry in found:
                users = self._users.setdefault(entry.digest, set())
                users.add(key)
                if len(users) > 2 * _MOST_BODIES:
                    users.intersection_update([*self._bodies, key])
        return found

    def drop(self, digest: bytes) -> None:
        """Forget a function, or a shared object and what may hold it."""
        with self._keeping:
            _gone = self._let_go(digest)
            shared = digest in self._users
        if shared:
            self.drop_shared(digest)

    def _let_go(self, digest: bytes) -> object:
        """The function that was kept, whose end may run a user's code: not while the lock is held."""
        known = self._bodies.pop(digest, None)
        if known is not None:
            self._held -= known[1]
        return known

    @property
    def shares(self) -> bool:
        """Whether it has come to know anything shared."""
        return bool(self._users)

    def drop_shared(self, digest: bytes) -> None:
        """Forget a shared object, and the functions that may hold it."""
        with self._keeping:
            _gone = [self._let_go(body) for body in self._users.pop(digest, ())]
        _rare("_shared").forget(digest)

    def _calling(self, digest: bytes, parts: list[Buffer | Ref], fetch: Callable[[Ref], Buffer]) -> Calling | None:
        if digest == NO_DIGEST:
            # A small body always comes along, and is its own key.
            body: Any = parts[0]
            digest = bytes(body)
        known = self._bodies.get(digest)
        if known is not None:
            return known[0]
        if not parts:
            return None
        opened = open_parts(parts, fetch)
        calling = Calling(*loads(opened[0], opened[1:]))
        size, gone = sum(map(len, opened)), list[object]()
        with self._keeping:
            known = self._bodies.setdefault(digest, (calling, size))
            if known[0] is calling:
                self._held += size
                while len(self._bodies) > _MOST_BODIES or (self._held > _MOST_BODY_BYTES and len(self._bodies) > 1):
                    gone.append(self._let_go(next(iter(self._bodies))))
        return known[0]

    def _measured(
        self,
        message: Message,
        calling: Calling,
        calls: Iterator[Any],
        count: int,
        budget: float,
        stop: bool,
        place: running,
    ) -> Message:
        calls, folded = (calls, None) if calling.combiner is None else calling.combiner.over(calls)
        with place, entered(calling.scope) if calling.scope is not None else _AS_STARTED:
            started = perf_counter()
            values, errors = run(calls, count, budget, stop)
            seconds = perf_counter() - started
        if folded is None:
            reply = self._pack(message, values, errors, seconds, calling.retry_on)
        else:
            retry_on = folded.retryable(calling.retry_on, len(values) - len(errors))
            reply = self._pack(message, folded.values, errors, seconds, retry_on, len(values))
        return calling.profiled.attached(reply) if calling.profiled else reply

    def _one(self, message: Message, calling: Calling, call: tuple[Any, Any]) -> Message:
        """A single call: what `_measured` does, less its machinery."""
        started = perf_counter()
        try:
            value = calling.function(*call[0], **call[1])
        except BaseException as error:  # noqa: BLE001 - user code
            return self._failed(message, error, perf_counter() - started)
        return self._pack(message, [value], {}, perf_counter() - started)

    def _failed(self, message: Message, error: BaseException, seconds: float) -> Message:
        if isinstance(error, StopIteration):
            stop, error = error, RuntimeError(STOPPED)
            error.__cause__ = stop
        return self._pack(message, [None], {0: error}, seconds)

    @staticmethod
    def _pack(
        message: Message,
        values: list[Any],
        errors: dict[int, BaseException],
        seconds: float,
        retry_on: tuple[type[BaseException], ...] = (),
        folded: int = 0,
    ) -> Message:
        if not errors and not folded and (plain := plain_values(values)) is not None:
            return _replied(message, len(values), REPLY.pack(seconds, 0, FEW_PLAIN, 0), [plain])
        retryable = {at: isinstance(error, retry_on) for at, error in errors.items()}
        failures = {at: describe(error) for at, error in errors.items()}
        # An exception holds the frames that it went through, and these the chunk's values: a circle until it is cut.
        errors.clear()
        try:
            header, buffers = dumps((values, failures) if failures else values)
            if len(buffers) > MOST_BUFFERS:
                header, buffers = dumps((values, failures) if failures else values, oob=IN_BAND)
        except RAISED:
            # One of the values; the others go home.
            for at, failure in _rare("_salvage").refused(values).items():
                failures[at] = failure
                retryable[at] = False
                values[at] = None
            header, buffers = dumps((values, failures), oob=IN_BAND)
        table = b"".join(ERROR.pack(at, again) for at, again in retryable.items())
        meta = REPLY.pack(seconds, len(retryable), MIXED if failures else VALUES, 0) + table
        return _replied(message, folded or len(values), meta, [header, *(buffer.raw() for buffer in buffers)])


def plain_values(values: list[Any]) -> bytes | None:
    """The pickle of a few values that run no code; after a sleep the general pickler takes 40 us, as no cache has it.

    None if they are others, or one can't be pickled after all: for want of memory, or by a signal's handler.
    """
    if len(values) > _FEW or not PLAIN.issuperset(map(type, values)):
        return None
    try:
        return pickled(values, 5)
    except RAISED:
        return None


def _replied(message: Message, count: int, meta: Buffer, parts: list[Buffer | Ref]) -> Message:
    return Message(
        Kind.REPLY, 0, message.slot, message.seq, message.map, message.chunk, count, 0, message.digest, meta, parts
    )


def _reply_to(message: Message, kind: Kind, flags: int = 0) -> Message:
    reply = Message(kind, flags, message.slot, message.seq, message.map, message.chunk, digest=message.digest)
    reply.meta = REPLY.pack(0.0, 0, VALUES, 0)
    return reply


def open_parts(parts: list[Buffer | Ref], fetch: Callable[[Ref], Buffer]) -> list[Buffer]:
    """A pickle and its buffers; these are writable, since arrays are made of them."""
    first = parts[0]
    head = fetch(first) if isinstance(first, Ref) else first
    if len(parts) == 1:
        return [head]
    return [head, *(fetch(part) if isinstance(part, Ref) else bytearray(part) for part in parts[1:])]


def _unpack_items(
    mode: int, parts: list[Buffer | Ref], fetch: Callable[[Ref], Buffer], skip: int, count: int
) -> tuple[Any, bool]:
    """What the calls take, and whether all of it could be rebuilt."""
    if mode == Mode.CALL and count > 1:
        pickles: list[Any] = parts
        return map(loads, pickles), True
    opened = open_parts(parts, fetch)
    whole = True
    try:
        items = loads(opened[0], opened[1:])
    except RAISED:
        if mode == Mode.CALL:
            raise
        items, whole = _rare("_salvage").salvage(opened[0], opened[1:]), False
    if mode == Mode.CALL:
        return [items], whole
    if mode == Mode.MAP:
        return [column[skip : skip + count] for column in items] if skip or count < len(items[0]) else items, whole
    return items[skip : skip + count], whole


def _rare(module: str) -> Any:
    # Hardly ever needed, and slow to import.
    return __import__(f"anypool.{module}", fromlist=[module])


def serve_here(
    calling: Calling,
    mode: Mode,
    items: Any,
    skip: int,
    count: int,
    budget: float,
    stop: bool,
    first: int | None,
    passing: Callable[[BaseException], bool] | None = None,
) -> Direct:
    """Run a chunk by reference, in the calling thread; `first` is its first item's index."""
    end = skip + count
    items = [column[skip:end] for column in items] if mode is Mode.MAP else items[skip:end]
    items, drawn = drawn_from(mode, items)
    if calling.profiled:
        calling = _rare("_profiling").recorded(calling)
    calls = call_each(calling, mode, items)
    calls, folded = (calls, None) if calling.combiner is None else calling.combiner.over(calls)
    with running(first, count, drawn), entered(calling.scope or _NOTHING_LEFT):
        started = perf_counter()
        values, errors = run(calls, count, budget, stop, passing)
        seconds = perf_counter() - started
    retry_on, done = calling.retry_on, len(values)
    if folded is not None:
        values, retry_on = folded.values, folded.retryable(retry_on, done - len(errors))
    retryable = {at: isinstance(error, retry_on) for at, error in errors.items()}
    found = Direct(values, {at: as_an_items(error) for at, error in errors.items()}, seconds, retryable, count=done)
    return calling.profiled.kept(found) if calling.profiled else found
