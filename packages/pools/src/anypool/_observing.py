"""Tell observers what happens in a pool: noted where it happens, told on a thread of their own."""

from __future__ import annotations

import itertools
import logging
import os
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from anypool._helper import Helper
from anypool._plugins import Plugin, plugins
from anypool._registry import pools

if TYPE_CHECKING:
    from anypool._chunk import Chunk, Outcomes
    from anypool._crew import Crew
    from anypool._engine import Engine
    from anypool._pool import Pool
    from anypool._slot import Cause
    from anypool._stream import Segment, Stream

__all__: list[str] = []

# Events that wait for slow observers; beyond that they are dropped, and their number is logged.
_MOST_WAITING = 100_000
# Seconds that leaving a pool waits for observers; and when the last one has waited in vain.
_PATIENCE, _LITTLE_PATIENCE = 10.0, 0.1

# Not the one that all work needs: an observer may never return.
teller_thread = Helper("anypool-helper-observers")
_hang = False
_numbers = itertools.count(1)
_tellers: weakref.WeakKeyDictionary[Pool, Teller] = weakref.WeakKeyDictionary()


class _Map:
    """A map that is not over: when it was opened, and what has become of it so far."""

    __slots__ = ("count", "errors", "opened")

    def __init__(self) -> None:
        self.opened = monotonic()
        self.count = self.errors = 0


class Teller:
    """One pool's events on their way to its observers, and the maps that are open."""

    def __init__(self, launcher: str) -> None:
        self.name = f"{launcher}-{next(_numbers)}"
        self.observers: tuple[Plugin, ...] = ()
        self.maps: dict[int, _Map] = {}
        self._events: deque[tuple[tuple[Plugin, ...], str, dict[str, Any]]] = deque()
        self._dropped = 0
        self._called = False

    def tell(self, hook: str, **arguments: Any) -> None:
        """Have the thread call this hook; takes no lock unless it sleeps."""
        if not self.observers:
            return
        if len(self._events) >= _MOST_WAITING:
            self._dropped += 1
            return
        arguments["pool"] = self.name
        self._events.append((self.observers, hook, arguments))
        if not self._called:
            # First, for a signal's handler may come here too.
            self._called = True
            # If no thread can be had now, perhaps the next time: it is queued.
            with suppress(RuntimeError):
                teller_thread.call(self._deliver)

    def _deliver(self) -> None:
        self._called = False
        while self._events:
            observers, hook, arguments = self._events.popleft()
            for observer in observers:
                observer.tell(hook, arguments)
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            logging.getLogger("anypool").warning(
                "observers are slower than the pool %s: they were not told of %d events", self.name, dropped
            )

    def over(self, number: int) -> None:
        """A map is over; only the first time counts."""
        known = self.maps.pop(number, None)
        if known is not None:
            self.tell(
                "anypool_map_finished",
                map_number=number,
                count=known.count,
                errors=known.errors,
                seconds=monotonic() - known.opened,
            )

    def leave(self) -> None:
        """The pool is closed: what is still open will not go on."""
        for number in list(self.maps):
            self.over(number)


