"""Single calls on their way to workers: those of one function that wait together travel together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from anypool._chunk import Body, CallJob, Chunk, Mode, Outcomes, failed
from anypool._packing import DROPPED_BODY, pack_plain
from anypool._place import Place
from anypool._result import Result, begin, settle
from anypool._sizing import BYTES, Sizer
from anypool._slot import Slot

if TYPE_CHECKING:
    from anypool._inputs import Held
    from anypool._observing import Observer

__all__: list[str] = []

_MOST_CALLS = 1024
_MOST_FUNCTIONS = 256
# A larger call travels alone.
_ALONE_BYTES = 64 << 10


class Call:
    """One call of `size` bytes.

    `payload` is (args, kwargs) as the crew needs them, or with `Mode.STAR` the bare args, to be packed with others'.
    """

    __slots__ = ("body", "mode", "payload", "result", "size")

    def __init__(self, body: Body, mode: Mode, payload: Any, size: int, result: Result[Any]) -> None:
        # One by one: as a tuple it takes half as long again, and there may be a million.
        self.body = body
        self.mode = mode
        self.payload = payload
        self.size = size
        self.result = result


class Calls:
    """The lane of a pool's `submit`, `pipe` and `apipe`."""

    place: Place | None = None

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        self._again: deque[Chunk] = deque()
        self._sizers: dict[Any, Sizer] = {}
        # Large bodies of calls that have an outcome, for workers to forget.
        self.done_with: deque[Body] = deque()
        self._charges: dict[tuple[int, bool], int] = {}
        self._numbers = self._out = 0
        # Calls that wait for results among their arguments.
        self.held: set[Held] = set()
        self.observer: Observer | None = None

    def add(self, call: Call) -> None:
        """Queue a call; the one method that needs no lock."""
        self._waiting.append(call)

    @property
    def unsettled(self) -> int:
        """Calls without an outcome."""
        # In the order in which a call goes on.
        return len(self.held) + len(self._waiting) + self._out

    def take(self, workers: int) -> Chunk | None:
        """Calls of the oldest waiting call's function, as many as take one chunk's time."""
        if self._again:
            return self._from_again(workers)
        first = self._next()
        if first is None:
            return None
        sizer = self._sizer(first)
        calls, size = [first], first.size
        if self._waiting and size <= _ALONE_BYTES:
            size = self._join(calls, min(self._limit(sizer, workers), _MOST_CALLS))
        return self._chunk(calls, size, sizer)

    def lone(self, call: Call) -> Chunk:
        """A call that goes to a worker at once, without being queued."""
        begin(call.result)
        return self._chunk([call], call.size, self._sizer(call))

    def _chunk(self, calls: list[Call], size: int, sizer: Sizer) -> Chunk:
        count, first = len(calls), calls[0]
        payload: Any = [first.payload] if count == 1 else [call.payload for call in calls]
        if first.mode is Mode.STAR:
            payload = pack_plain(payload)
        chunk = Chunk(CallJob(first.mode, first.body), self, self._numbers, count, payload, size=size, extra=calls)
        chunk.expected = sizer.expected(count)
        self._numbers += count
        self._out += count
        return chunk

    def _next(self) -> Call | None:
        while self._waiting:
            call = self._waiting.popleft()
            if begin(call.result):
                return call
        return None

    def _join(self, calls: list[Call], limit: int) -> int:
        """Add what may share the first call's chunk; return the bytes of all."""
        waiting = self._waiting
        body, mode, size = calls[0].body, calls[0].mode, calls[0].size
        while waiting and len(calls) < limit:
            call = waiting[0]
            same = call.mode is mode and (call.body is body or call.body.key == body.key)
            if not same or call.size > _ALONE_BYTES or size + call.size > BYTES:
                break
            waiting.popleft()
            if begin(call.result):
                calls.append(call)
                size += call.size
        return size

    def _limit(self, sizer: Sizer, workers: int) -> int:
        share = 1 + len(self._waiting) // (2 * workers)
        return share if share == 1 else min(sizer.size(0, workers), share)

    def _from_again(self, workers: int) -> Chunk:
        chunk = self._again.popleft()
        limit = self._limit(self._sizer(chunk.extra[0]), workers)
        if chunk.count > 2 * limit:
            self._again.appendleft(chunk.part(limit, chunk.count - limit))
            chunk = chunk.part(0, limit)
        return chunk

    def _sizer(self, call: Call) -> Sizer:
        return self._sizers.get((call.body.key, call.mode)) or self._new_sizer(call)

    def _new_sizer(self, call: Call) -> Sizer:
        sizer = Sizer(None, None)
        # What is sent once will not be asked for again.
        if call.body.size <= DROPPED_BODY:
            if len(self._sizers) >= _MOST_FUNCTIONS:
                del self._sizers[next(iter(self._sizers))]
            self._sizers[call.body.key, call.mode] = sizer
        return sizer

    def settle(self, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        """Give each call its outcome."""
        calls: list[Call] = chunk.extra
        count = outcomes.count
        if outcomes.seconds:
            self._sizer(calls[0]).ran(count, outcomes.seconds, outcomes.size)
        self._out -= count
        if calls[0].body.size > DROPPED_BODY:
            self.done_with.append(calls[0].body)
        start = chunk.skip + offset
        if self._charges:
            for at in range(chunk.first + offset, chunk.first + offset + count):
                self._charges.pop((at, True), None)
                self._charges.pop((at, False), None)
        if self.observer is not None:
            for at in sorted(outcomes.errors):
                self.observer.failed(0, chunk.first + offset + at)
        settle(
            [calls[start].result] if count == 1 else [call.result for call in calls[start : start + count]], outcomes
        )

    def retried(self, index: int) -> None:
        """This call had begun, and runs again."""
        if self.observer is not None:
            self.observer.retried(0, index)

    def give_back(self, chunk: Chunk) -> None:
        """Run these calls again, before those not begun yet; those stopped meanwhile are left out."""
        calls = chunk.extra[chunk.skip : chunk.skip + chunk.count]
        live = [at for at, call in enumerate(calls) if not call.result.ready()]
        self._out -= chunk.count - len(live)
        if len(live) == chunk.count:
            self._again.appendleft(chunk)
        else:
            self._again.extendleft(chunk.part(at, 1) for at in reversed(live))

    def remove(self, result: Result[Any]) -> bool:
        """Leave out a call that is to run again; whether it was one of those."""
        for chunk in self._again:
            calls = chunk.extra[chunk.skip : chunk.skip + chunk.count]
            at = next((at for at, call in enumerate(calls) if call.result is result), None)
            if at is None:
                continue
            self._again.remove(chunk)
            self._out -= 1
            if at:
                self._again.appendleft(chunk.part(0, at))
            if at + 1 < chunk.count:
                self._again.appendleft(chunk.part(at + 1, chunk.count - at - 1))
            return True
        return False

    def places(self, slots: Iterable[Slot], result: Result[Any]) -> list[tuple[int, int]]:
        """Where a call is now: the slot, and how many chunks are before it there."""
        flights = [(slot.number, at, flight.chunk) for slot in slots for at, flight in enumerate(slot.flights)]
        calls = [(slot, at, chunk.extra) for slot, at, chunk in flights if chunk.lane is self]
        return [(slot, at) for slot, at, extra in calls if any(call.result is result for call in extra)]

    def flying(self, slots: Iterable[Slot]) -> list[Result[Any]]:
        """The results of calls that are with a worker or about to be."""
        chunks = [flight.chunk for slot in slots for flight in slot.flights]
        return [call.result for chunk in chunks if chunk.lane is self for call in chunk.extra]

    def charge(self, index: int, own: bool = True) -> int:
        """Count a loss of a call's worker, by its own death or not."""
        self._charges[index, own] = count = self._charges.get((index, own), 0) + 1
        return count

    def cancel(self) -> list[Result[Any]]:
        """Forget what waits; return the results that will not come, for the caller to cancel outside the lock."""
        dropped = [held.result for held in list(self.held)]
        self.held.clear()
        for chunk in self._again:
            dropped += [call.result for call in chunk.extra[chunk.skip : chunk.skip + chunk.count]]
            self._out -= chunk.count
        self._again.clear()
        while self._waiting:
            dropped.append(self._waiting.popleft().result)
        return dropped

    def fail(self, error: BaseException) -> None:
        """Nothing will run any more."""
        for result in self.cancel():
            settle([result], failed(error))

    @property
    def queued(self) -> bool:
        """Whether `take` may have something."""
        return bool(self._waiting or self._again)

    waiting = queued

    @property
    def ended(self) -> bool:
        """Somebody may always be waiting for a call."""
        return False
