"""What a hub costs: tiny tasks on `process:2/process:3` against `process:6`, in turns on one machine.

    python -m benchmarks.hubs [rounds]

Prints the ratio of the throughputs for each kind of load: median, and the quartiles of the rounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from anypool import Pool, get_pool

FLAT, NESTED = "process:6", "process:2/process:3"
_ITEMS = 200_000
_CALLS = 3_000


def tiny(x: int) -> int:
    return x + 1


def mapped(pool: Pool) -> None:
    """One map that picks its own chunks."""
    pool.map(tiny, range(_ITEMS))


def streamed(pool: Pool) -> None:
    """Results in order, one after the other."""
    for _ in pool.imap(tiny, range(_ITEMS)):
        pass


def called(pool: Pool) -> None:
    """Single calls, all submitted before the first is waited for."""
    for result in [pool.submit(tiny, each) for each in range(_CALLS)]:
        result.result()


def one_by_one(pool: Pool) -> None:
    """Every item a chunk of its own: what each message costs."""
    pool.map(tiny, range(_CALLS), chunksize=1)


def main(rounds: int = 15) -> None:
    """Measure and print."""
    with get_pool(FLAT, oversubscribe=True) as flat, get_pool(NESTED, oversubscribe=True) as nested:
        for load in (mapped, streamed, called, one_by_one):
            for pool in (flat, nested):
                load(pool)
            ratios = sorted(_ratio(load, flat, nested, at % 2 == 1) for at in range(rounds))
            low, median, high = statistics.quantiles(ratios, n=4)
            print(f"{load.__name__:12} {median:5.2f} of flat (quartiles {low:.2f} to {high:.2f})")


def _ratio(load: Callable[[Pool], None], flat: Pool, nested: Pool, turned: bool) -> float:
    order = (nested, flat) if turned else (flat, nested)
    seconds = {pool: _seconds(load, pool) for pool in order}
    return seconds[flat] / seconds[nested]


def _seconds(load: Callable[[Pool], None], pool: Pool) -> float:
    started = time.perf_counter()
    load(pool)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