class Observer:
    """What an engine's desk and lanes tell, with the engine's lock held."""

    def __init__(self, teller: Teller, crew: Crew, *, serial: bool) -> None:
        self._teller, self._crew, self._serial = teller, crew, serial
        # Of what is being settled; empty for what no worker ran.
        self._worker = ""

    def started(self, slot: int) -> None:
        """The slot has a new worker."""
        worker, host, pid = self._identity(slot)
        self._teller.tell("anypool_worker_started", worker=worker, host=host, pid=pid or None)

    def _identity(self, slot: int) -> tuple[str, str, int]:
        # A serial pool has one worker, whatever runs its tasks.
        return ("caller", os.uname().nodename, os.getpid()) if self._serial else self._crew.identify(slot)

    def lost(self, slot: int, cause: Cause, verdict: str | None) -> None:
        """The slot's worker is gone; what is settled next was its work."""
        worker, host, _ = self._identity(slot)
        self._worker = worker
        text = cause.text if verdict is None else f"{verdict}: {cause.text}"
        self._teller.tell("anypool_worker_lost", worker=worker, host=cause.host or host, cause=text)

    def opened(self, stream: Stream) -> None:
        """A map begins."""
        self._teller.maps[stream.job.number] = _Map()
        stream.observer = self

    def finished(self, stream: Stream) -> None:
        """A map is over."""
        self._count(stream)
        self._teller.over(stream.job.number)

    def _count(self, stream: Any) -> None:
        known = self._teller.maps.get(stream.job.number)
        if known is not None:
            known.count = stream.settled

    def settle(self, slot: int, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        """Give the chunk's lane its outcomes, and tell of them."""
        number = chunk.job.number
        self._worker = self._identity(slot)[0]
        chunk.lane.settle(chunk, offset, outcomes)
        if self._open(number):
            if number:
                self._count(chunk.lane)
            self._teller.tell(
                "anypool_chunk_done",
                map_number=number,
                first=chunk.first + offset,
                count=outcomes.count,
                errors=len(outcomes.errors),
                seconds=outcomes.seconds,
                worker=self._worker,
            )
        self._worker = ""

    def _open(self, number: int) -> bool:
        return not number or number in self._teller.maps

    def failed(self, number: int, item: int) -> None:
        """An item's outcome is an exception."""
        if self._open(number):
            if number:
                self._teller.maps[number].errors += 1
            self._teller.tell("anypool_item_failed", map_number=number, item=item, worker=self._worker)

    def retried(self, number: int, item: int) -> None:
        """An item that had begun runs again."""
        if self._open(number):
            self._teller.tell("anypool_item_retried", map_number=number, item=item, worker=self._worker)

    def refused(self, stream: Stream, segments: Iterable[Segment]) -> None:
        """Items were not sent; what ends the input is none."""
        self._worker = ""
        for segment in segments:
            if stream.source.error is None or segment.first != stream.read - 1:
                self.failed(stream.job.number, segment.first)

    def leave(self) -> None:
        """The engine is closed."""
        self._teller.leave()


def observe(pool: Pool, engine: Engine) -> None:
    """Have a pool's observers, if it has any, told of all that happens in its new engine."""
    if observers := plugins.observers(pool.launcher):
        with engine.section:
            _attach(engine, pool, observers, new=True)


def _attach(engine: Engine, pool: Pool, observers: tuple[Plugin, ...], new: bool) -> None:
    serial = not pool.launcher.starts_workers
    teller = _tellers.get(pool)
    # The caller is one worker for all of a serial pool's engines.
    starts = new and (teller is None or not serial)
    if teller is None:
        teller = _tellers[pool] = Teller(pool.launcher.name)
    teller.observers = observers
    observer = Observer(teller, engine.crew, serial=serial)
    engine.desk.observer = engine.calls.observer = observer
    for slot in engine.desk.slots.values() if starts else ():
        if slot.ready and not slot.guest:
            observer.started(slot.number)


def refresh() -> None:
    """Others observe than before: tell what happens in the pools that are open to them."""
    for pool in cast("list[Pool]", list(pools.values())):
        observers = plugins.observers(pool.launcher)
        if (teller := _tellers.get(pool)) is not None:
            teller.observers = observers
        engine = pool._live()  # noqa: SLF001 - as for the registry
        if observers and engine is not None and engine.desk.observer is None:
            with engine.section:
                _attach(engine, pool, observers, new=False)


def leave(pool: Pool) -> None:
    """A pool has ended: have its observers told of everything before this returns."""
    if (teller := _tellers.get(pool)) is not None:
        teller.leave()
        finish()


def finish() -> None:
    """Have observers told of everything that has happened, unless they hang."""
    global _hang
    _hang = not teller_thread.finish_callbacks(_LITTLE_PATIENCE if _hang else _PATIENCE)


os.register_at_fork(after_in_child=_tellers.clear)
