"""What the workers run; importable, for peers that send functions by name only."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PAGE = 512  # float64 items in a page of memory


def square(x: int) -> int:
    return x * x


def echo(x: int) -> int:
    return x


def touch(array: np.ndarray) -> float:
    """Read one number of every page, so that what was only mapped counts as little as it should."""
    return float(array[::PAGE].sum())


@functools.cache
def block(items: int, i: int) -> np.ndarray:
    """An array the worker has ready from the second time on: only its way to the caller is measured.

    One for each item, since a chunk may have them all, and an array that is in a message twice travels once.
    """
    import numpy as np

    return np.full(items, float(i))


def slice_sum(array: np.ndarray, parts: int, i: int) -> float:
    """Read the i-th part of an array that every task holds."""
    step = len(array) // parts
    return float(array[i * step : (i + 1) * step].sum())


def fortieth_sum(array: np.ndarray, i: int) -> float:
    """The same of forty parts."""
    return slice_sum(array, 40, i)


def look_up(table: CountedTable, i: int) -> int:
    return len(table[i % len(table)])


def doze(seconds: float) -> float:
    """Sleep; return the seconds it really took, which are more than asked for."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def spin_or_doze(seconds: float) -> float:
    """`doze`, except that a few microseconds are too short to sleep."""
    if seconds > 100e-6:
        return doze(seconds)
    start = time.perf_counter()
    while True:
        spent = time.perf_counter() - start
        if spent >= seconds:
            return spent


def nested(peer: str, inner: int, outer: int) -> int:
    """A task that maps on its own: a pool of two of the same library."""
    from benchmarks.peers import start

    pool = start(peer, 2)
    try:
        return sum(pool.map(square, range(outer, outer + inner)))
    finally:
        pool.close()


class CountedTable:
    """A dict that counts in the owner how often it is serialised."""

    def __init__(self, table: dict[Any, Any], counter: list[int] | None = None) -> None:
        self.table = table
        self.counter = counter if counter is not None else [0]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: Any) -> Any:
        return self.table[key]

    def __reduce__(self) -> tuple[Any, ...]:
        self.counter[0] += 1
        return CountedTable, (self.table,)
