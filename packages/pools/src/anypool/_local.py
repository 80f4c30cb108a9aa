"""Crews within this process: the caller itself, or threads; items and results pass by reference."""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from anypool._chunk import Body, Calling, Chunk, Direct, Mode, Outcomes
from anypool._context import Scope, context_with, unchanged
from anypool._crew import Begun, Event, Failed, Lost, OfOneKind, Replied
from anypool._errors import WorkerLost
from anypool._gate import Gate, Task, open_gate
from anypool._helper import helper
from anypool._result import refuse
from anypool._serve import serve_here
from anypool._slot import Cause, Flight
from anypool._strike import callers_own
from anypool._task import here, unmoved

__all__: list[str] = []

# Threads that hold a task past its timeout can't be ended, only left behind; beyond this the pool gives up.
_ABANDONED_PER_WORKER = 4
_CLOSE_SECONDS = 10.0


class _Local(OfOneKind):
    """What both crews share: nothing is packed, nobody is another process."""

    tells_cpus = False
    scope: Scope | None = None

    def body(self, calling: Calling) -> Body:
        """The function as it is."""
        return Body(calling, key=id(calling.function))

    def pack(self, payload: Any, most: int) -> tuple[Any, int]:
        """The payload as it is; it weighs nothing that this crew knows of."""
        return payload, 0

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """All as it is."""
        refuse(args, kwargs)
        return self.body(Calling(f, scope=self.scope)), Mode.CALL, (args, kwargs), 0

    def release(self, body: Body) -> None:
        """Nothing was kept."""

    def interrupt(self) -> None:
        """Nobody sleeps in `poll`."""

    def lend(self) -> _Guest | None:
        """Only threads have a life of their own."""
        return None

    def abandon(self) -> None:
        """There are no locks."""


