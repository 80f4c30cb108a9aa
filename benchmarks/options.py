"""What services inside tasks cost an item: tiny tasks with and without them, in turns on one pool.

    python -m benchmarks.options [rounds] > /dev/null

Prints microseconds of a worker's time for each item to stderr: median, and the quartiles of the rounds.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import anypool
from anypool import Pool, get_pool

_ITEMS = 20_000
_WORKERS = 2


def tiny(x: int) -> int:
    return x + 1


def with_numpy(x: int) -> int:
    import numpy.random as _  # noqa: F401 - its state is then set as well; numpy itself imports it when it is used

    return x + 1


def drawing(x: int) -> float:
    return x + anypool.rng().random()


def asking(x: int) -> Any:
    return x if anypool.current_task() is not None else None


def printing(x: int) -> int:
    print("a line of", x)
    return x


def logging_one(x: int) -> int:
    logging.getLogger("benchmark").info("a record of %d", x)
    return x


def warning(x: int) -> int:
    warnings.warn("the same each time", RuntimeWarning, stacklevel=1)
    return x


# What is called, and with which options.
LOADS: dict[str, tuple[Callable[[int], Any], dict[str, Any]]] = {
    "seed": (tiny, {"seed": 1}),
    "seed, and rng() drawn from": (drawing, {"seed": 1}),
    "seed, numpy.random imported": (with_numpy, {"seed": 1}),
    "current_task()": (asking, {}),
    "a line printed": (printing, {}),
    "a record logged": (logging_one, {}),
    "a warning, shown once": (warning, {}),
}


def _seconds(pool: Pool, function: Callable[[int], Any], options: dict[str, Any]) -> float:
    began = time.perf_counter()
    pool.map(function, range(_ITEMS), **options)
    return time.perf_counter() - began


def main(rounds: int = 7) -> None:
    """Measure and print."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    with get_pool("process", workers=_WORKERS) as pool:
        for name, (function, options) in LOADS.items():
            _seconds(pool, function, options)
            costs = sorted(
                (_seconds(pool, function, options) - _seconds(pool, tiny, {})) / _ITEMS * _WORKERS * 1e6
                for _ in range(rounds)
            )
            low, median, high = statistics.quantiles(costs, n=4)
            sys.stderr.write(f"{name:28} {median:6.1f} us (quartiles {low:.1f} to {high:.1f})\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
