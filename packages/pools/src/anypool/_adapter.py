"""The crew over any standard executor: what a plugin of twenty lines returns is enough for every method."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from functools import partial
from typing import Any

from anypool import _share
from anypool._aside import Aside
from anypool._chunk import Body
from anypool._crew import Event, Failed, Gained, Lost, Needed, OfOneKind, Replied
from anypool._errors import WorkerLost
from anypool._foreign import Trip, Unmade, begins, encoded, final, no_segments, shut_down, words
from anypool._outcomes import Unopened, unpack_reply
from anypool._packs import Packs
from anypool._relayed import Relayed
from anypool._serving import prepare, serve
from anypool._shield import give_back
from anypool._slot import Cause, Flight
from anypool._tails import Tails
from anypool._wire import INLINE, NO_DIGEST, Decoder, Kind

__all__: list[str] = []

_CLOSE_SECONDS = 10.0
# An executor that breaks this often without giving one result will not get better.
_MOST_BREAKS = 12


class ExecutorCrew(Packs, OfOneKind):
    """Virtual slots over an executor made by `launch`; when it breaks, it is made anew.

    A running call can't be ended: a slot whose task is given up comes back when its future ends, and what else it runs
    is waited for. Nor can it be told which worker broke an executor, so a chunk is blamed only if it was alone. It may
    offer more than the standard: `kill_workers()` ends them and returns when they are gone, `resize(workers)`, and
    `submit_watched(prepare, *args)`, which calls what `prepare(*args)` returns, `begun(future)` telling since when.
    """

    polled = False
    runs_here = False
    reports_items = False
    greets = False
    keeps_context = False
    tells_cpus = False
    on_executor = True
    inline = 0
    unopened = False

    def __init__(self, kind: str, executor: Executor, launch: Callable[[], Executor], workers: int) -> None:
        self._kind = kind
        self.scope = None
        self._executor, self._launch, self._workers = executor, launch, workers
        self._breaks, self._last_said = 0, ""
        self._warm = self._closed = False
        self._owner = os.getpid()
        self._slots: set[int] = set()
        # Slots that take nothing: until their loss is told; until a call that was given up ends.
        self._falling: set[int] = set()
        self._away: set[int] = set()
        # Losses to be told once nothing runs that goes back with them: no item may run twice at a time.
        self._ending: dict[int, Event] = {}
        # The slots of calls that are done, for as long as that is being told.
        self._telling: list[int] = []
        # Slots whose worker is to be ended.
        self._doomed: set[int] = set()
        # What the current executor has. Whoever holds the lock may not ask for the engine's.
        self._trips: dict[Future[Any], Trip] = {}
        self._watched = 0
        # Reentrant for the same reason as the engine's section.
        self._lock = threading.RLock()
        self._aside = Aside()
        self._deliver: Callable[[list[Event]], None] = lambda _: None
        self.relayed, self._tails = Relayed(), Tails()

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """The executor starts its workers when it likes."""
        self._deliver = deliver
        return self.resize(self._workers)

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Submit the chunk; the thread that completes its future delivers the reply."""
        with self._lock:
            future = self._submit(slot, flight, with_body)
        if future is None:
            return
        if future.done():
            # Not by a callback, which it would make at once, and whose exceptions it swallows: a handler's, too.
            self._aside.call(partial(self._done, future))
            return
        sender = threading.get_ident()

        def ended(future: Future[Any]) -> None:
            # A future that is done by now calls back at once, in the thread that holds the engine's lock; one that
            # fails with its executor, in a thread that holds the executor's.
            if (sending and threading.get_ident() == sender) or future.cancelled() or future.exception() is not None:
                self._aside.call(partial(self._done, future))
            else:
                self._done(future)

        sending = True
        future.add_done_callback(ended)
        sending = False

    def _submit(self, slot: int, flight: Flight, with_body: bool) -> Future[Any] | None:
        if slot in self._falling or self._breaks >= _MOST_BREAKS:
            return None  # With the loss of its slot, which is about to be told, this chunk goes back.
        executor, again = self._executor, with_body
        with_body = with_body or flight.chunk.job.body.digest == NO_DIGEST or not self._warm
        watch = getattr(executor, "submit_watched", None) if flight.chunk.careful else None
        name, place = self.identify(slot)[0], self._tails.place
        data = encoded(slot, name, place, flight, with_body, watch is not None, again)
        try:
            future: Future[Any] = watch(prepare, data) if watch is not None else executor.submit(serve, data)
        except (RuntimeError, OSError) as error:  # Broken while nobody looked, shut down by its owner, out of means.
            future, flight.begun = Future(), None
            self._trips[future] = Trip(slot, flight.seq, taken=False, watched=False, flight=flight)
            self._aside.call(partial(self._refused, future, error))
            return None
        self._warm = True
        self._trips[future] = Trip(slot, flight.seq, taken=True, watched=watch is not None, flight=flight)
        self._watched += watch is not None
        flight.begun = None if watch is not None else flight.sent
        return future

    def _refused(self, future: Future[Any], error: BaseException) -> None:
        with self._lock:
            if future in self._trips:
                self._replace(error)

    def _done(self, future: Future[Any]) -> None:
        try:
            messages = Decoder().feed(future.result(0))
        except BaseException as error:  # noqa: BLE001 - whatever the engine failed with ends this chunk
            self._failed(future, error)
            return
        with self._lock:
            trip = self._forget(future)
            if trip is not None and trip.watched:
                # Lest what it told fills the pipe that it came through.
                begins(self._executor, {future: trip})
            if trip is None:
                return
            self._telling.append(trip.slot)
        self._breaks, self._last_said = 0, ""
        try:
            while messages[0].kind == Kind.RELAY:
                self.relayed.put(trip.slot, messages.pop(0))
            self.relayed.show_aside(self.identify)
            if messages[0].kind == Kind.NEED:
                if messages[0].flags & INLINE and _share.tools is not None:
                    _share.tools.far(trip.flight.chunk)
                self._deliver([Needed(trip.slot, trip.seq)])
                return
            outcomes = [Unopened(each) if self.unopened else unpack_reply(each, no_segments) for each in messages]
            self._deliver([Replied(trip.slot, trip.seq, each, each is outcomes[-1]) for each in outcomes])
        finally:
            self._told(trip.slot)

    def _told(self, slot: int) -> None:
        with self._lock:
            self._telling.remove(slot)
            if slot in self._ending:
                self._aside.call(partial(self._end, slot))

    def _end(self, slot: int) -> None:
        """Tell a loss, unless what else the slot has still runs; the last of it comes here again."""
        with self._lock:
            if slot in self._telling or any(trip.slot == slot for trip in self._trips.values()):
                return
            loss = self._ending.pop(slot, None)
        if loss is not None:
            self._deliver([loss])

    def _forget(self, future: Future[Any]) -> Trip | None:
        trip = self._trips.pop(future, None)
        if trip is not None and trip.watched:
            self._watched -= 1
        return trip

    def _failed(self, future: Future[Any], error: BaseException) -> None:
        """A call failed: with its executor, or by itself."""
        with self._lock:
            trip = self._trips.get(future)
            if trip is None:
                return
            if isinstance(error, BrokenExecutor) and not isinstance(error, WorkerLost):
                self._replace(error)
                return
            self._breaks += 1
            alone = len(self._trips) == 1 and not isinstance(error, CancelledError)
            self._forget(future)
            self._falling.add(trip.slot)
            self._ending[trip.slot] = self._loss(trip.slot, words(error), alone, [trip])
        if self._breaks >= _MOST_BREAKS or getattr(error, "cause", "") == "initializer":
            with self._lock:
                losses = [self._ending.pop(slot) for slot in list(self._ending)]
            self._give_up(error, losses)
        else:
            self._end(trip.slot)

    def _replace(self, error: BaseException | None) -> None:
        """Go on with an executor made anew; what the old one had is lost. The lock is held.

        The old one's futures are not waited for: a worker killed in the middle of a message leaves it waiting for ever.
        """
        old, trips = self._executor, self._trips
        slots = sorted({trip.slot for trip in trips.values()} | self._doomed | self._ending.keys())
        self._ending.clear()
        self._trips, self._watched = {}, 0
        self._falling.update(slots)
        self._doomed.clear()
        own = error is not None and sum(trip.taken for trip in trips.values()) == 1
        self._breaks += error is not None
        if self._breaks < _MOST_BREAKS and not self._closed:
            try:
                self._executor, self._warm = self._launch(), False
            except BaseException as failure:  # noqa: BLE001 - whatever it is, the losses must be told
                self._executor = Unmade(failure)
        losses = [self._loss(slot, words(error), own, trips.values()) for slot in slots]
        self._aside.call(partial(self._bury, old, trips, error, losses))

    def _bury(
        self, old: Executor, trips: dict[Future[Any], Trip], error: BaseException | None, losses: list[Event]
    ) -> None:
        """End what is left of an executor, and only then tell what was lost: no item may run twice at a time."""
        begun: list[Event] = []
        try:
            if (kill := getattr(old, "kill_workers", None)) is not None:
                kill()
            old.shutdown(wait=False)
            begun = begins(old, trips)
        except BaseException:  # Nor will it tell how its calls ended.
            logging.getLogger("anypool").exception("a launcher's executor")
        if error is not None and self._breaks >= _MOST_BREAKS:
            self._give_up(error, losses)
        else:
            self._deliver([*begun, *losses])

    def _give_up(self, error: BaseException, losses: list[Event]) -> None:
        text, said = words(error), self._last_said
        told = f"launcher {self._kind!r} broke {self._breaks} times in a row: {text}"
        tail = f"\nthe last that a task of it said:\n{said}" if said else ""
        failure = WorkerLost(told + tail, cause=text, stderr=said)
        if getattr(error, "cause", "") == "initializer":
            failure = WorkerLost(str(error), cause="initializer")
        failure.__cause__ = error
        # What is with a slot does not fail with what waits.
        self._deliver([*losses, Failed(failure)])

    def _loss(self, slot: int, text: str, own: bool, trips: Iterable[Trip] = ()) -> Event:
        said = "".join(self._tails.last(trip.seq) for trip in trips if trip.slot == slot)
        self._last_said = said or self._last_said
        return Lost(slot, Cause(text, own, f"{self._kind}-{slot}", os.uname().nodename, said))

    def recall(self, slot: int) -> list[int]:
        """Nothing waits for one worker only: the executor gives what it has queued to whichever is free."""
        return []

    def poll(self, timeout: float) -> list[Event]:
        """Which of the watched calls have begun; all else is delivered."""
        if not self._watched:
            return []
        with self._lock:
            return begins(self._executor, self._trips)

    def lend(self) -> None:
        """Its workers are elsewhere."""

    def interrupt(self) -> None:
        """Nobody sleeps in `poll`."""

    def kill(self, slot: int) -> None:
        """End all workers to end one, or else give up the slot's call; when that ends, its slot comes back."""
        with self._lock:
            if hasattr(self._executor, "kill_workers"):
                self._doomed.add(slot)
                self._aside.call(self._kill_doomed)
                return
            held = {future: trip for future, trip in self._trips.items() if trip.slot == slot}
            judged = min([trip.seq for trip in held.values()], default=0) if slot not in self._telling else 0
            self._falling.add(slot)
            self._ending[slot] = self._loss(slot, "given up", own=False)
        self._aside.call(partial(self._give_back, slot, held, judged))

    def _kill_doomed(self) -> None:
        with self._lock:
            if any(trip.slot in self._doomed for trip in self._trips.values()):
                self._replace(None)
                return
            # What they ran has ended by itself meanwhile, or with another one's.
            slots = sorted(self._doomed)
            self._doomed.clear()
            self._falling.update(slots)
            for slot in slots:
                self._ending.pop(slot, None)
        self._deliver([self._loss(slot, words(None), own=False) for slot in slots])

    def _give_back(self, slot: int, held: dict[Future[Any], Trip], judged: int) -> None:
        # No lock is held: dask's `cancel` waits for the thread that tells results, and that may wait for the engine's.
        taken = {future for future in held if future.cancel()}
        with self._lock:
            left = {each for each in held.keys() & self._trips.keys() - taken if final(held[each], judged)}
            for future in taken | left:
                self._forget(future)
            if left:
                self._away.add(slot)
        self._end(slot)

        def ended(future: Future[Any]) -> None:
            left.discard(future)
            if not left:
                self._aside.call(partial(self._returned, slot))

        for future in list(left):
            future.add_done_callback(ended)

    def _returned(self, slot: int) -> None:
        with self._lock:
            if slot not in self._away:
                return
            self._away.discard(slot)
            if slot in self._ending:
                return
            if len(self._slots) > self._workers:
                self._slots.discard(slot)
                return
        self._deliver([Gained(slot)])

    def renew(self, slot: int) -> bool:
        """Whether the slot can be used; one that was given up comes back later."""
        with self._lock:
            self._falling.discard(slot)
            return slot not in self._away

    def stop(self, slot: int) -> None:
        """One call less at a time."""
        with self._lock:
            self._workers -= slot in self._slots
            for slots in (self._slots, self._falling, self._away):
                slots.discard(slot)
            self._ending.pop(slot, None)

    def resize(self, workers: int) -> list[int]:
        """Calls at a time; the executor's own size stays what it is unless it can `resize`.

        If there are more, those that are away don't come back; the others are to be told to `stop`.
        """
        if self._slots and (grow := getattr(self._executor, "resize", None)) is not None:
            grow(workers)
        with self._lock:
            self._workers = workers
            free = (slot for slot in itertools.count() if slot not in self._slots)
            added = list(itertools.islice(free, max(0, workers - len(self._slots))))
            self._slots.update(added)
        return added

    def release(self, body: Body) -> None:
        """Workers forget old functions by themselves."""

    def identify(self, slot: int) -> tuple[str, str, int]:
        """A standard executor doesn't tell which process runs a call."""
        return f"{self._kind}-{slot}", os.uname().nodename, 0

    def abandon(self) -> None:
        """Or what the executor's threads have to tell would never be told."""
        give_back(self._lock)

    def close(self) -> None:
        """Shut the executor down; a call that still runs is killed if that can be, else left to it after 10 s."""
        if self._closed or self._owner != os.getpid():
            return
        with self._lock:
            self._closed = True
            executor, sent = self._executor, list(self._trips)
            self._trips.clear()
        if sent and (kill := getattr(executor, "kill_workers", None)) is not None:
            kill()
        self._aside.call(partial(shut_down, executor, sent, wait=True))
        self._aside.end(_CLOSE_SECONDS)
        self._tails.close()

    def desert(self) -> None:
        """Shut down without waiting."""
        if self._closed or self._owner != os.getpid():
            return
        self._closed = True
        self._tails.close()
        shut_down(self._executor, list(self._trips), wait=False)
        self._aside.end(0.0)
