"""Carry out what the desk decides. Nobody runs user code with the lock held."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable
from functools import partial
from time import monotonic
from typing import Any

from anypool import _crew
from anypool._calls import Call, Calls
from anypool._chunk import Lane, Packed, failed
from anypool._crew import Replied
from anypool._desk import DEPTH, Desk
from anypool._driver import guarded
from anypool._errors import PoolClosed, WorkerLost
from anypool._gate import current
from anypool._helper import helper
from anypool._late import GRACE
from anypool._relayed import ender
from anypool._renewing import Renewing
from anypool._result import Result, announce, revoke, settle
from anypool._sizing import Paces
from anypool._slot import Flight, Terms
from anypool._stream import Cut, Stream
from anypool._strike import let_through

__all__: list[str] = []


class Engine(Renewing):
    """One pool's desk, crew and lanes, from start to close."""

    def __init__(self, crew: _crew.Crew, quota: int | None = None, tags: Iterable[str] = ()) -> None:
        terms = Terms(quota, crew.reports_items, crew.greets, frozenset(tags))
        super().__init__(crew, Desk(terms, getattr(crew, "terms", None)))
        # The tags of its workers, whether they are there or not.
        self.kinds: tuple[frozenset[str], ...] = getattr(crew, "kinds", (terms.tags,))
        self.calls = Calls()
        self.desk.add_lane(self.calls)
        self.watched = False
        self._gathering: dict[Stream, Result[list[object]]] = {}
        self.forgotten: deque[Stream] = deque()
        self.paces = Paces()
        self.closed = False
        me = weakref.ref(self)

        def forward(events: list[_crew.Event]) -> None:
            if (engine := me()) is not None:
                engine._deliver(events)  # noqa: SLF001 - its own

        for slot in crew.start(forward):
            self.desk.add_slot(slot)
        self._finalizer: weakref.finalize[[], Engine] | None = None
        if not crew.runs_here:
            self._finalizer = weakref.finalize(self, crew.desert)
            # At exit the pool finishes its work instead; the interpreter would end the workers first.
            self._finalizer.atexit = False

    # Work comes in.

    @guarded
    def open(self, stream: Stream) -> None:
        """Serve a map from now on."""
        with self.section:
            self.desk.add_lane(stream)
            if self.desk.observer is not None:
                self.desk.observer.opened(stream)
            if (error := self.broken or self.desk.unserved(stream)) is not None:
                stream.fail(error)

    @guarded
    def put(self, stream: Stream, cut: Cut) -> None:
        """Add to a map what was read of its input."""
        with self.section:
            stream.append(cut)
            self._go_on()

    @guarded
    def wanted(self, stream: Stream, waiting: bool) -> int:
        """Items to read for the next chunk, by the thread that owns the input; 0 for none now."""
        with self.section:
            # A task that maps over its own pool will take some itself, as a guest, once it drives.
            own = DEPTH if current() is not None else 0
            return stream.wanted(self.desk.room(stream.place) + own, self.desk.workers(stream.place), waiting)

    def hungry(self, stream: Stream) -> bool:
        """Whether something would be read, as far as that can be told at any time."""
        return stream.wanted(self.desk.room(stream.place), self.desk.workers(stream.place), True) > 0

    def submit(self, call: Call) -> None:
        """Queue a call, and send it if there is room; if this interrupts a change of state, the helper sends it."""
        self.calls.add(call)
        # Looked at only now, or it could break in between. Behind full workers it is sent when they answer.
        if self.broken is not None or self.desk.in_flight < 2 * len(self.desk.slots):
            self._submitted()

    @guarded
    def _submitted(self) -> None:
        if self.section.held():
            self.deferred = True
            return
        with self.section:
            self._send_deferred()

    def _send_deferred(self) -> None:
        self.deferred = False
        self._assign() if self.broken is None else self.calls.fail(self.broken)

    @guarded
    def answer(self, call: Call) -> None:
        """`submit`, and `drive` until there is an outcome, in one turn.

        As little as can be is done before the call is written; for all else there is time while a worker runs it.
        """
        done = call.result.ready
        if self.section.held():
            self.calls.add(call)
        else:
            with self._guard:
                with self._inside:
                    slot = None if self.broken is not None else self.desk.vacancy()
                    if slot is None:
                        self.calls.add(call)
                        self._send_deferred()
                    else:
                        self._send(slot.number, self.desk.board(slot, self.calls.lone(call), monotonic()))
                if current() is None:
                    self._lead_if_free(done, None)
        if not done():
            self.drive(done)

    @guarded
    def gather(self, stream: Stream, result: Result[list[object]], outcomes: Packed) -> None:
        """Settle `result` once all of a map is there; all of its input has been put."""
        stream.gathered = outcomes
        with self.section:
            self._gathering[stream] = result
            self._go_on()
        self.watch()

    def watch(self) -> None:
        """Have the helper look after what nobody waits for."""
        if not self.watched:
            self.watched = True
            helper.watch(self)
        elif helper.parked:
            helper.wake()

    @guarded
    def end(self, stream: Stream, kill: bool) -> None:
        """A map is over or given up: withdraw what has not begun; `kill` also what has."""
        if self.forked:
            return
        with self.section:
            self._gathering.pop(stream, None)
            self._drop(stream)
            if kill:
                for slot in self.desk.idlers(monotonic(), stream):
                    self._kill(slot, "cancelled")
            self._go_on()

    def _drop(self, stream: Stream) -> None:
        stream.cancel()
        self.paces.learn(stream.job.body.key, stream.sizer)
        self.desk.remove_lane(stream)
        if self.desk.observer is not None:
            self.desk.observer.finished(stream)
        self.crew.release(stream.job.body)

    @guarded
    def forget(self, body: Any) -> None:
        """Nobody needs this any more: workers that have it may let go of it."""
        with self.section:
            if not self.over:
                self.crew.release(body)

    @guarded
    def stop_call(self, result: Result[Any]) -> bool:
        """Kill the worker that runs a call, or those that run a map; what else they had runs again."""
        for stream in [stream for stream, whole in list(self._gathering.items()) if whole is result]:
            self.end(stream, kill=True)
            with self.section:
                settle([result], failed(WorkerLost("the map was stopped by kill()", cause="killed")))
            return True
        with self.section:
            found = self.calls.remove(result)
            for slot, at in self.calls.places(self.desk.slots.values(), result):
                found = True
                if at > 0:
                    self._recall(slot)
                if not self.calls.remove(result):
                    self._kill(slot, "cancelled")
            if found:
                settle([result], failed(WorkerLost("the call was stopped by kill()", cause="killed")))
            self._go_on()
        return found

    def _recall(self, slot: int) -> None:
        for seq in self.crew.recall(slot):
            self.desk.recalled(slot, seq)

    # Something happened.

    def _deliver(self, events: list[_crew.Event]) -> None:
        with self.section:
            if not self.closed:
                self._after(events)

    def _after(self, events: Iterable[_crew.Event]) -> None:
        now = monotonic()
        for event in events:
            try:
                if type(event) is Replied:
                    # Nearly all events, so without a call.
                    slot, seq, outcomes, last = event
                    self.desk.replied(slot, seq, outcomes, last, now)
                    if self._false_starts:
                        self._false_starts.pop(slot, None)
                else:
                    self._apply(event, now)
            except Exception as error:  # noqa: BLE001 - what came with it must not be lost, nor anybody wait for ever
                let_through(error)
                self._break(error)
        if self.desk.in_flight and self.desk.next_look(now) is not None:
            self._look(now)
        self._go_on()
        if not self.crew.polled and (look := self.desk.next_look(monotonic())) is not None:
            self._hurry(look)

    def _go_on(self) -> None:
        """Send what there is room for. Nothing is judged by the clock: the answer may be here, and not read yet."""
        while self.forgotten:
            self._drop(self.forgotten.popleft())
        while self.calls.done_with:
            self.crew.release(self.calls.done_with.popleft())
        self._flow()
        if self._gathering:
            self._settle_gathered()
        if self._waiters:
            self._notify()

    def _look(self, now: float) -> None:
        desk = self.desk
        for slot in desk.stuck(now):
            self._recall(slot)
        for slot in desk.overdue(now):
            self._kill(slot, "timeout")
        for slot in desk.idlers(now) if any(lane.waiting for lane in desk.lanes) else ():
            self._kill(slot, "cancelled")

    def _apply(self, event: _crew.Event, now: float) -> None:
        match event:
            case _crew.Ready(slot):
                self.desk.ready(slot)
            case _crew.Begun(slot, seq, at):
                self.desk.begun(slot, seq, now if at is None else at)
            case _crew.Needed(slot, seq):
                flight = self.desk.needs(slot, seq)
                if flight is not None:
                    self._send(slot, flight, with_body=True)
            case _crew.Recalled(slot, seq):
                self.desk.recalled(slot, seq)
            case _crew.Lost(slot, cause):
                self._lost(slot, cause)
            case _crew.Gained(slot):
                self.desk.add_slot(slot)
            case _crew.Failed(error):
                self._break(error)
            case _crew.Narrowed(left, error):
                self._fail(self.desk.narrow(left, error), error)

    def _break(self, error: BaseException) -> None:
        self.broken = error
        self.calls.fail(error)
        # Their workers may never say anything again.
        for result in self.calls.flying(self.desk.slots.values()):
            settle([result], failed(error))
        self._fail(list(self.desk.lanes), error)

    @staticmethod
    def _fail(lanes: Iterable[Lane], error: BaseException) -> None:
        for lane in lanes:
            if isinstance(lane, Stream) and not lane.finished:
                lane.fail(error)

    def _kill(self, slot: int, verdict: str) -> None:
        if self.desk.abandon(slot, verdict):
            self.crew.kill(slot)

    def _flow(self) -> None:
        desk = self.desk
        if desk.queued:
            self._assign()
        for slot in desk.used_up() if desk.quotas else ():
            self._renew(slot.number)
        for slot in desk.left() if desk.shrinking else ():
            self.crew.stop(slot.number)

    def _assign(self) -> None:
        for slot, flight in self.desk.assign(monotonic()):
            self._send(slot.number, flight)

    def _send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        try:
            self.crew.send(slot, flight, with_body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the slot must not wait for an answer to it
            let_through(error)
            self.desk.replied(slot, flight.seq, failed(error, flight.chunk.count), True, monotonic())

    def _settle_gathered(self) -> None:
        for stream in self._gathering:
            if stream.watcher is not None:
                helper.call(partial(stream.watcher, stream.settled))
        for stream in [stream for stream in self._gathering if stream.finished]:
            result = self._gathering.pop(stream)
            outcomes = stream.gathered
            assert outcomes is not None
            if stream.halted or stream.broken is not None or stream.source.error is not None:
                outcomes.errors[0] = False
            self._drop(stream)
            settle([result], outcomes)

    @guarded
    def resize(self, workers: int) -> None:
        """Grow at once; shrink as workers become idle."""
        with self.section:
            if self.closed:
                return
            self.desk.shrink(workers, getattr(self.crew, "lasting", ()))
            closing = sum(slot.closing for slot in self.desk.slots.values())
            for number in self.crew.resize(workers + closing):
                self.desk.add_slot(number)
            self._go_on()

    def workers(self) -> list[_crew.WorkerInfo]:
        """What is known of each worker."""
        with self.section:
            slots = [(slot, self.crew.identify(slot.number)) for slot in self.desk.slots.values() if not slot.guest]
        return [_crew.WorkerInfo.of(slot, *identity) for slot, identity in slots]

    @property
    def idle(self) -> bool:
        """Whether nothing asynchronous is left to do."""
        return not self.calls.unsettled and not self._gathering

    def drain(self) -> None:
        """Wait until everything started asynchronously is done; what nobody waits for is given a moment."""
        self.drive(lambda: self.idle or self.broken is not None)
        if not self.drive(lambda: not self.desk.in_flight or self.broken is not None, monotonic() + GRACE):
            self.cancel_all()

    @guarded
    def cancel_waiting(self) -> None:
        """Give up the calls that have not been sent."""
        with self.section:
            revoked = [result for result in self.calls.cancel() if revoke(result)]
        for result in revoked:
            announce(result)

    @guarded
    def cancel_all(self) -> None:
        """Give up everything that is queued or runs."""
        with self.section:
            results = [*self.calls.cancel(), *self.calls.flying(self.desk.slots.values()), *self._gathering.values()]
            self._gathering.clear()
            for lane in list(self.desk.lanes):
                if isinstance(lane, Stream):
                    lane.cancel()
            for slot in list(self.desk.slots.values()):
                if slot.flights:
                    self._kill(slot.number, "cancelled")
            revoked = [result for result in results if revoke(result)]
        for result in revoked:
            announce(result)

    def close(self) -> None:
        """End the workers, and what still waits for them with `PoolClosed`; idempotent."""
        with self.section:
            if self.closed:
                return
            self.closed = self.over = True
            # Other threads may be submitting, mapping and waiting right now.
            self._break(error := self.broken or PoolClosed("the pool was closed before this was done"))
            for result in self._gathering.values():
                settle([result], failed(error))
            end_bars = ender(self.crew, self.desk.slots)
            self.desk.slots.clear()
            self.desk.in_flight = 0
            self._notify()
            if self.desk.observer is not None:
                self.desk.observer.leave()
        if self._finalizer is not None:
            self._finalizer.detach()
        with self._no_driver():
            self.crew.close()
        end_bars()
