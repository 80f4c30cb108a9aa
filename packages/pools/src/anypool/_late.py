"""Which slots have run or waited for too long; a state machine's share that knows the time, but has no clock."""

from __future__ import annotations

from abc import ABC, abstractmethod

from anypool._chunk import Lane
from anypool._slot import Slot

__all__: list[str] = []

# A chunk behind one longer than this would wait too long for it.
LONG_SECONDS = 0.05
# While a worker is idle, a chunk waits behind another one only for what its move would cost.
_SHORT_SECONDS = 0.001
# A map that ended early leaves its running chunks this long before their worker is replaced, if its slot is needed.
GRACE = 1.0


class Timed(ABC):
    """The part of a desk that looks at the time."""

    slots: dict[int, Slot]
    in_flight: int

    @property
    @abstractmethod
    def queued(self) -> bool:
        """Whether any lane has a chunk ready."""

    @abstractmethod
    def _room(self, slot: Slot) -> int:
        """How many more chunks the slot takes now."""

    def stuck(self, now: float) -> list[int]:
        """Slots whose oldest chunk takes so long that what is queued behind it should go elsewhere."""
        found = []
        patience = self._patience()
        for slot in list(self.slots.values()):
            if len(slot.flights) > 1 and slot.ready and not slot.slow and now - slot.since > patience:
                slot.slow = True
                found.append(slot.number)
        return found

    def _patience(self) -> float:
        """Seconds that a chunk may wait behind another; next to none while a worker has nothing to do."""
        idle = any(not slot.flights and self._room(slot) for slot in list(self.slots.values()))
        return _SHORT_SECONDS if idle and not self.queued else LONG_SECONDS

    def overdue(self, now: float) -> list[int]:
        """Slots that run an item longer than its timeout."""
        late = []
        for slot in list(self.slots.values()):
            if slot.flights and slot.verdict is None:
                flight = slot.flights[0]
                timeout = flight.chunk.job.timeout
                if timeout is not None and flight.begun is not None and now - flight.begun > timeout:
                    late.append(slot.number)
        return late

    def idlers(self, now: float, lane: Lane | None = None) -> list[int]:
        """Slots that run only what nobody waits for any more: after the grace, or at once for a given lane."""
        found = []
        for slot in list(self.slots.values()):
            if not slot.flights or slot.verdict is not None:
                continue
            flight = slot.flights[0]
            mine = flight.chunk.lane is lane
            if mine or (lane is None and flight.chunk.lane.ended and now - flight.sent > GRACE):
                found.append(slot.number)
        return found

    def next_look(self, now: float) -> float | None:
        """Seconds until `stuck`, `overdue` or `idlers` may say something new; None if nothing is timed."""
        if not self.in_flight:
            return None
        waits = []
        for slot in list(self.slots.values()):
            flights = [*slot.flights]
            if not flights or slot.verdict is not None:
                continue
            if len(flights) > 1 and slot.ready and not slot.slow:
                waits.append(slot.since + self._patience() - now)
            flight = flights[0]
            timeout = flight.chunk.job.timeout
            if timeout is not None:
                # An item that has not begun can't be late for at least so long.
                waits.append((now if flight.begun is None else flight.begun) + timeout - now)
            if flight.chunk.lane.ended:
                left = flight.sent + GRACE - now
                # Once it is over, the slot may come to be needed at any time.
                waits.append(left if left > 0 else LONG_SECONDS)
        return max(0.001, min(waits)) if waits else None
