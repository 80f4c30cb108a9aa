"""One map in progress: input becomes chunks, outcomes come back in order.

The half that the desk calls (`take`, `settle`, `give_back`, `charge`) moves states under the engine's lock. The half
that runs user code (`cut`, `collect`) belongs to the thread that called the map or asks for its next result.
"""

from __future__ import annotations

from collections import deque, namedtuple
from collections.abc import Callable
from sys import maxsize
from typing import TYPE_CHECKING, Any

from anypool._chunk import Chunk, Job, Mode, NoArguments, Outcomes, Packed, failed, weight
from anypool._input import Input
from anypool._place import Place
from anypool._sizing import BYTES, Sizer
from anypool._strike import let_through
from anypool_serialize import Unserializable, dumps

if TYPE_CHECKING:
    from anypool._observing import Observer
    from anypool._profile import Profile

__all__: list[str] = []

# What `imap` may hold back while its consumer waits for a slow item ahead of the finished ones.
REORDER_BYTES = 64 << 20
# A chunk that packs to more than this is cut smaller; the size estimate of the first items was off.
_TOO_BIG = 4 * BYTES


# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class Segment(NamedTuple):
        """Outcomes `start` to `stop` of a reply, the first of which is item `first` of the input."""

        first: int
        outcomes: Outcomes
        start: int
        stop: int

    class Cut(NamedTuple):
        """What one reading made: chunks to send, and items that could not be packed or read."""

        chunks: list[Chunk]
        refused: list[Segment]

else:
    Segment = namedtuple("Segment", ("first", "outcomes", "start", "stop"))
    Cut = namedtuple("Cut", ("chunks", "refused"))


