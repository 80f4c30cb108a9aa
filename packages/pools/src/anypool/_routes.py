"""Which slot is behind which hub, and what became of it: the owner's half of routing.

A state machine without I/O or clock: the crew of a nested pool asks it for the messages to send, and tells it what hubs
have said. A slot has a number of the pool's, and one on the wire that is its own within its hub; each new worker in it
has the next incarnation, so that what an old one's hub said late is known for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from anypool._crew import Begun, Event, Gained, Lost, Needed, Ready, Recalled
from anypool._slot import Cause
from anypool._wire import HUB, PARTIAL, Kind, Message, control, granted

__all__: list[str] = []

# Hubs that may end one after the other before they offered anything.
_MOST_FALSE_STARTS = 5
_INCARNATIONS = 1 << 16
# Says of a slot that it was not lost to a death, and comes back by itself.
AWAY_TEXT = "away"

# What a slot's worker is up to. FRESH: it starts along with its hub. AWAY: it comes back by itself.
STARTING, UP, LOST, FRESH, AWAY = range(5)


class Place:
    """One slot: where it is, and what is known of its worker; `excuse`: why its end is not its own fault."""

    __slots__ = ("excuse", "host", "hub", "incarnation", "name", "pid", "state", "wire")

    def __init__(self, hub: int, wire: int) -> None:
        self.hub, self.wire = hub, wire
        self.incarnation, self.state = 0, STARTING
        self.name = self.host = self.excuse = ""
        self.pid = 0


class _HubState:
    """One hub: `told` once it has said what it offers, `gone` when no other takes its place any more."""

    __slots__ = ("down", "false_starts", "gone", "next_wire", "told")

    def __init__(self) -> None:
        self.told = self.down = self.gone = False
        self.false_starts = self.next_wire = 0


class Routes:
    """All slots of a nested pool; `name` and `inner` are what hubs and their workers are called before they say so."""

    def __init__(self, hubs: int, name: str, inner: str) -> None:
        self._name, self._inner = name, inner
        self.places: dict[int, Place] = {}
        self.hubs = [_HubState() for _ in range(hubs)]
        self._slots: dict[tuple[int, int], int] = {}
        # Threads that add a slot each may be at it at the same time.
        self._numbers = itertools.count()

    # Slots come and go.

    def add(self, hub: int, wire: int | None = None) -> int:
        """A slot of a hub; its number in the pool."""
        state = self.hubs[hub]
        if wire is None:
            wire, state.next_wire = state.next_wire, state.next_wire + 1
        slot = next(self._numbers)
        self.places[slot], self._slots[hub, wire] = Place(hub, wire), slot
        return slot

    def remove(self, slot: int) -> Place | None:
        """The slot takes no more work."""
        place = self.places.pop(slot, None)
        if place is not None:
            del self._slots[place.hub, place.wire]
        return place

    def wires(self, hub: int) -> list[int]:
        """The numbers on the wire of a hub's slots."""
        return [place.wire for place in list(self.places.values()) if place.hub == hub]

    def emptiest(self) -> int | None:
        """The hub with the fewest slots, of those that there are."""
        there = [hub for hub, state in enumerate(self.hubs) if not state.gone]
        return min(there, key=lambda hub: len(self.wires(hub)), default=None)

    def identify(self, slot: int) -> tuple[str, str, int]:
        """Name, host and process id of a slot's worker."""
        place = self.places.get(slot)
        if place is None:
            return f"{self._name}-?/{self._inner}-{slot}", "", 0
        return place.name or f"{self._name}-{place.hub}/{self._inner}-{place.wire}", place.host, place.pid

    def slot(self, hub: int, wire: int) -> int | None:
        """The slot that a hub's message is about."""
        return self._slots.get((hub, wire))

    def at(self, pid: int) -> int | None:
        """The hub that a process is behind."""
        return next((place.hub for place in list(self.places.values()) if place.pid == pid), None)

    # Workers are renewed.

    def renew(self, slot: int) -> Message | None:
        """The message that puts a new worker into a slot; None if it starts along with its hub."""
        place = self.places[slot]
        if place.state == FRESH:
            place.state = STARTING
            return None
        place.incarnation = (place.incarnation + 1) % _INCARNATIONS
        place.state = STARTING
        place.excuse = ""
        return Message(Kind.SPAWN, slot=place.wire, attempt=place.incarnation)

    def restart(self, hub: int) -> None:
        """A new hub takes the place of a lost one, and starts all its slots."""
        self.hubs[hub].down = False
        for place in list(self.places.values()):
            if place.hub == hub:
                place.incarnation, place.excuse = 0, ""
                place.state = AWAY if place.state == AWAY else FRESH

    # Hubs speak.

    def hear(self, hub: int, message: Message) -> list[Event]:
        """What a message says of a slot; outcomes are not for here."""
        kind = message.kind
        if kind == Kind.SLOTS and message.meta and "slots" in (fields := message.fields()):
            return self._offered(hub, fields["slots"])
        slot = self.slot(hub, message.slot)
        if slot is None:
            return self._surplus(hub, message.slot) if kind == Kind.SLOTS else []
        place = self.places[slot]
        if kind == Kind.NEED:
            return [Needed(slot, message.seq)]
        if kind == Kind.REPLY and message.flags & PARTIAL and not message.count:
            return [Begun(slot, message.seq)]
        if kind == Kind.DROPPED:
            return [Recalled(slot, seq) for seq in granted(message)]
        if message.attempt != place.incarnation:
            return []
        if kind == Kind.HELLO:
            return self._greeted(slot, place, message)
        if kind == Kind.DIED:
            return self._died(slot, place, message)
        if kind == Kind.SLOTS and place.state == AWAY:
            place.state = UP
            return [Gained(slot)]
        return []

    def _offered(self, hub: int, wires: Iterable[int]) -> list[Event]:
        """What a hub offers, be it more or less than it was asked for."""
        state, offered = self.hubs[hub], set(wires)
        state.told, state.false_starts = True, 0
        events: list[Event] = []
        for slot, place in list(self.places.items()):
            # One with an incarnation was asked for since, and is not what the hub speaks of.
            asked = place.hub == hub and place.state in (STARTING, FRESH) and not place.incarnation
            if asked and place.wire not in offered:
                place.state = AWAY
                events.append(Lost(slot, Cause("its hub has no room for it", own=False)))
        for wire in sorted(offered - set(self.wires(hub))):
            events += self._surplus(hub, wire)
        return events

    def _surplus(self, hub: int, wire: int) -> list[Event]:
        slot = self.add(hub, wire)
        self.places[slot].state = UP
        return [Gained(slot)]

    def _greeted(self, slot: int, place: Place, message: Message) -> list[Event]:
        told = message.fields()
        place.name, place.host, place.pid = f"{self._name}-{place.hub}/{told['name']}", told["host"], told["pid"]
        before, place.state = place.state, UP
        # One that was away when its hub was lost is back with the new one.
        return [Gained(slot), Ready(slot)] if before == AWAY else [Ready(slot)]

    def _died(self, slot: int, place: Place, message: Message) -> list[Event]:
        if place.state in (LOST, AWAY):
            return []
        cause = Cause(**message.fields())
        if cause.text == AWAY_TEXT:
            place.state = AWAY
            return [Lost(slot, cause)]
        place.state = LOST
        if place.excuse:
            cause = cause._replace(text=place.excuse, own=False)
        worker = f"{self._name}-{place.hub}/{cause.worker}" if cause.worker else self.identify(slot)[0]
        return [Lost(slot, cause._replace(worker=worker))]

    def hub_lost(self, hub: int, cause: Cause) -> list[Event]:
        """A hub has ended, and all that is behind it; nothing that ran there is to blame."""
        state = self.hubs[hub]
        if not state.told:
            state.false_starts += 1
        state.told, state.down = False, True
        state.gone = state.gone or state.false_starts >= _MOST_FALSE_STARTS
        events: list[Event] = []
        text = f"its hub {self._name}-{hub} was lost: {cause.text}"
        for slot, place in list(self.places.items()):
            if place.hub != hub:
                continue
            # Others have been told of, and nobody has put a new worker there yet.
            if place.state not in (AWAY, LOST):
                name, host, _ = self.identify(slot)
                events.append(Lost(slot, Cause(text, False, name, host or cause.host, cause.stderr, heard=False)))
                place.state = LOST
            place.pid = 0
        return events

    @property
    def all_gone(self) -> bool:
        """Whether no hub is left, nor will be."""
        return all(state.gone for state in self.hubs)


def kill(place: Place) -> Message:
    """Ends a slot's worker."""
    return Message(Kind.KILL, slot=place.wire, attempt=place.incarnation)


def cancel(place: Place) -> Message:
    """Asks for the chunks that a slot's worker has not begun."""
    return Message(Kind.CANCEL, slot=place.wire, attempt=place.incarnation)


def stop(place: Place) -> Message:
    """Ends an idle slot for good."""
    return Message(Kind.BYE, slot=place.wire, attempt=place.incarnation)


def setup(wires: list[int], recipe: bytes, probe: list[int] | None, tails: tuple[str, int] | None) -> Message:
    """Makes a worker a hub with these slots; `probe`: a segment of the owner's; `tails`: of threads."""
    message = control(Kind.SETUP, slots=wires, probe=probe, tails=tails)
    message.flags, message.parts = HUB, [recipe]
    return message
