"""The crew of a path such as `process:2/process:3`: one flat pool of what the hubs of the outer launcher offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from anypool._chunk import Body, Calling, Mode, Outcomes
from anypool._context import Scope
from anypool._crew import Event, Failed, Lost, OfOneKind, Replied
from anypool._errors import LauncherUnavailable, PlanError, WorkerLost
from anypool._hubs import ProcessHubs
from anypool._inside import initialize_packed
from anypool._launcher import Launcher
from anypool._line import Setting, packed_initializer
from anypool._outcomes import Unopened, unpack_reply
from anypool._packing import Parcel
from anypool._plan import Nested
from anypool._relayed import Relayed
from anypool._routes import AWAY, LOST, Place, Routes, cancel, kill, setup, stop
from anypool._segments import SegmentLost
from anypool._slot import Flight
from anypool._tails import Tails, page_of
from anypool._wire import IN_BAND, PARTIAL, Kind, Message, grant
from anypool_serialize import dumps, loads

__all__: list[str] = []

# Within these seconds a hub has said what it offers, or is given up.
_START_SECONDS = 30.0
# A worker that is to be killed is gone within these, or its hub is killed.
_KILL_SECONDS = 3.0
# Options of a launcher that are about workers who run tasks, which hubs don't.
_OF_TASKS = ("initializer", "max_tasks_per_worker")
# Whether workers report each item of a careful chunk, and know their share of the CPUs; others do neither.
_KNOWN = {"process": (True, True), "thread": (True, False)}


class NestedCrew(OfOneKind):
    """Slots behind hubs. What hubs are, and how they are reached, is the outer launcher's affair."""

    polled = True
    runs_here = False
    greets = True
    keeps_context = False
    takes_refs = True
    unopened = False

    def __init__(self, recipe: Nested) -> None:
        outer, *inner = recipe.parts
        if (why := outer.missing()) is not None:
            raise LauncherUnavailable(why)
        open_hubs: Callable[..., ProcessHubs] | None = getattr(outer, "hubs", None)
        if open_hubs is None:
            raise LauncherUnavailable(
                f"{outer.name!r} can't hold the workers of {inner[0].name!r}: it opens no channels; 'process' does"
            )
        for name in _OF_TASKS:
            if getattr(outer, name, None) is not None:
                raise PlanError(f"{outer} runs no tasks in {recipe}; {name}= belongs to {recipe.parts[-1].name!r}")
        self.scope: Scope | None = None
        self.relayed, self._tails = Relayed(), Tails()
        # Whether it has been told that nothing will run any more, and why.
        self._failed = False
        self.reports_items, self.tells_cpus = _KNOWN.get(recipe.parts[-1].name, (False, False))
        self._inner = _packed_inside(inner[0] if len(inner) == 1 else Nested(parts=tuple(inner)))
        self._workers = recipe.size
        self._recipes: dict[int, bytes] = {}
        count = min(outer.size, self._workers)
        self.routes = Routes(count, outer.name, self._inner.name)
        for at in range(self._workers):
            self.routes.add(at % count)
        # Now, for it may be refused.
        self._recipe_for(len(self.routes.wires(0)))
        self.hubs = open_hubs(count, self._greeting)

    def _greeting(self, hub: int, probe: list[int] | None) -> Message:
        wires = self.routes.wires(hub)
        tails = (self._tails.place.hex(), hub) if self._inner.name == "thread" else None
        return setup(wires, self._recipe_for(max(1, len(wires))), probe, tails)

    def _recipe_for(self, workers: int) -> bytes:
        """The inner launcher, packed, with the share of one hub."""
        if workers not in self._recipes:
            launcher = replace(self._inner, workers=workers)
            self._recipes[workers] = bytes(dumps(launcher, oob=IN_BAND, names=("launcher",)).header)
        return self._recipes[workers]

    # Starting.

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Start the hubs; chunks wait in their pipes until what is behind them has started."""
        for hub in self.hubs.start(deliver):
            self._expect(hub)
        return list(self.routes.places)

    def _expect(self, hub: int) -> None:
        self.hubs.after(_START_SECONDS, lambda: self._give_up_hub(hub))

    def _give_up_hub(self, hub: int) -> None:
        state = self.routes.hubs[hub]
        if not (state.told or state.down):
            state.gone = True
            self.hubs.kill(hub)

    def resize(self, workers: int) -> list[int]:
        """Add slots up to so many, to the hubs with the fewest."""
        self._workers = workers
        added: list[int] = []
        while len(self.routes.places) < workers and (hub := self.routes.emptiest()) is not None:
            slot = self.routes.add(hub)
            added.append(slot)
            if self.routes.hubs[hub].down:
                self._restart(hub)
            elif (message := self.routes.renew(slot)) is not None:
                self.hubs.tell(hub, message)
        return added

    def renew(self, slot: int) -> bool:
        """Ask the hub for a worker, or for the hub itself."""
        place = self.routes.places.get(slot)
        if place is None:
            return False
        state = self.routes.hubs[place.hub]
        if state.down and not state.gone:
            self._restart(place.hub)
        if state.gone or state.down:
            self.routes.remove(slot)
            return False
        if place.state == AWAY:
            return False
        if (message := self.routes.renew(slot)) is not None:
            self.hubs.tell(place.hub, message)
        return True

    def _restart(self, hub: int) -> None:
        if self.hubs.renew(hub):
            self.routes.restart(hub)
            self._expect(hub)

    # Work goes out.

    @property
    def inline(self) -> int:
        """Large buffers that did not go through shared memory."""
        return self.hubs.inline

    def body(self, calling: Calling) -> Body:
        """Serialise what is called; `Unserializable` names the path from f."""
        return self.hubs.body(calling)

    def pack(self, payload: Any, most: int) -> tuple[Parcel | None, int]:
        """Serialise items; what they refer to may change afterwards."""
        return self.hubs.pack(payload, most)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """Serialise one call, as far as the lane of calls does not do it."""
        self.hubs.scope = self.scope
        return self.hubs.pack_call(f, args, kwargs)

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Write a chunk to its hub's pipe, under the slot's number there."""
        place = self.routes.places.get(slot)
        if place is None:
            raise WorkerLost(f"worker {slot} has ended, and no other could take its place", cause="closed", begun=False)
        for pid, offset in self.hubs.given_back():
            self.give_back(pid, [offset])
        self.hubs.run(place.hub, place.wire, flight, with_body)

    def give_back(self, pid: int, offsets: list[int]) -> None:
        """Tell the process whose arena it is, by way of its hub, that nobody uses these slots any more."""
        behind = self.routes.at(pid)
        # A hub further down may have put it there.
        for hub in range(len(self.routes.hubs)) if behind is None else (behind,):
            self.hubs.tell(hub, grant(offsets, pid))

    def recall(self, slot: int) -> list[int]:
        """Ask for what has not begun; the hub tells what it could take back."""
        place = self.routes.places.get(slot)
        if place is not None and place.state != LOST:
            self.hubs.tell(place.hub, cancel(place))
        return []

    def release(self, body: Body) -> None:
        """Have hubs forget a large body, and all that is behind them."""
        self.hubs.release(body)

    # Events come in.

    def lend(self) -> None:
        """Its workers are elsewhere."""

    def interrupt(self) -> None:
        """Make `poll` return."""
        self.hubs.interrupt()

    def also(self, fd: int, mask: int) -> None:
        """Have `poll` return, too, when a descriptor of somebody else's is ready."""
        self.hubs.also(fd, mask)

    def fileno(self) -> int:
        """Readable when a hub says something."""
        return self.hubs.fileno()

    def due(self) -> float:
        """Seconds until something is to be done that no hub will say."""
        return self.hubs.due()

    def poll(self, timeout: float) -> list[Event]:
        """Hear the hubs, and write what now fits."""
        found = self.hubs.poll(timeout)
        heard, events = self.hubs.heard, list[Event]()
        while heard:
            events += self._hear(*heard.popleft())
        for event in found:
            events += self._hub_lost(event) if isinstance(event, Lost) else [event]
        if self.relayed.waiting:
            self.relayed.show(self.identify)
        return events

    def _hear(self, hub: int, message: Message) -> list[Event]:
        if message.kind == Kind.REPLY and (message.count or not message.flags & PARTIAL):
            return self._replied(hub, message)
        if message.kind == Kind.REFUSE:
            error = loads(cast("bytes", message.parts[0])).rebuild()
            return self._fail(error)
        if message.kind == Kind.RELAY:
            if (slot := self.routes.slot(hub, message.slot)) is not None:
                self.relayed.put(slot, message)
            return []
        if message.kind == Kind.SLOTS and message.parts == [] and not self.routes.hubs[hub].told:
            told = message.fields()
            self.hubs.introduced(hub, told["pid"], told["segments"])
        events = self.routes.hear(hub, message)
        if message.kind == Kind.DIED and events:
            self._forget_segments(events)
        return events

    def _replied(self, hub: int, message: Message) -> list[Event]:
        slot = self.routes.slot(hub, message.slot)
        if slot is None:
            return []
        outcomes: Outcomes
        if self.unopened:
            outcomes = Unopened(message)
        else:
            try:
                outcomes = unpack_reply(message, self.hubs.fetcher(message))
            except SegmentLost as error:
                # The worker has ended since, and the result with it; the item that it was is not to blame.
                place = self.routes.places[slot]
                place.excuse = f"ended before its result was read ({error})"
                self.kill(slot)
                return []
        return [Replied(slot, message.seq, outcomes, not message.flags & PARTIAL)]

    def _forget_segments(self, events: list[Event]) -> None:
        for event in events:
            if not isinstance(event, Lost):
                continue
            place = self.routes.places.get(event.slot)
            # A thread's process goes on without it.
            if place is not None and place.pid and not self.hubs.is_at(place.hub, place.pid):
                self.hubs.forget(place.pid)
                self.relayed.ended(event.slot, place.host, place.pid)
                place.pid = 0

    def _hub_lost(self, lost: Lost) -> list[Event]:
        for slot, place in list(self.routes.places.items()):
            if place.hub == lost.slot and place.pid:
                self.hubs.forget(place.pid)
                self.relayed.ended(slot, place.host, place.pid)
        events = [self._with_last(each) for each in self.routes.hub_lost(lost.slot, lost.cause)]
        if self.routes.all_gone and not self._failed:
            text = f"no hub could be started: {lost.cause.text}\n{lost.cause.stderr}".rstrip()
            events += self._fail(WorkerLost(text, cause=lost.cause.text))
        return events

    def _with_last(self, event: Event) -> Event:
        """What threads of a hub had said when it ended, they could not hand in."""
        if not isinstance(event, Lost):
            return event
        place = self.routes.places[event.slot]
        said = self._tails.last(page_of(place.hub, place.wire)) + event.cause.stderr
        return event._replace(cause=event.cause._replace(stderr=said))

    def _fail(self, error: BaseException) -> list[Event]:
        failure, self._failed = Failed(error), True
        self.hubs.fail(failure)
        for state in self.routes.hubs:
            state.gone = True
        return [failure]

    # Workers end.

    def kill(self, slot: int) -> None:
        """Have the hub end the slot's worker; a hub that does not is ended itself."""
        place = self.routes.places.get(slot)
        if place is None or place.state == LOST:
            return
        self.hubs.tell(place.hub, kill(place))
        incarnation = place.incarnation
        self.hubs.after(_KILL_SECONDS, lambda: self._insist(slot, place, incarnation))
        self.hubs.interrupt()

    def _insist(self, slot: int, place: Place, incarnation: int) -> None:
        alive = self.routes.places.get(slot) is place and place.incarnation == incarnation
        if alive and place.state not in (LOST, AWAY) and not self.routes.hubs[place.hub].down:
            self.hubs.kill(place.hub)

    def stop(self, slot: int) -> None:
        """Let an idle slot's worker end."""
        place = self.routes.remove(slot)
        if place is not None:
            self.hubs.tell(place.hub, stop(place))

    def identify(self, slot: int) -> tuple[str, str, int]:
        """Its name within its hub, its host and its process id (0 until it has started)."""
        return self.routes.identify(slot)

    def abandon(self) -> None:
        """Give back the lock of what is written."""
        self.hubs.abandon()

    def close(self) -> None:
        """Let the hubs end, which end what is behind them, and hear the agent out."""
        self.hubs.close()
        self._tails.close()

    def desert(self) -> None:
        """Close everything of this process; the agent ends the hubs when it sees that, and their workers with them."""
        self._tails.close()
        self.hubs.desert()


def _packed_inside(launcher: Launcher) -> Launcher:
    """The launcher with its initializer packed, for hubs don't open it. Raises `Unserializable`."""
    if isinstance(launcher, Nested):
        return Nested(parts=(*launcher.parts[:-1], _packed_inside(launcher.parts[-1])))
    options: Any = launcher
    initializer = getattr(launcher, "initializer", None)
    if initializer is None:
        return launcher
    (packed,) = packed_initializer(Setting(initializer, tuple(options.initargs)))
    return replace(options, initializer=initialize_packed, initargs=(bytes(packed),))  # type: ignore[no-any-return]
