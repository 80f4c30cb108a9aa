"""Who moves the bytes: whoever waits for a pool drives it.

The driver holds the token, polls the crew, has what happened applied, until what it waits for has come. Others sleep
until they are done or the token is free. While nobody waits the helper drives.
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from anypool._crew import Crew, Event, Guest, Ticket
from anypool._desk import DEPTH, DEPTH_UNWATCHED, Desk
from anypool._errors import PoolClosed, WorkerLost
from anypool._gate import current
from anypool._input import Input
from anypool._relayed import handing_on
from anypool._shield import Section, Shield, shield
from anypool._strike import belongs_here, struck
from anypool._watch import Watch

__all__: list[str] = []

# No wait of ours is longer than this without looking whether the world is still as it was.
_LONGEST_WAIT = 1.0
_SOON = 0.001
# How often a guest looks for itself, though others should.
_GUESTS_WAIT = 0.05


# Somebody who looks only so many seconds later does not have to be woken.
_LATE = 0.001
_NEVER = float("inf")

# By id, which the next driver in a dead one's place has too. A set of weak references would run Python code when one
# dies, and an interrupt that strikes there is lost.
_drivers: dict[int, weakref.ref[Driver]] = {}


P = ParamSpec("P")
R = TypeVar("R")


def guarded(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """An engine's method; if the exception of a signal's handler cuts it short, that engine is given up.

    Its state can't be trusted any more, nor can the locks be known to have been given back.
    """

    @wraps(method)
    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        inside, depth = self.section.held(), shield.depth
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            # Within a handler, or a `__del__`, it's for who was interrupted.
            if not inside and (frames := struck(error)):
                self.section.abandon()
                shield.restore(depth)
                if not self.crew.runs_here and _torn(frames):
                    self.give_up()
            raise

    return call  # type: ignore[return-value]


def _torn(frames: list[FrameType]) -> bool:
    """Whether something of ours was under way in these."""
    inner = [frame for frame in frames if belongs_here(frame)]
    return bool(inner) and inner[-1].f_code not in _HARMLESS


# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class _Waiter(NamedTuple):
        """Who sleeps on a ticket, for what, and until when at most; `_NEVER` for who is not to be hurried."""

        done: Callable[[], bool]
        ticket: Ticket
        until: float

else:
    _Waiter = namedtuple("_Waiter", ("done", "ticket", "until"))


def _wakes(waiter: _Waiter) -> float:
    return waiter.until


class Driver(ABC):
    """The driving half of an engine: its lock, its token, and who waits."""

    def __init__(self, crew: Crew, desk: Desk) -> None:
        self.crew, self.desk = crew, desk
        self.section = Section()
        # The same for who is under the guard, whom nothing interrupts anyway.
        self._inside = self.section if crew.runs_here else self.section.lock
        self._token = threading.Lock()
        self._leader = 0
        # What everything that is still open ends with.
        self.broken: BaseException | None = None
        # Whether calls were queued where they could not be sent.
        self.deferred = False
        self._helped = self._asked = False
        self._waiters: list[_Waiter] = []
        self._guard: AbstractContextManager[None] = nullcontext() if crew.runs_here else shield
        # Whether this is a copy in a forked child: the workers, and all that will come of them, are the parent's.
        self.forked = False
        # Whether that is so, or it is closed.
        self.over = False
        _drivers[id(self)] = weakref.ref(self)

    @abstractmethod
    def _after(self, events: Iterable[Event]) -> None:
        """Apply what happened, and send what there is room for; the lock is held."""

    @abstractmethod
    def _send_deferred(self) -> None:
        """Send the calls that are queued, as far as there is room; the lock is held."""

    @abstractmethod
    def watch(self) -> None:
        """Have the helper look after what nobody waits for."""

    @abstractmethod
    def drain(self) -> None:
        """Wait until everything started asynchronously is done."""

    @abstractmethod
    def close(self) -> None:
        """End the workers, and what still waits for them with `broken`."""

    def give_up(self) -> None:
        """End it all, with errors for who waits."""
        self.broken = WorkerLost(
            "the exception of a signal's handler struck this pool at work, and its workers were ended; "
            "the next call starts others",
            cause="interrupted",
        )
        try:
            self.crew.abandon()
            with self.section:
                for slot in list(self.desk.slots.values()):
                    if slot.flights:
                        self.crew.kill(slot.number)
            self.close()
        except Exception:  # noqa: BLE001 - of what was cut short
            self.crew.desert()

    @guarded
    def drive(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Move work on until `done()`; false if `deadline` (monotonic) comes first."""
        if self.forked:
            self.check_here()
        if self.section.held() or self._leader == threading.get_ident() or handing_on(self.crew):
            raise RuntimeError("a handler of signals or output, or __del__, can't wait for the pool that it interrupts")
        if (gate := current()) is None:
            return self._drive(done, deadline)
        with gate:
            guest = self.crew.lend()
            return self._drive(done, deadline) if guest is None else self._drive_as(guest, done, deadline)

    def check_here(self) -> None:
        """Raise `PoolClosed` in a process forked from the one whose pool this is."""
        if self.forked:
            raise PoolClosed("this process was forked from the one that has this pool's workers; results arrive there")

    def after_fork(self) -> None:
        """In a forked child: what other threads of the parent hold is never given back here."""
        self.section = Section()
        self._inside = self.section if self.crew.runs_here else self.section.lock
        self._token = threading.Lock()
        self.forked = self.over = not self.crew.runs_here

    def _drive(self, done: Callable[[], bool], deadline: float | None) -> bool:
        while not done():
            if deadline is not None and monotonic() >= deadline:
                return False
            with self._guard:
                leads = self._lead_if_free(done, deadline)
            if not leads:
                self._follow(done, deadline)
        return True

    def _lead_if_free(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Drive until `done()`, or the guard holds an interrupt back; false if another thread does. Under the guard."""
        if not self.crew.polled or not self._token.acquire(blocking=False):
            return False
        try:
            self._lead(done, deadline)
        finally:
            self._leader = 0
            self._token.release()
            if self._waiters:
                self._hand_on()
        return True

    def _lead(self, done: Callable[[], bool], deadline: float | None) -> None:
        self.desk.depth = DEPTH
        self._leader = threading.get_ident()
        before = shield.wake_by(self.crew.interrupt)
        try:
            # What is alone has mostly ended before it is known how long to wait for it.
            soon = deadline is None and self.desk.in_flight == 1
            while not done() and not (shield.pending and shield.interrupted):
                timeout = _SOON if soon else self._patience(deadline)
                if timeout <= 0:
                    return
                soon = False
                events = self.crew.poll(timeout)
                with self._inside:
                    self._after(events)
        finally:
            shield.wake_by(before)

    def _patience(self, deadline: float | None) -> float:
        now = monotonic()
        timeout = _LONGEST_WAIT
        look = self.desk.next_look(now)
        if look is not None:
            timeout = min(timeout, look)
        return timeout if deadline is None else min(timeout, deadline - now)

    @guarded
    def glance(self) -> None:
        """Apply what has arrived, and refill workers, without a wait; by who has other work to do meanwhile."""
        if self.crew.runs_here or not self.crew.polled or not self.desk.in_flight:
            return
        with self._guard:
            if not self._token.acquire(blocking=False):
                return
            try:
                self._leader = threading.get_ident()
                # It may have been closed until now.
                if not self.over:
                    self._step(0.0)
            finally:
                self._leader = 0
                self._token.release()
                self._hand_on()

    def _step(self, timeout: float) -> None:
        events = self.crew.poll(timeout)
        with self._inside:
            self._after(events)

    def _follow(self, done: Callable[[], bool], deadline: float | None) -> None:
        ticket = threading.Lock()
        ticket.acquire()
        with self.section:
            patience = self._patience(deadline)
            entry = _Waiter(done, ticket, monotonic() + patience)
            self._waiters.append(entry)
        try:
            if self._helped:
                self._asked = True
                self.crew.interrupt()
            if not done() and (self._token.locked() or not self.crew.polled):
                _sleep(ticket, max(0.0, patience))
        finally:
            with self.section:
                if entry in self._waiters:
                    self._waiters.remove(entry)
        if not self.crew.polled:
            with self.section:
                self._after(self.crew.poll(0.0))
        elif done():
            self._hand_on()

    def _drive_as(self, guest: Guest, done: Callable[[], bool], deadline: float | None) -> bool:
        """A task waits for its own pool: its worker takes chunks meanwhile, or nobody might."""
        with self.section:
            self.desk.add_slot(guest.slot, guest=True)
            self._waiters.append(_Waiter(done, guest, _NEVER))
            self._after(())
        try:
            while not done():
                if deadline is not None and monotonic() >= deadline:
                    return False
                patience = self._patience(deadline)
                if self.crew.polled:
                    # This thread is to take chunks; the helper polls, or this one now and then if that is held up.
                    self.watch()
                    self.glance()
                    patience = min(patience, _GUESTS_WAIT)
                guest.work(patience)
                with self.section:
                    self._after(())
            return True
        finally:
            with self.section:
                self._waiters = [entry for entry in self._waiters if entry.ticket is not guest]
                for seq in self.crew.recall(guest.slot):
                    self.desk.recalled(guest.slot, seq)
                self.desk.slots.pop(guest.slot, None)
                self.crew.stop(guest.slot)
                self._after(())

    def _hand_on(self) -> None:
        if not self._waiters:
            return
        with self.section:
            # A guest takes chunks, not the token.
            first = next((entry for entry in self._waiters if entry.until < _NEVER), None)
            if first is not None and not self._token.locked():
                self._waiters.remove(first)
                first.ticket.release()

    def look_after(self, patience: float, wanted: Callable[[], bool]) -> bool:
        """The helper's turn: drive while nobody else does, until a caller asks; true if there is work in flight."""
        if self.deferred:
            with self.section:
                self._send_deferred()
        if not self.crew.polled:
            with self.section:
                self._after(self.crew.poll(0.0))
                return self.desk.expecting()
        if not self.desk.expecting() or not self._token.acquire(blocking=False):
            return self.desk.expecting()
        self._helped, self._leader = True, threading.get_ident()
        try:
            self.desk.depth = DEPTH_UNWATCHED
            self._step(0.0)
            if patience and self.desk.expecting() and not self._asked and not wanted():
                self._step(patience)
        finally:
            self._helped = self._asked = False
            self._leader = 0
            self.desk.depth = DEPTH
            self._token.release()
            self._hand_on()
        return True

    def nudge(self) -> None:
        """Have those who wait look again, and what is queued go on: something came by another way than the crew."""
        with self.section:
            if not self.over:
                self._send_deferred()
                self.crew.interrupt()
            self._notify()

    @contextmanager
    def _no_driver(self) -> Iterator[None]:
        """Have whoever polls leave, which they do when they find nothing to wait for, and let nobody else."""
        self.crew.interrupt()
        held = self._token.acquire(timeout=2 * _LONGEST_WAIT)
        try:
            yield
        finally:
            if held:
                self._token.release()

    def _notify(self) -> None:
        for entry in [entry for entry in self._waiters if entry.done()]:
            self._waiters.remove(entry)
            entry.ticket.release()

    def _hurry(self, seconds: float) -> None:
        """Have somebody look in so many seconds, if all who wait sleep longer; the lock is held."""
        if not self.crew.polled and self._waiters:
            first = min(self._waiters, key=_wakes)
            if monotonic() + seconds + _LATE < first.until < _NEVER:
                self._waiters.remove(first)
                first.ticket.release()


def _sleep(ticket: threading.Lock, seconds: float) -> None:
    ticket.acquire(timeout=seconds)


# Here nothing is under way.
_HARMLESS = frozenset(call.__code__ for call in (_sleep, Watch.wait, Input._fill, Shield.__exit__, Shield._leave))  # noqa: SLF001


def at_work() -> list[Driver]:
    """All that have workers; what runs in its caller has none, and may have been interrupted for good."""
    found = [known() for known in list(_drivers.values())]
    return [driver for driver in found if driver is not None and not driver.over and not driver.crew.runs_here]


def _after_fork() -> None:
    for known in list(_drivers.values()):
        if (driver := known()) is not None:
            driver.after_fork()


os.register_at_fork(after_in_child=_after_fork)
