"""A crew made of crews: one numbering of all their slots, one form of what they are sent, one wait for all of them."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import zip_longest
from typing import Any

from anypool import _linux
from anypool._aside import Aside
from anypool._chunk import Body, Calling, Mode
from anypool._context import Scope
from anypool._crew import Event, Failed, Gained, Guest, Lost, Narrowed, Replied
from anypool._errors import LauncherUnavailable, WorkerLost
from anypool._form import Form
from anypool._groups import Group, Lent, hungriest, launched
from anypool._plan import Mixed
from anypool._report import could_not_start, is_gone
from anypool._shield import give_back
from anypool._slot import Cause, Flight, Terms
from anypool._watch import Watch

__all__: list[str] = []

_CLOSE_SECONDS = 10.0


class MixedCrew:
    """The workers of all groups. Slot s of group g of n is slot s * n + g here.

    If one group crosses as bytes all do, threads too, so that a task means the same wherever it runs. If one is polled
    all is: what the others deliver is applied in their threads, and who polls is woken. A group that is lost is ended
    before its slots are told lost, so that no item runs twice at a time.
    """

    runs_here = False
    greets = False

    def __init__(self, recipe: Mixed) -> None:
        self._recipe = recipe
        self._groups, references = launched(recipe)
        crews = [group.crew for group in self._groups if group.crew is not None]
        self.polled = any(crew.polled for crew in crews)
        self.reports_items = all(crew.reports_items for crew in crews)
        self.keeps_context = references
        self.tells_cpus = all(crew.tells_cpus for crew in crews)
        self.on_executor = any(getattr(crew, "on_executor", False) for crew in crews)
        self._scope: Scope | None = None
        self._owner = os.getpid()
        self._closed = False
        # Guards which groups are live; who holds it may not ask for the engine's lock.
        self._lock = threading.RLock()
        self._aside: Aside | None = None
        self._deliver: Callable[[list[Event]], None] = lambda _: None
        self._form = Form(references, segments=self.polled)
        self._epoll: select.epoll | None = None
        self._wake = -1
        self._watch = Watch()

    # Starting.

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Start the groups. Raises `LauncherUnavailable` if there are fewer than `min_workers`, with each cause."""
        self._deliver = deliver
        try:
            if self.polled:
                self._epoll, self._wake = select.epoll(), _linux.new_event()
                self._epoll.register(self._wake, select.EPOLLIN)
            started = [self._start(group) for group in self._groups]
            self._report_missing()
        except BaseException:
            self.desert()
            raise
        # In turns, so that no group's workers are all asked first.
        return [slot for row in zip_longest(*started) for slot in row if slot is not None]

    def _start(self, group: Group) -> list[int]:
        # A thread may fail before its number is known; that is looked at afterwards.
        with self._lock:
            slots = [self._number(group, slot) for slot in group.start(partial(self._delivered, group))]
            group.slots.update(slots)
        if group.fd >= 0 and self._epoll is not None:
            self._epoll.register(group.fd, select.EPOLLIN)
        return slots

    def _report_missing(self) -> None:
        missing = [group for group in self._groups if group.crew is None]
        workers, least = self._left(), self._recipe.min_workers
        if workers < least:
            causes = "; ".join(f"{group.name}: {group.reason}" for group in missing)
            raise LauncherUnavailable(
                f"{self._recipe} has {workers} workers, fewer than min_workers={least}"
                + (f", because groups could not start: {causes}" if causes else "")
            ) from next((group.error for group in missing), None)
        for group in missing:
            could_not_start(group)

    def _left(self) -> int:
        return sum(len(group.slots) for group in self._groups)

    def terms(self, slot: int) -> Terms:
        """What holds for a slot."""
        return self._groups[slot % len(self._groups)].terms

    @property
    def kinds(self) -> tuple[frozenset[str], ...]:
        """The tags of each group."""
        return tuple(group.terms.tags for group in self._groups)

    @property
    def scope(self) -> Scope | None:
        """What holds in tasks."""
        return self._scope

    @scope.setter
    def scope(self, scope: Scope | None) -> None:
        if scope is not None and self.tells_cpus:
            # Groups elsewhere have more or fewer CPUs for each worker.
            scope = scope._replace(cpus=None)
        self._scope = scope
        for group in self._groups:
            if group.crew is not None:
                group.crew.scope = scope

    @property
    def lost(self) -> dict[str, str]:
        """The groups that could not start or are gone, and why."""
        return {group.name: group.reason for group in self._groups if not group.live and (group.error or group.last)}

    # Work goes out.

    @property
    def inline(self) -> int:
        """Large buffers that did not go through shared memory."""
        return self._form.inline + sum(group.crew.inline for group in self._groups if group.crew is not None)

    def body(self, calling: Calling) -> Body:
        """What is called; `Unserializable` names the path from f."""
        return self._form.body(calling)

    def pack(self, payload: Any, most: int) -> tuple[Any, int]:
        """Items."""
        return self._form.pack(payload, most)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """One call."""
        return self._form.pack_call(f, args, kwargs, self._scope)

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Give a chunk to the slot's group; one that is about to end keeps it until its slots are told lost."""
        with self._lock:
            group, local = self._at(slot)
            if group.live and group.crew is not None:
                group.crew.send(local, flight, with_body)
            elif group.ended:
                # It came to be known only after that was told.
                self._later(partial(self._tell, [self._loss(group, slot)]))

    def recall(self, slot: int) -> list[int]:
        """Take back what has not begun."""
        with self._lock:
            group, local = self._at(slot)
            return group.crew.recall(local) if group.live and group.crew is not None else []

    def release(self, body: Body) -> None:
        """Let all groups know."""
        with self._lock:
            for group in self._groups:
                if group.live and group.crew is not None:
                    group.crew.release(body)

    def _number(self, group: Group, local: int) -> int:
        return local * len(self._groups) + group.at

    def _at(self, slot: int) -> tuple[Group, int]:
        local, at = divmod(slot, len(self._groups))
        return self._groups[at], local

    # Events come in.

    def poll(self, timeout: float) -> list[Event]:
        """Wait for all groups at once."""
        ready = self._wait(timeout) if self._epoll is not None else frozenset()
        events: list[Event] = []
        for group in self._groups:
            # Those that aren't polled may have something too, see `Crew`.
            if group.live and (group.fd < 0 or group.fd in ready or group.due <= 0):
                events += self._translated(group, group.poll())
        return events

    def _wait(self, timeout: float) -> frozenset[int]:
        assert self._epoll is not None
        timeout = max(0.0, min(timeout, *[group.due for group in self._groups]))
        poll = self._epoll.poll
        found = self._watch.wait(poll, timeout) if timeout > 0 else poll(0)
        ready = frozenset([fd for fd, _ in found])
        if self._wake in ready:
            _linux.clear_event(self._wake)
        return ready

    def _delivered(self, group: Group, events: list[Event]) -> None:
        """From a thread of a group that isn't polled."""
        self._tell(self._translated(group, events))

    def _tell(self, events: list[Event]) -> None:
        if events:
            self._deliver(events)
            # What the one who polls waits for may have come.
            self.interrupt()

    def _translated(self, group: Group, events: Iterable[Event]) -> list[Event]:
        told: list[Event] = []
        for event in events:
            if type(event) is Replied:
                slot, seq, outcomes, last = event
                told.append(Replied(self._number(group, slot), seq, outcomes, last))
            elif isinstance(event, Failed):
                self._end_later(group, event.error)
            elif not isinstance(event, Narrowed):
                told.append(self._translated_one(group, event))
        return told

    def _translated_one(self, group: Group, event: Any) -> Event:
        number = self._number(group, event.slot)
        if isinstance(event, Lost):
            group.last = event.cause.text
            return Lost(number, event.cause._replace(worker=f"{group.at}:{event.cause.worker}"))
        if isinstance(event, Gained):
            group.slots.add(number)
        told: Event = event._replace(slot=number)
        return told

    def lend(self) -> Guest | None:
        """A slot of the group that the calling thread works for."""
        for group in self._groups:
            if group.live and group.crew is not None and (guest := group.crew.lend()) is not None:
                return Lent(guest, self._number(group, guest.slot))
        return None

    def interrupt(self) -> None:
        """Make `poll` return."""
        with self._lock:
            if self._wake >= 0:
                _linux.set_event(self._wake)

    # Workers end, and groups.

    def kill(self, slot: int) -> None:
        """End the slot's worker."""
        with self._lock:
            group, local = self._at(slot)
            if group.live and group.crew is not None:
                group.crew.kill(local)

    def renew(self, slot: int) -> bool:
        """Another worker for the slot, unless its group is lost."""
        with self._lock:
            group, local = self._at(slot)
            if not group.live or group.crew is None:
                group.slots.discard(slot)
                return False
            try:
                return group.crew.renew(local)
            except Exception as error:
                group.last = f"{type(error).__name__}: {error}"
                raise

    def stop(self, slot: int) -> None:
        """End the slot; a group without any waits for the mix to grow again."""
        with self._lock:
            group, local = self._at(slot)
            group.slots.discard(slot)
            if group.live and group.crew is not None:
                group.crew.stop(local)

    def give_up(self, slot: int) -> None:
        """End the slot for want of workers; a group without any is lost."""
        with self._lock:
            group, local = self._at(slot)
            known = slot in group.slots
            group.slots.discard(slot)
            if not group.live or group.crew is None:
                return
            group.crew.give_up(local)
            if known and not group.slots:
                self._end_later(group, WorkerLost(f"no worker could be started: {group.last}", cause=group.last))
            elif known and self._left() < self._recipe.min_workers:
                self._later(lambda: self._tell(self._reckoning(group)))

    def _end_later(self, group: Group, error: BaseException) -> None:
        """Give a group no more work, and end it where that may be waited for."""
        with self._lock:
            if not group.live:
                return
            group.live, group.error = False, error
            if group.fd >= 0 and self._epoll is not None:
                with suppress(OSError, ValueError):  # It may be closed by now.
                    self._epoll.unregister(group.fd)
            self._later(partial(self._end, group))

    def _end(self, group: Group) -> None:
        group.close()
        with self._lock:
            group.ended = True
            slots, group.slots = sorted(group.slots), set()
        self._tell([*(self._loss(group, slot) for slot in slots), *self._reckoning(group)])
        if not self._closed:
            is_gone(group)

    def _loss(self, group: Group, slot: int) -> Event:
        worker = f"{group.at}:{slot // len(self._groups)}"
        return Lost(
            slot, Cause(f"its group is gone: {group.reason}", own=False, worker=worker, host=os.uname().nodename)
        )

    def _reckoning(self, group: Group) -> list[Event]:
        """What follows for the pool when workers of a group are gone for good."""
        left, least = self._left(), self._recipe.min_workers
        text = f"group {group.name} of the mix is gone: {group.reason}"
        if left < least:
            text = f"{left} workers are left, fewer than min_workers={least}; {text}"
        error = WorkerLost(text, cause=getattr(group.error, "cause", "") or group.reason)
        error.__cause__ = group.error
        if left < least:
            return [Failed(error)]
        return [Narrowed(tuple(each.terms.tags for each in self._groups if each.slots), error)]

    def _later(self, action: Callable[[], object]) -> None:
        """Not here, where the engine's lock may be held."""
        if self._closed:
            return
        if self._aside is None:
            self._aside = Aside()
        self._aside.call(action)

    def resize(self, workers: int) -> list[int]:
        """Add slots up to so many, to groups in proportion to the sizes that they began with."""
        added: list[int] = []
        with self._lock:
            while self._left() < workers and (group := hungriest(self._groups)) is not None:
                assert group.crew is not None
                slots = [self._number(group, slot) for slot in group.crew.resize(len(group.slots) + 1)]
                if not slots:
                    break
                group.slots.update(slots)
                added += slots
        return added

    def identify(self, slot: int) -> tuple[str, str, int]:
        """The worker's name in its group, after the group's number."""
        group, local = self._at(slot)
        if group.crew is None:
            return f"{group.at}:{local}", os.uname().nodename, 0
        name, host, pid = group.crew.identify(local)
        return f"{group.at}:{name}", host, pid

    def abandon(self) -> None:
        """Give back all locks."""
        give_back(self._lock)
        for group in self._groups:
            if group.crew is not None:
                group.crew.abandon()

    def close(self) -> None:
        """End all groups, and wait for that."""
        if self._closed or self._owner != os.getpid():
            return
        self._closed = True
        for group in self._groups:
            group.close()
        if self._aside is not None:
            self._aside.end(_CLOSE_SECONDS)
        self._let_go()

    def desert(self) -> None:
        """Have all groups end without waiting for that."""
        if self._owner != os.getpid():
            return
        self._closed = True
        for group in self._groups:
            group.desert()
        if self._aside is not None:
            self._aside.end(0.0)
        self._let_go()

    def _let_go(self) -> None:
        self._form.close()
        if self._epoll is not None:
            self._epoll.close()
        with self._lock:
            wake, self._wake = self._wake, -1
            if wake >= 0:
                os.close(wake)
