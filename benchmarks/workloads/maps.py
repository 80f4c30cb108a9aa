"""Tiny tasks: what a library costs when the work costs nothing."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.meter import Sample, timed
from benchmarks.peers import OURS, Peer
from benchmarks.tasks import nested, square
from benchmarks.workloads.base import BEST, Pools, Target, Workload

_BY_VALUE = (OURS, "multiprocess", "pathos", "loky", "joblib")
# Chunks as a share of the items, the likeliest first.
_SHARES = (1 / 8, 1 / 16, 1 / 4, 1 / 64, 1 / 2)


class _Tiny(Workload):
    def __init__(self, name: str, items: int, *, tuned: bool = False) -> None:
        self.name = name
        self.items = items
        self.tuned = tuned
        self.chunks: dict[str, int] = {}
        # A chunk size was found for all of the items; a part of them says little.
        self.small_part = 0.1 if tuned else 0.01

    def prepare(self, scale: float) -> None:
        self.items = max(int(self.items * scale), 100)

    def tune(self, pool: Peer, seconds: float) -> None:
        """Try chunk sizes until the time is over; the peer keeps the one with which it was fastest."""
        if not self.tuned or pool.name == OURS:
            return
        began, best = time.perf_counter(), float("inf")
        for share in _SHARES:
            chunk = max(int(self.items * share), 1)
            start = time.perf_counter()
            self.run(pool, self.items, chunk)
            now = time.perf_counter()
            if now - start < best:
                best, self.chunks[pool.name] = now - start, chunk
            if now - began > seconds:
                break

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        items = max(int(self.items * part), 1)
        pool, chunk = pools[name], self.chunks.get(name)
        with timed() as sample:
            total = self.run(pool, items, chunk)
        if total != (items - 1) * items * (2 * items - 1) // 6:
            raise AssertionError(f"{name} computed {total} from {items} items")
        sample.value *= self.items / items
        if chunk is not None:
            sample.extras["chunk"] = chunk
        return sample

    def run(self, pool: Peer, items: int, chunk: int | None) -> int:
        raise NotImplementedError


class TinyMap(_Tiny):
    def __init__(self, name: str, items: int, *, tuned: bool = False, by_value: bool = False) -> None:
        super().__init__(name, items, tuned=tuned)
        self.by_value = by_value
        what = "a lambda" if by_value else "an importable function"
        how = "each peer at its best chunk size" if tuned else "default settings"
        self.title = f"map of {what} over {items:,} numbers, {how}"
        if tuned:
            self.targets = (Target(BEST, 0.95),)
        elif by_value:
            self.peers = _BY_VALUE
            self.targets = (Target("multiprocess", 8), Target("pathos", 12))
        else:
            self.targets = (Target("multiprocessing", 1.5),)

    def run(self, pool: Peer, items: int, chunk: int | None) -> int:
        f = (lambda x: x * x) if self.by_value else square
        return sum(pool.map(f, range(items), chunk))


class TinyStream(_Tiny):
    def __init__(self, name: str, items: int, *, tuned: bool = False) -> None:
        super().__init__(name, items, tuned=tuned)
        how = "each peer at its best chunk size" if tuned else "default settings"
        self.title = f"{items:,} numbers streamed from a generator, unordered where possible, {how}"
        self.targets = (Target(BEST, 0.95),) if tuned else (Target("joblib", 5),)

    def run(self, pool: Peer, items: int, chunk: int | None) -> int:
        return sum(pool.stream(square, (i for i in range(items)), chunk))


class Nested(Workload):
    """Pools of the standard library, pathos and mpire have daemonic workers, which may not have children."""

    name = "nested"
    title = "4 tasks that each map 1,000 tiny ones on a pool of two of their own"
    peers = (OURS, "concurrent.futures", "loky", "joblib")
    targets = (Target("joblib", 2),)
    linear = False
    inner = 1000

    def prepare(self, scale: float) -> None:
        self.inner = max(int(self.inner * scale), 20)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        inner = max(int(self.inner * part), 1)
        pool = pools[name]
        with timed() as sample:
            totals = pool.map(partial(nested, name, inner), range(4))
        if totals != [sum(x * x for x in range(i, i + inner)) for i in range(4)]:
            raise AssertionError(f"{name} computed {totals}")
        sample.value *= self.inner / inner
        sample.cpu = None  # the inner workers are gone, and what they spent with them
        return sample
