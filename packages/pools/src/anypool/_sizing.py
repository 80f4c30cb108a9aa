"""How many items go into the next chunk."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING

__all__: list[str] = []

# One chunk's worth of work: long beside a round trip of 30 us, short beside a person's patience and an 8 ms budget.
TARGET_SECONDS = 0.002
# Below this the round trip shows, so the shrinking tail of a map of known length stops here.
_LEAST_SECONDS = 0.0006
_FIRST = 64
# As `BUDGET`, for chunks whose values are folded; what waits behind one would be taken back after 50 ms.
FOLD_BUDGET = 0.04
_GROWTH = 256
BYTES = 256 << 10
# Chunks that were cut by an earlier map's pace may have to be cut again, and each piece takes the whole along.
_FIRST_BYTES = 32 << 10
_MOST_ITEMS = 1 << 20
_MOST_PACES = 256


# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class Pace(NamedTuple):
        """What an item took: seconds, bytes to the worker, bytes back."""

        seconds: float
        sent: float = 0.0
        back: float = 0.0

else:
    Pace = namedtuple("Pace", ("seconds", "sent", "back"), defaults=(0.0, 0.0))


class Sizer:
    """Adapts chunks to the measured time and size of items.

    `pace` is that of an earlier map. It may be wrong for this one, so the first chunks are light, and no more than a
    worker's even share.
    """

    _target = TARGET_SECONDS
    _most_first = _FIRST
    _one_more = 0

    def __init__(self, fixed: int | None, length: int | None, pace: Pace | None = None) -> None:
        self.fixed = fixed
        self.length = length
        self.per_item: float | None = None
        self._bytes_per_item = self._bytes_back = 0.0
        if pace is not None:
            self.per_item, self._bytes_per_item, self._bytes_back = pace
        self._largest = 1
        self._measured = False

    @property
    def pace(self) -> Pace | None:
        """What is known by now."""
        return None if self.per_item is None else Pace(self.per_item, self._bytes_per_item, self._bytes_back)

    def size(self, index: int, workers: int) -> int:
        """Items for a chunk that starts at `index`, for one of so many workers."""
        if self.fixed is not None:
            return self.fixed
        if self.per_item is None or self._blind:
            return 1
        per_item = max(self.per_item, 1e-9)
        items = min(int(self._target / per_item) + self._one_more, _MOST_ITEMS)
        if heaviest := max(self._bytes_per_item, self._bytes_back):
            items = min(items, int(BYTES / heaviest))
        if self._measured:
            items = min(items, self._largest * _GROWTH)
        else:
            items = min(items, self._most_first)
            if self._bytes_per_item:
                items = min(items, int(_FIRST_BYTES / self._bytes_per_item))
        if self.length is not None:
            share = (self.length - index) // (2 * workers)
            items = min(items, max(share, int(_LEAST_SECONDS / per_item)))
            if not self._measured:
                items = min(items, -(-self.length // workers))
        return max(items, 1)

    @property
    def _blind(self) -> bool:
        # By an earlier map's pace all of a short input, of items that are slow now, might go into one chunk.
        return not self._measured and (self.length is None or self.per_item is None)

    def packed(self, items: int, size: int) -> None:
        """Learn from a chunk just packed."""
        self._bytes_per_item = size / items

    def ran(self, items: int, seconds: float, size: int) -> None:
        """Learn from a reply of so many bytes; halves the weight of what was known before."""
        self._bytes_back = size / items
        measured = seconds / items
        # What an earlier map said counts for nothing once this one speaks.
        known = self.per_item if self._measured else None
        self.per_item = measured if known is None else (known + measured) / 2
        self._measured = True
        self._largest = max(self._largest, items)

    def expected(self, items: int) -> float:
        """Seconds that so many items will take; infinite while nothing was measured."""
        return float("inf") if self.per_item is None else items * self.per_item

    def ahead(self, index: int, workers: int) -> int:
        """Items for a chunk of a map whose input is read faster than anything can be measured; it's cut again later."""
        if self.fixed is None and self._blind:
            return max(1, min(index, 4096))
        return self.size(index, workers)


class BulkSizer(Sizer):
    """For a map that keeps all results and returns the last: nobody waits for the first, nor do they take room ahead.

    A worker that has slept takes 0.1 ms for each message, so chunks are twice as long, half of the budget, and
    have what begins within that time.
    """

    _target = 2 * TARGET_SECONDS
    _most_first = _MOST_ITEMS
    _one_more = 1


class FoldSizer(BulkSizer):
    """For a map whose values are folded where they arise: a reply is one value, however many and heavy they were.

    What comes home, and has to be folded there, is less the longer the chunks are.
    """

    _target = FOLD_BUDGET / 2

    def ran(self, items: int, seconds: float, size: int) -> None:
        """Learn the time; the next reply is about as large, of however many items it is."""
        super().ran(items, seconds, size)
        self._bytes_back = 0.0


class Paces:
    """What each function took in the last map of it, for the next one."""

    def __init__(self) -> None:
        self._known: dict[object, Pace] = {}

    def of(self, key: object) -> Pace | None:
        """What is known of a function."""
        return self._known.get(key)

    def learn(self, key: object, sizer: Sizer) -> None:
        """Keep what a map has found out."""
        if sizer.pace is not None:
            if len(self._known) >= _MOST_PACES:
                self._known.clear()
            self._known[key] = sizer.pace
