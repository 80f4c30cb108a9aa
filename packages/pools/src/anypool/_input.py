"""The user's iterables, read as the payloads of chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from sys import maxsize
from time import perf_counter
from typing import Any

from anypool._chunk import Mode, NoArguments, weight
from anypool._sizing import BYTES
from anypool._strike import let_through

__all__: list[str] = []

# Reading one chunk from an iterator takes no longer, as seen once for each portion of it, or for one slow item.
READ_SECONDS = 0.01
_PORTION = 64


class Input:
    """The user's iterables, read only by the thread whose turn it is; remembers where they ended and how."""

    def __init__(self, mode: Mode, iterables: tuple[Iterable[Any], ...], strict: bool) -> None:
        self.mode = mode
        self._sequence: Any = None
        self._at = 0
        if len(iterables) > 1:
            self._rows: Iterator[Any] = zip(*iterables, strict=strict)
        elif type(iterables[0]) in (list, tuple) or _short_range(iterables[0]):
            # Their slices are what their iterators give, at a tenth of the cost.
            self._sequence = iterables[0]
        else:
            self._rows = iter(iterables[0])
        self._transposed = len(iterables) > 1
        self.ended = False
        self.error: Exception | None = None
        # What the last read took, of an iterator that may be anybody's.
        self.seconds = 0.0

    def close(self) -> None:
        """Let go of the iterables: a generator that nobody else holds ends now, and runs what it has to."""
        self.ended, self._sequence, self._rows = True, None, iter(())

    def shown(self, row: Any) -> Any:
        """The arguments of a row as the user gave them."""
        return row

    def read(self, count: int, patient: bool = False) -> tuple[int, Any]:
        """Up to `count` items, as the payload of a chunk; what an iterable raises ends the input, in its place.

        Fewer than there are, unless `patient`, where they are heavy or take long: results may be waiting to be taken.
        """
        if self._sequence is not None:
            part = self._sequence[self._at : self._at + count]
            self._at += len(part)
            self.ended = len(part) < count or self._at >= len(self._sequence)
            return len(part), _arguments(part) if self.mode is Mode.STAR else [part]
        rows: list[Any] = []
        began = perf_counter()
        try:
            self._fill(rows, count, patient)
        except Exception as error:  # noqa: BLE001 - delivered to the consumer after the items before it
            let_through(error)
            self.error = error
            self.ended = True
        self.seconds = perf_counter() - began
        if self.mode is Mode.STAR:
            return len(rows), _arguments(rows)
        return len(rows), list(zip(*rows, strict=True)) if self._transposed and rows else [rows]

    def _fill(self, rows: list[Any], count: int, patient: bool) -> None:
        deadline = perf_counter() + READ_SECONDS
        step = 1
        while len(rows) < count:
            step = min(step, _PORTION, count - len(rows))
            before = len(rows)
            rows.extend(islice(self._rows, step))
            if len(rows) < before + step:
                self.ended = True
                return
            if not patient and (perf_counter() >= deadline or weight(rows[-1]) * step > BYTES):
                return
            step *= 2


def _short_range(items: Any) -> bool:
    # What is longer has no `len`.
    return type(items) is range and (not items or abs(items[-1] - items[0]) // abs(items.step) < maxsize)


class Numbered(Input):
    """The same with each item's index before its arguments."""

    def __init__(self, mode: Mode, iterables: tuple[Iterable[Any], ...], strict: bool) -> None:
        super().__init__(mode, iterables, strict)
        self._count = 0

    def shown(self, row: Any) -> Any:
        """Without the index."""
        return row[1:]

    def read(self, count: int, patient: bool = False) -> tuple[int, Any]:
        """As for `Input`; the indices are as many as have been read."""
        first = self._count
        got, payload = super().read(count, patient)
        self._count += got
        if self.mode is not Mode.STAR:
            return got, [range(first, first + got), *payload]
        return got, [row if type(row) is NoArguments else (at, *row) for at, row in enumerate(payload, first)]


def _arguments(rows: Sequence[Any]) -> list[Any]:
    """The rows as tuples; one that can't be read is its own item's error, raised where that would run."""
    return list(rows) if {*map(type, rows)} == {tuple} else [_tuple(row) for row in rows]


def _tuple(row: Any) -> Any:
    try:
        return tuple(row)
    except Exception as error:  # noqa: BLE001 - the user's own
        let_through(error)
        return NoArguments(error)
