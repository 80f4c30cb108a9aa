"""Single calls on their way to workers: those of one function that wait together travel together."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from anypool._chunk import Body, Chunk, Job, Mode, Outcomes, failed
from anypool._sizing import BYTES, Sizer

if TYPE_CHECKING:
    from anypool._result import Result

__all__: list[str] = []

_MOST_CALLS = 1024
_MOST_FUNCTIONS = 256


class Call:
    """One call: `payload` is (args, kwargs), packed if the crew needs that; `size` its bytes; `alone` if large."""

    __slots__ = ("alone", "body", "number", "payload", "result", "size")

    def __init__(self, body: Body, payload: Any, size: int, alone: bool, result: Result[Any]) -> None:
        self.number = 0
        self.body, self.payload, self.size, self.alone, self.result = body, payload, size, alone, result


class Calls:
    """The lane of a pool's `submit`, `pipe` and `apipe`."""

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        self._again: deque[Chunk] = deque()
        self._functions: dict[Any, tuple[Job, Sizer]] = {}
        self._charges: dict[int, int] = {}
        self._numbers = 0
        self.unsettled = 0

    def add(self, call: Call) -> None:
        """Queue a call."""
        self._numbers += 1
        call.number = self._numbers
        self.unsettled += 1
        self._waiting.append(call)

    def take(self, workers: int) -> Chunk | None:
        """Calls of the oldest waiting call's function, as many as take one chunk's time."""
        if self._again:
            return self._from_again(workers)
        calls: list[Call] = []
        size, limit = 0, 1
        while self._waiting and len(calls) < limit:
            call = self._waiting[0]
            if calls and (call.body.key != calls[0].body.key or call.alone or size + call.size > BYTES):
                break
            if calls and call.number != calls[-1].number + 1:
                break
            self._waiting.popleft()
            if not call.result.begin():
                self.unsettled -= 1
                continue
            if not calls:
                sizer = self._function(call)[1]
                limit = 1 if call.alone else min(self._limit(sizer, workers), _MOST_CALLS)
            calls.append(call)
            size += call.size
        if not calls:
            return None
        job, sizer = self._function(calls[0])
        payload = [call.payload for call in calls]
        chunk = Chunk(job, self, calls[0].number, len(calls), payload, size=size, extra=calls)
        chunk.expected = sizer.expected(len(calls))
        return chunk

    def _limit(self, sizer: Sizer, workers: int) -> int:
        share = 1 + len(self._waiting) // (2 * workers)
        return min(sizer.size(0, workers), share)

    def _from_again(self, workers: int) -> Chunk:
        chunk = self._again.popleft()
        limit = self._limit(self._functions[chunk.extra[0].body.key][1], workers)
        if chunk.count > 2 * limit:
            self._again.appendleft(chunk.part(limit, chunk.count - limit))
            chunk = chunk.part(0, limit)
        return chunk

    def _function(self, call: Call) -> tuple[Job, Sizer]:
        known = self._functions.get(call.body.key)
        if known is None:
            if len(self._functions) >= _MOST_FUNCTIONS and not self.unsettled:
                self._functions.clear()
            known = Job(0, Mode.CALL, call.body), Sizer(None, None)
            self._functions[call.body.key] = known
        return known

    def settle(self, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        """Give each call its outcome."""
        calls: list[Call] = chunk.extra
        if outcomes.seconds:
            self._functions[calls[0].body.key][1].ran(outcomes.count, outcomes.seconds, outcomes.size)
        self.unsettled -= outcomes.count
        start = chunk.skip + offset
        for at in range(outcomes.count):
            calls[start + at].result.settle(outcomes, at)

    def give_back(self, chunk: Chunk) -> None:
        """Run these calls again, before those not begun yet; those stopped meanwhile are left out."""
        calls = chunk.extra[chunk.skip : chunk.skip + chunk.count]
        live = [at for at, call in enumerate(calls) if not call.result.ready()]
        self.unsettled -= chunk.count - len(live)
        if len(live) == chunk.count:
            self._again.appendleft(chunk)
        else:
            self._again.extendleft(chunk.part(at, 1) for at in reversed(live))

    def charge(self, index: int) -> int:
        """Count a death of a call's worker."""
        self._charges[index] = self._charges.get(index, 0) + 1
        return self._charges[index]

    def cancel(self) -> list[Result[Any]]:
        """Forget what waits; return the results that will not come, for the caller to cancel outside the lock."""
        dropped = [call.result for call in self._waiting]
        for chunk in self._again:
            dropped += [call.result for call in chunk.extra[chunk.skip : chunk.skip + chunk.count]]
        self._waiting.clear()
        self._again.clear()
        self.unsettled -= len(dropped)
        return dropped

    def fail(self, error: BaseException) -> None:
        """Nothing will run any more."""
        for result in self.cancel():
            result.settle(failed(error), 0)

    @property
    def queued(self) -> bool:
        """Whether `take` may have something."""
        return bool(self._waiting or self._again)

    waiting = queued

    @property
    def ended(self) -> bool:
        """Somebody may always be waiting for a call."""
        return False
