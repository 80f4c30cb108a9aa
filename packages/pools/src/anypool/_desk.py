"""Decide which chunk goes to which slot.

A state machine without I/O or clock: the engine tells it what happened and when, and carries out what it returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from anypool._chunk import Chunk, Lane, Outcomes
from anypool._late import LONG_SECONDS, Timed
from anypool._losses import early_loss, free_loss, own_death, timed_out, unheard_loss
from anypool._place import Place
from anypool._slot import Cause, Flight, Slot, Terms

if TYPE_CHECKING:
    from anypool._observing import Observer

__all__: list[str] = []

# Chunks on their way to one worker while the caller waits and refills: one runs, the next is there when it ends.
DEPTH = 2
# The same while nobody waits: the helper looks in less often, so more work has to be there.
DEPTH_UNWATCHED = 8
# A chunk behind a bigger transfer would wait too long for it.
_BIG_BYTES = 4 << 20
_ANY = Terms()


class Desk(Timed):
    """Slots on one side, lanes of ready chunks on the other."""

    def __init__(self, terms: Terms = _ANY, terms_of: Callable[[int], Terms] | None = None) -> None:
        self.slots: dict[int, Slot] = {}
        self.depth = DEPTH
        # Chunks that slots have and that have not come back; counted, for every submit asks.
        self.in_flight = 0
        # Done so far, by whomever.
        self.tasks, self.busy = 0, 0.0
        self._lanes: deque[Lane] = deque()
        self._seq = 0
        # What holds for all slots, or who tells it for each.
        self._terms, self._terms_of = terms, terms_of
        # Whether there is any need for `used_up`, and for `left`.
        self.quotas = self.shrinking = False
        # Which tags are left for good, once a group is gone, and what a map for others ends with.
        self._left: tuple[Collection[frozenset[str]], BaseException] | None = None
        # Where a suspect waits for the pool to be empty.
        self._suspected: Lane | None = None
        self.observer: Observer | None = None

    def add_slot(self, number: int, guest: bool = False) -> None:
        """A slot takes work from now on; a `guest` is a worker only while it waits."""
        terms = self._terms if self._terms_of is None else self._terms_of(number)
        self.quotas = self.quotas or terms.quota is not None
        self.slots[number] = Slot(number, terms, guest)
        if self.observer is not None and not terms.greets and not guest:
            self.observer.started(number)

    def expecting(self) -> bool:
        """Whether something is to be heard: an outcome, the end that a worker was given, or that there is a worker."""
        if self.in_flight > 0 or any([slot.verdict is not None for slot in list(self.slots.values())]):  # noqa: C419
            return True
        return not self.slots and self.queued

    def add_lane(self, lane: Lane) -> None:
        """Serve this lane from now on, in turn with the others."""
        self._lanes.append(lane)

    def remove_lane(self, lane: Lane) -> None:
        """Nothing more comes from this lane."""
        if lane in self._lanes:
            self._lanes.remove(lane)

    @property
    def lanes(self) -> Collection[Lane]:
        """All lanes that are served."""
        return self._lanes

    @property
    def queued(self) -> bool:
        """Whether any lane has a chunk ready."""
        for lane in list(self._lanes):  # noqa: SIM110 - a generator takes four times as long
            if lane.queued:
                return True
        return False

    def room(self, place: Place | None = None) -> int:
        """How many more chunks could be sent right now, to the workers at a place."""
        return sum(self._room(slot) for slot in (list(self.slots.values()) if place is None else self._at(place)))

    def workers(self, place: Place | None) -> int:
        """How many workers there are at a place; at least 1, for more may come."""
        return max(1, len(self.slots if place is None else self._at(place)))

    def _at(self, place: Place) -> list[Slot]:
        return [slot for slot in list(self.slots.values()) if place.takes(slot.terms.tags)]

    def narrow(self, left: Collection[frozenset[str]], error: BaseException) -> list[Lane]:
        """Only workers with these tags are left, and there will be no others; return the lanes that wait for such."""
        self._left = left, error
        return [lane for lane in self._lanes if self.unserved(lane) is not None]

    def unserved(self, lane: Lane) -> BaseException | None:
        """Why no worker will ever take what this lane has, if that is so."""
        if lane.place is None or self._left is None:
            return None
        left, error = self._left
        return None if any(map(lane.place.takes, left)) else error

    def _room(self, slot: Slot) -> int:
        flights = list(slot.flights)
        if slot.closing or slot.slow or slot.verdict is not None:
            return 0
        if not slot.terms.reports_items and self._in_quarantine(slot):
            return 0
        if not flights:
            return 1 if slot.quota is None or slot.quota > 0 else 0
        last = flights[-1].chunk
        if len(flights) >= self.depth or last.careful or slot.quota is not None:
            return 0
        if last.expected > LONG_SECONDS or last.size > _BIG_BYTES:
            return 0
        return self.depth - len(flights)

    def _in_quarantine(self, slot: Slot) -> bool:
        """Whether a suspect runs alone or waits for that, since of several nobody could say which one broke it all."""
        flights = self._flights_beside(slot)
        return bool(flights) and (self._suspected is not None or any(flight.chunk.losses for flight in flights))

    def _flights_beside(self, slot: Slot) -> list[Flight]:
        """What the workers of the same launcher have."""
        mates = [mate for mate in list(self.slots.values()) if mate.terms is slot.terms]
        return [flight for mate in mates for flight in list(mate.flights)]

    def assign(self, now: float) -> list[tuple[Slot, Flight]]:
        """Give ready chunks to the slots that have least to do; return what is to be sent."""
        sends: list[tuple[Slot, Flight]] = []
        for queued in range(self.depth):
            for slot in list(self.slots.values()):
                if len(slot.flights) != queued or not self._room(slot):
                    continue
                chunk = self._next(slot)
                if chunk is None:
                    # Another slot may be one that a chunk waits for.
                    continue
                sends.append((slot, self.board(slot, chunk, now)))
                if not self.queued:
                    return sends
        return sends

    def vacancy(self) -> Slot | None:
        """A slot that takes a chunk at once; only while nothing at all is queued or in flight."""
        if not self.in_flight and not self.queued:
            for slot in self.slots.values():
                if self._room(slot):
                    return slot
        return None

    def board(self, slot: Slot, chunk: Chunk, now: float) -> Flight:
        """Give a chunk to a slot; return what is to be sent."""
        self._seq += 1
        flight = Flight(chunk, self._seq, now)
        if slot.flights:
            flight.queued = True
        else:
            slot.since = now
        slot.flights.append(flight)
        self.in_flight += 1
        if slot.quota is not None:
            slot.quota -= chunk.count
        return flight

    def _next(self, slot: Slot) -> Chunk | None:
        if (suspected := self._suspected) is not None:
            self._suspected = None
            if suspected in self._lanes:
                # What another lane sent now would be waited for again.
                self._lanes.rotate(-self._lanes.index(suspected))
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            place = lane.place
            if place is not None and not place.takes(slot.terms.tags):
                if lane is suspected:
                    self._suspected = lane
                continue
            chunk = lane.take(len(self.slots) if place is None else self.workers(place))
            if chunk is None:
                continue
            if lane is suspected and not chunk.losses:
                # Given back after the suspect, so it comes first.
                self._suspected = lane
            if not slot.terms.reports_items and chunk.losses and self._flights_beside(slot):
                self._suspected = lane
                lane.give_back(chunk)
                return None
            if chunk.careful and slot.flights:
                # Beside another chunk nobody could tell which one the worker was running.
                lane.give_back(chunk)
                continue
            if slot.quota is not None and chunk.count > slot.quota:
                lane.give_back(chunk.part(slot.quota, chunk.count - slot.quota))
                chunk = chunk.part(0, slot.quota)
            return chunk
        return None

    def ready(self, number: int) -> None:
        """The slot's worker has started."""
        if number in self.slots:
            self.slots[number].ready = True
            if self.observer is not None:
                self.observer.started(number)

    def begun(self, number: int, seq: int, now: float) -> None:
        """The slot has started on the first item of a careful chunk."""
        flight = self._flight(number, seq)
        if flight is not None:
            flight.begun = now

    def replied(self, number: int, seq: int, outcomes: Outcomes, last: bool, now: float) -> None:
        """Outcomes for the next items of a chunk on a slot; `last` says that no more come for it."""
        flight = self._flight(number, seq)
        if flight is None:
            return
        slot, chunk, count = self.slots[number], flight.chunk, outcomes.count
        slot.tasks += count
        slot.busy += outcomes.seconds
        self.tasks += count
        self.busy += outcomes.seconds
        offset = flight.progress
        flight.progress += count
        flight.begun = now
        if last:
            slot.flights.remove(flight)
            self.in_flight -= 1
            slot.since, slot.slow = now, False
        if count:
            if self.observer is None:
                chunk.lane.settle(chunk, offset, outcomes)
            else:
                self.observer.settle(number, chunk, offset, outcomes)
        if last and flight.progress < chunk.count:
            rest = chunk.part(flight.progress, chunk.count - flight.progress)
            if slot.quota is not None:
                slot.quota += rest.count
            chunk.lane.give_back(rest)

    def needs(self, number: int, seq: int) -> Flight | None:
        """The slot lacks the function's body; the flight to send again with it."""
        return self._flight(number, seq)

    def _flight(self, number: int, seq: int) -> Flight | None:
        slot = self.slots.get(number)
        if slot is None:
            return None
        # Nearly always the oldest; an executor behind virtual slots may answer in another order.
        for flight in slot.flights:
            if flight.seq == seq:
                return flight
        return None

    def flying(self, lane: Lane) -> bool:
        """Whether a chunk of this lane is with a worker or about to be."""
        flights = [flight for slot in list(self.slots.values()) for flight in list(slot.flights)]
        return lane.queued or any(flight.chunk.lane is lane for flight in flights)

    def used_up(self) -> list[Slot]:
        """Slots whose worker has done as many tasks as one may, and is idle."""
        return [slot for slot in list(self.slots.values()) if slot.quota == 0 and not slot.flights]

    def shrink(self, active: int, lasting: Collection[int] = ()) -> None:
        """Let all slots but so many end when they are idle, `lasting` ones last."""
        slots = [slot for slot in list(self.slots.values()) if not slot.closing and not slot.guest]
        for slot in sorted(slots, key=lambda slot: slot.number not in lasting)[active:]:
            slot.closing = self.shrinking = True

    def left(self) -> list[Slot]:
        """Remove the slots that were to end and are idle, and return them."""
        gone = [slot for slot in list(self.slots.values()) if slot.closing and not slot.flights]
        for slot in gone:
            del self.slots[slot.number]
        self.shrinking = any(slot.closing for slot in list(self.slots.values()))
        return gone

    def renewed(self, number: int) -> None:
        """A new worker fills the slot."""
        slot = self.slots[number]
        slot.ready, slot.quota, slot.verdict = not slot.terms.greets, slot.terms.quota, None
        if self.observer is not None and not slot.terms.greets and not slot.guest:
            self.observer.started(number)

    def lost(self, number: int, cause: Cause) -> bool:
        """The slot's worker is gone; decide what becomes of its chunks.

        Returns whether that was the worker's own failure, before it was ready for any.
        """
        slot = self.slots[number]
        if self.observer is not None and not slot.closing and not slot.guest:
            self.observer.lost(number, cause, slot.verdict)
        false_start = cause.own and not slot.ready and slot.verdict is None
        flights, slot.flights, slot.slow = list(slot.flights), deque(), False
        self.in_flight -= len(flights)
        verdict, slot.verdict = slot.verdict, None
        reports_items = slot.terms.reports_items
        for at, flight in enumerate(flights):
            rest = flight.chunk.part(flight.progress, flight.chunk.count - flight.progress)
            unbegun = flight.begun is None and (flight.chunk.careful or not reports_items)
            if not cause.heard and flight.chunk.job.lost_retries == 0:
                unheard_loss(rest, cause)
            elif at > 0 or not slot.ready:
                rest.lane.give_back(rest)
            elif unbegun:
                early_loss(rest, cause, by_itself=cause.own and verdict is None)
            elif verdict == "timeout":
                # Else the late item was done after all, before its worker ended.
                timed_out(rest, judged=slot.judged == (flight.seq, flight.progress))
            elif verdict is not None or not cause.own:
                free_loss(rest, cause, reports_items)
            else:
                own_death(rest, cause, reports_items)
        return false_start

    def abandon(self, number: int, verdict: str) -> bool:
        """Mark a slot whose worker is about to be killed, and why; false if it is marked or gone already."""
        slot = self.slots.get(number)
        if slot is None or slot.verdict is not None:
            return False
        slot.verdict = verdict
        slot.judged = (slot.flights[0].seq, slot.flights[0].progress) if slot.flights else None
        return True

    def recalled(self, number: int, seq: int) -> None:
        """The worker will not run this chunk: it was taken back before it began."""
        flight = self._flight(number, seq)
        if flight is not None:
            slot = self.slots[number]
            slot.flights.remove(flight)
            self.in_flight -= 1
            if not slot.flights:
                # Not even the oldest had begun: nothing will end here that would say so.
                slot.slow = False
            if slot.quota is not None:
                slot.quota += flight.chunk.count
            flight.chunk.lane.give_back(flight.chunk)