class SerialCrew(_Local):
    """One slot, served by whoever polls."""

    polled = True
    runs_here = True
    reports_items = False
    greets = False
    keeps_context = False
    inline = 0

    def __init__(self) -> None:
        self._waiting: deque[Flight] = deque()

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """The caller is the worker."""
        return [0]

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Keep the chunk for the next `poll`."""
        self._waiting.append(flight)

    def recall(self, slot: int) -> list[int]:
        """Nothing waits behind what the caller runs."""
        return []

    def poll(self, timeout: float) -> list[Event]:
        """Run the next chunk, here and now; a KeyboardInterrupt, or a handler's SystemExit, is the caller's own."""
        if not self._waiting:
            return []
        flight = self._waiting.popleft()
        with unchanged(), unmoved():
            return [Replied(0, flight.seq, _run(flight.chunk, callers_own))]

    def kill(self, slot: int) -> None:
        """Nothing runs but what the caller itself runs."""
        self._waiting.clear()

    def renew(self, slot: int) -> bool:
        """The caller is still there."""
        return True

    def stop(self, slot: int) -> None:
        """Nothing to do."""

    def resize(self, workers: int) -> list[int]:
        """There is one caller, whatever is asked."""
        return []

    def identify(self, slot: int) -> tuple[str, str, int]:
        """This process."""
        return "caller", os.uname().nodename, os.getpid()

    def close(self) -> None:
        """Nothing to end."""

    def desert(self) -> None:
        """Nothing to end."""


def _run(chunk: Chunk, passing: Callable[[BaseException], bool] | None = None) -> Direct:
    job = chunk.job
    first = chunk.first if job.number else None
    return serve_here(
        job.body.calling, job.mode, chunk.payload, chunk.skip, chunk.count, job.budget, job.stop, first, passing
    )


class _Worker(Task):
    """Chunks on their way to one slot, and how to run them."""

    def __init__(self, crew: ThreadCrew, slot: int) -> None:
        self.flights: SimpleQueue[Flight | None] = SimpleQueue()
        self.slot = slot
        self.gate: Gate | None = None
        self._crew = crew

    def run(self, flight: Flight) -> None:
        for event in self._events(flight):
            if self.abandoned:
                return
            self._crew.deliver([event])

    def _call(self, context: contextvars.Context, chunk: Chunk) -> Outcomes:
        assert self.gate is not None
        return self.gate.run(self, partial(context.run, self._crew.run_chunk, chunk))

    def leave(self) -> None:
        """Give up what runs."""
        self.abandoned = True
        if self.gate is not None:
            self.gate.leave(self)

    def _events(self, flight: Flight) -> Iterator[Event]:
        chunk, slot = flight.chunk, self.slot
        context = self._crew.context_of(chunk)
        if not chunk.careful:
            yield Replied(slot, flight.seq, self._call(context, chunk))
            return
        yield Begun(slot, flight.seq)
        for at in range(chunk.count):
            outcomes = self._call(context, chunk.part(at, 1))
            # Of none it is known that something of the chunk could not be had: all of the rest goes back.
            last = at == chunk.count - 1 or not outcomes.count or bool(chunk.job.stop and outcomes.errors)
            yield Replied(slot, flight.seq, outcomes, last)
            if last:
                return


class _Guest(_Worker):
    """A thread of the pool that waits for the pool itself."""

    def __init__(self, crew: ThreadCrew, slot: int, gate: Gate) -> None:
        super().__init__(crew, slot)
        self.gate = gate

    def work(self, patience: float) -> None:
        """Run the next chunk that comes within so many seconds."""
        try:
            flight = self.flights.get(timeout=max(0.0, patience))
        except Empty:
            return
        if flight is None:
            return
        try:
            self.run(flight)
        except SystemExit:
            if not self.abandoned:
                raise
        if self.abandoned:
            # It can't be left behind, for it has its own task to go on with: the slot was lost until now.
            self.abandoned = self.struck = False
            self._crew.recall(self.slot)
            self._crew.deliver([_left_behind(self.slot, "guest")])

    def release(self) -> None:
        """Stop waiting for chunks."""
        self.flights.put(None)


class _Thread(_Worker):
    """A worker thread."""

    def __init__(self, crew: ThreadCrew, slot: int) -> None:
        super().__init__(crew, slot)
        self.thread = threading.Thread(target=self._work, name=f"anypool-thread-{slot}", daemon=True)

    def _work(self) -> None:
        crew = self._crew
        if (error := crew.initialize()) is not None:
            failure = WorkerLost(f"the initializer raised {type(error).__name__}: {error}", cause="initializer")
            failure.__cause__ = error
            crew.deliver([Failed(failure)])
            return
        self.gate = crew.mine.gate = open_gate()
        here.name, crew.mine.slot = f"thread-{self.slot}", self.slot
        try:
            while not self.abandoned and (flight := self.flights.get()) is not None:
                self.run(flight)
                del flight
        except BaseException as error:
            # A strike may come only after the user's code has returned; all else is no task's doing.
            if not self.abandoned:
                crew.deliver([Lost(self.slot, Cause(f"its thread ended: {error!r}", worker=self.thread.name))])
            if not isinstance(error, SystemExit):
                raise


def _left_behind(slot: int, name: str) -> Lost:
    return Lost(slot, Cause("the thread was left behind", own=False, worker=name))


class ThreadCrew(_Local):
    """Threads of this process; each runs its chunks in a copy of the caller's context."""

    polled = False
    runs_here = False
    reports_items = True
    greets = False
    keeps_context = True
    inline = 0

    def __init__(self, workers: int, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
        self._workers = workers
        self._initializer, self._initargs = initializer, initargs
        self._threads: dict[int, _Thread] = {}
        self._guests: dict[int, _Guest] = {}
        self._owner = os.getpid()
        self.mine = threading.local()
        self._left_behind: list[threading.Thread] = []
        self._next = 0
        self.deliver: Callable[[list[Event]], None] = lambda _: None

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Start the threads."""
        self.deliver = deliver
        try:
            return self.resize(self._workers)
        except BaseException:
            self.desert()
            raise

    def initialize(self) -> BaseException | None:
        """Run the pool's initializer in the calling thread; return what it raised."""
        if self._initializer is not None:
            try:
                self._initializer(*self._initargs)
            except BaseException as error:  # noqa: BLE001 - raised to whoever waits for the pool
                return error
        return None

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """All as it is, and the context of its own in which it is called, where the scope has to hold."""
        refuse(args, kwargs)
        return self.body(Calling(f, scope=self.scope)), Mode.CALL, (args, kwargs, context_with(self.scope)), 0

    @staticmethod
    def context_of(chunk: Chunk) -> contextvars.Context:
        """A copy of the context in which the map was called."""
        return chunk.job.context.copy() if chunk.job.context is not None else contextvars.copy_context()

    def run_chunk(self, chunk: Chunk) -> Outcomes:
        """Run a chunk in the calling thread."""
        return _run(chunk)

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Put the chunk before the thread."""
        self._worker(slot).flights.put(flight)

    def _worker(self, slot: int) -> _Worker:
        return self._threads.get(slot) or self._guests[slot]

    def lend(self) -> _Guest | None:
        """A slot for a task that waits for its own pool."""
        gate = getattr(self.mine, "gate", None)
        if gate is None:
            return None
        slot, self._next = self._next, self._next + 1
        guest = self._guests[slot] = _Guest(self, slot, gate)
        return guest

    def recall(self, slot: int) -> list[int]:
        """Empty the queue before the thread."""
        taken = []
        try:
            while True:
                flight = self._worker(slot).flights.get_nowait()
                if flight is not None:
                    taken.append(flight.seq)
        except Empty:
            return taken

    def poll(self, timeout: float) -> list[Event]:
        """Threads deliver by themselves."""
        return []

    def kill(self, slot: int) -> None:
        """Leave the thread behind: it gets a SystemExit at its next bytecode, and its outcome is dropped."""
        worker = self._threads.get(slot)
        if worker is None:
            self._guests[slot].leave()
            return
        worker.leave()
        worker.flights.put(None)
        self._left_behind.append(worker.thread)
        self._deliver_later(_left_behind(slot, worker.thread.name))

    def _deliver_later(self, event: Event) -> None:
        """From another thread: the engine's lock is held here."""
        deliver = partial(self.deliver, [event])
        try:
            threading.Thread(target=deliver, daemon=True).start()
        except RuntimeError:
            # No more threads can be had; that of the callbacks is there.
            helper.call(deliver)

    def renew(self, slot: int) -> bool:
        """A new thread for the slot, unless too many were left behind."""
        if slot in self._guests:
            return True
        self._threads[slot].flights.put(None)
        self._left_behind = [thread for thread in self._left_behind if thread.is_alive()]
        if len(self._left_behind) > _ABANDONED_PER_WORKER * self._workers:
            text = f"{len(self._left_behind)} threads hold tasks past their timeout; only processes can be ended"
            error = WorkerLost(f"{text}. restart() opens the pool again", cause="threads left behind")
            self._deliver_later(Failed(error))
            return False
        self._begin(slot)
        return True

    def _begin(self, slot: int) -> None:
        worker = _Thread(self, slot)
        worker.thread.start()
        self._threads[slot] = worker

    def stop(self, slot: int) -> None:
        """Let the thread end."""
        if self._guests.pop(slot, None) is None:
            self._threads.pop(slot).flights.put(None)

    def resize(self, workers: int) -> list[int]:
        """Start threads up to so many."""
        self._workers = workers
        added = []
        while len(self._threads) < workers:
            slot, self._next = self._next, self._next + 1
            self._begin(slot)
            added.append(slot)
        return added

    def identify(self, slot: int) -> tuple[str, str, int]:
        """The thread's name, and this process."""
        return f"thread-{slot}", os.uname().nodename, os.getpid()

    def close(self) -> None:
        """Let the threads end, and wait for those that run nothing."""
        if self._owner != os.getpid():
            return
        self.desert()
        deadline = monotonic() + _CLOSE_SECONDS
        for worker in self._threads.values():
            if worker.thread is not threading.current_thread() and not worker.abandoned:
                worker.thread.join(max(0.0, deadline - monotonic()))
        self._threads.clear()

    def desert(self) -> None:
        """Let the threads end; in a forked child there are none."""
        if self._owner != os.getpid():
            return
        for worker in list(self._threads.values()):
            worker.flights.put(None)