class Stream:
    """The state machine of one map; `buffersize` is the number of items that may be read ahead of the consumer."""

    def __init__(
        self,
        job: Job,
        source: Input,
        sizer: Sizer,
        pack: Callable[[Any, int], tuple[Any, int]],
        *,
        ordered: bool,
        halt: bool,
        error_retries: int = 0,
        buffersize: int | None = None,
        early: bool = False,
        place: Place | None = None,
    ) -> None:
        self.place = place
        self.job, self.source, self.sizer = job, source, sizer
        self._pack, self._ordered, self._halt = pack, ordered, halt
        self._error_retries = error_retries
        self.buffersize = buffersize
        self._ready: deque[Chunk] = deque()
        self._segments: dict[int, Segment] = {}
        self._arrived: deque[Segment] = deque()
        # Where segments begin that `collect_early` has not seen.
        self._early: deque[int] = deque(maxlen=None if early else 0)
        self._charges: dict[tuple[int, bool], int] = {}
        self._failures: dict[int, int] = {}
        self.read = 0
        self.settled = 0
        self.consumed = 0
        self.lowest_error: int | None = None
        self._input_done = False
        self._cancelled = False
        self._held_bytes = 0
        # Results that were collected and that the consumer has not taken yet.
        self.undelivered = 0
        self._last: Segment | None = None
        self.broken: BaseException | None = None
        self.gathered: Packed | None = None
        # Told how many items are settled, on the helper's thread.
        self.watcher: Callable[[int], object] | None = None
        self.observer: Observer | None = None
        self.profile: Profile | None = None

    # Called by the desk, under the lock.

    def take(self, workers: int) -> Chunk | None:
        """The next ready chunk, cut to the size that suits now."""
        while self._ready:
            chunk = self._ready.popleft()
            if self._useless(chunk):
                continue
            size = self.sizer.size(chunk.first, workers)
            # One item is the size for long ones, which are never to wait behind each other.
            if chunk.count > (2 * size if size > 1 else 1) and self.sizer.fixed is None:
                self._ready.appendleft(chunk.part(size, chunk.count - size))
                chunk = chunk.part(0, size)
            chunk.expected = self.sizer.expected(chunk.count)
            return chunk
        return None

    def settle(self, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        """Keep outcomes for `collect`; items to be retried go back instead."""
        if outcomes.seconds:
            self.sizer.ran(outcomes.count, outcomes.seconds, outcomes.size)
        # What has no worker's word for it, as a loss, has none.
        if self.profile is not None and (record := getattr(outcomes, "profile", None)) is not None:
            self.profile.arrived(record)
        first = chunk.first + offset
        start = 0
        for at, retryable in sorted(outcomes.errors.items()):
            if retryable and self._retries_left(first + at):
                self._keep(Segment(first + start, outcomes, start, at))
                self.retried(first + at)
                self.give_back(chunk.part(offset + at, 1))
                start = at + 1
                continue
            if self.lowest_error is None or first + at < self.lowest_error:
                self.lowest_error = first + at
            if self.observer is not None:
                self.observer.failed(self.job.number, first + at)
        self._keep(Segment(first + start, outcomes, start, outcomes.count))

    def _retries_left(self, index: int) -> bool:
        used = self._failures.get(index, 0)
        self._failures[index] = used + 1
        return used < self._error_retries

    def _keep(self, segment: Segment) -> None:
        count = segment.stop - segment.start
        if count:
            self.settled += count
            self._held_bytes += segment.outcomes.size
            if self._ordered:
                self._segments[segment.first] = segment
                self._early.append(segment.first)
            else:
                self._arrived.append(segment)
                self._keep_last()

    def _keep_last(self) -> None:
        if self._last is not None and self.settled == self.read - 1:
            segment, self._last = self._last, None
            self._keep(segment)

    def give_back(self, chunk: Chunk) -> None:
        """These items run again, before anything not begun yet."""
        if not self._useless(chunk):
            self._ready.appendleft(chunk)

    def charge(self, index: int, own: bool = True) -> int:
        """Count a loss that this item is known to have met."""
        self._charges[index, own] = count = self._charges.get((index, own), 0) + 1
        return count

    def retried(self, index: int) -> None:
        """This item had begun, and runs again."""
        if self.observer is not None and not self.ended:
            self.observer.retried(self.job.number, index)

    def _useless(self, chunk: Chunk) -> bool:
        return self._cancelled or (self._halt and self.lowest_error is not None and chunk.first > self.lowest_error)

    # Called by the engine, under the lock.

    def append(self, cut: Cut) -> None:
        """Take over what `cut` made."""
        if self.observer is not None and cut.refused:
            self.observer.refused(self, cut.refused)
        self._ready.extend(cut.chunks)
        self._input_done = self.source.ended
        for segment in cut.refused:
            if self.lowest_error is None or segment.first < self.lowest_error:
                self.lowest_error = segment.first
            if self.source.error is not None and segment.first == self.read - 1 and not self._ordered:
                # What ends the input comes after the results of all that was read before it.
                self._last = segment
            else:
                self._keep(segment)
        self._keep_last()

    def cancel(self) -> None:
        """Nothing more of this map is wanted."""
        self._cancelled = True
        self._ready.clear()

    def fail(self, error: BaseException) -> None:
        """Nothing will run any more; what is there can still be read."""
        self.broken = error
        self._ready.clear()

    @property
    def waiting(self) -> bool:
        """Whether a free slot would be used: chunks are ready, or there is input to make them of."""
        return bool(self._ready) or not (self._input_done or self.ended)

    @property
    def queued(self) -> bool:
        """Whether chunks are ready."""
        return bool(self._ready)

    @property
    def halted(self) -> bool:
        """Whether an error ends this map."""
        return self._halt and self.lowest_error is not None

    @property
    def ended(self) -> bool:
        """Whether outcomes of what still runs are of no use: cancelled, finished, or above an error that ends it."""
        return self._cancelled or self.finished

    @property
    def finished(self) -> bool:
        """Whether everything that will ever come has come."""
        if self.broken is not None:
            return True
        if self._halt and self.lowest_error is not None:
            return self._complete_below(self.lowest_error)
        return self._input_done and self.settled >= self.read

    def _complete_below(self, index: int) -> bool:
        # `consumed` is how far collect() has got without a gap.
        at = self.consumed
        while at <= index and at in self._segments:
            segment = self._segments[at]
            at += segment.stop - segment.start
        return at > index

    @property
    def news(self) -> bool:
        """Whether `collect` has something."""
        return bool(self._arrived) or self.consumed in self._segments

    @property
    def progress(self) -> bool:
        """Whether `collect_one` or `decode_early` may have something."""
        return bool(self._early) or self.news

    def wanted(self, room: int, workers: int, waiting: bool) -> int:
        """Items to read for the next chunk; 0 while enough is read, or nothing more will be."""
        if self._input_done or self._cancelled or self.broken is not None or self.halted:
            return 0
        size = self.sizer.size(self.read, workers)
        held = self.read - self.consumed + self.undelivered
        if self.buffersize is not None:
            size = max(1, min(size, self.buffersize // (2 * workers) or 1))
            if held + size > self.buffersize and held:
                return 0
        elif held >= 2 * workers * size and (not waiting or self._held_bytes > REORDER_BYTES):
            return 0
        return size if len(self._ready) < room else 0

    # Called by the thread that owns the input, without the lock.

    def cut(self, count: int) -> Cut:
        """Read up to `count` items and pack them; an item that can't be packed becomes its own error."""
        got, payload = self.source.read(count, patient=self.sizer.fixed is not None)
        first = self.read
        cut = Cut([], [])
        if got:
            self._packed(first, got, payload, cut)
        if self.source.error is not None:
            cut.refused.append(_refused(first + got, self.source.error))
        self.read = first + got + (self.source.error is not None)
        return cut

    def _packed(self, first: int, count: int, payload: Any, cut: Cut) -> None:
        most = _TOO_BIG if count > 1 and self.sizer.fixed is None else maxsize
        try:
            packed, size = self._pack(payload, most)
        except Exception as error:  # noqa: BLE001 - one item's fault; the others are packed without it
            let_through(error)
            if count == 1:
                cut.refused.append(_refused(first, self._explained(first, payload, error)))
            else:
                self._packed_by(-(-count // 2), first, count, payload, cut)
            return
        self.sizer.packed(count, size or self._weight(count, payload))
        if size > most:
            self._packed_by(max(1, count * BYTES // size), first, count, payload, cut)
            return
        cut.chunks.append(Chunk(self.job, self, first, count, packed, size=size, careful=self.job.careful))

    def _weight(self, count: int, payload: Any) -> int:
        """A guess for items that pass by reference, from the first: who reads ahead of a consumer holds them all."""
        row = payload[0] if self.job.mode is Mode.STAR else [column[0] for column in payload]
        return count * (weight(row) if type(row) is NoArguments else sum(map(weight, row)))

    def _explained(self, index: int, payload: Any, error: Exception) -> Exception:
        """The same refusal with a path from the item, not from the payload it was part of."""
        row = payload[0] if self.job.mode is Mode.STAR else tuple(column[0] for column in payload)
        if type(row) is NoArguments:
            return row.error
        row = self.source.shown(row)
        one = f"item {index}"
        names = (one,) if len(row) == 1 else tuple(f"{one}, argument {at}" for at in range(len(row)))
        try:
            dumps(row, names=names)
        except Unserializable as better:
            return better
        except Exception:  # noqa: BLE001 - the first error will do
            pass
        return error

    def _packed_by(self, step: int, first: int, count: int, payload: Any, cut: Cut) -> None:
        for at in range(0, count, step):
            end = min(at + step, count)
            part = payload[at:end] if self.job.mode is Mode.STAR else [column[at:end] for column in payload]
            self._packed(first + at, end - at, part, cut)

    def collect(self) -> list[tuple[list[Any], dict[int, BaseException]]]:
        """Batches of (values, exceptions by offset) that are next for the consumer; unpickles them."""
        batches = []
        while batch := self.collect_one():
            batches.append(batch)
        return batches

    def collect_one(self) -> tuple[list[Any], dict[int, BaseException]] | None:
        """The next batch; None while there is none."""
        segment = self._next_segment()
        if segment is None:
            return None
        values, errors = segment.outcomes.decode()
        if segment.start or segment.stop < segment.outcomes.count:
            values = values[segment.start : segment.stop]
            errors = {at - segment.start: e for at, e in errors.items() if segment.start <= at < segment.stop}
        self.consumed += segment.stop - segment.start
        self._held_bytes -= segment.outcomes.size
        if self.profile is not None:
            self.profile.merge()
        return values, errors

    def decode_early(self) -> bool:
        """Unpickle a reply that has to wait for those before it; false if there is none."""
        while self._early:
            segment = self._segments.get(self._early.popleft())
            if segment is not None:
                segment.outcomes.decode()
                return True
        return False

    def _next_segment(self) -> Segment | None:
        if self._ordered:
            return self._segments.pop(self.consumed, None)
        return self._arrived.popleft() if self._arrived else None


def _refused(index: int, error: BaseException) -> Segment:
    return Segment(index, failed(error), 0, 1)
