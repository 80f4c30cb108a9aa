"""Durations that differ: how much of the workers' time is work."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

from benchmarks.meter import Sample, timed
from benchmarks.peers import OURS
from benchmarks.tasks import doze, spin_or_doze
from benchmarks.workloads.base import BEST, Limit, Pools, Target, Workload


def log_normal(tasks: int) -> list[float]:
    """Seconds with a median of 1 ms; one in a hundred takes more than 10 ms."""
    chance = random.Random(1)
    return [min(chance.lognormvariate(math.log(1e-3), 1.0), 0.1) for _ in range(tasks)]


def long_tail(tasks: int) -> list[float]:
    """Half a millisecond each, and at the end one in a hundred that takes 20 ms."""
    long = max(tasks // 100, 1)
    return [0.5e-3] * (tasks - long) + [20e-3] * long


def efficiency(spent: Iterable[float], workers: int, seconds: float) -> float:
    """Ideal over actual time; the ideal adds up what each task really took."""
    times = list(spent)
    return max(sum(times) / workers, max(times)) / seconds


class Skewed(Workload):
    unit = "of ideal"
    higher_is_better = True
    targets = (Target(BEST, 0.97),)

    def __init__(self, name: str, durations: Callable[[int], list[float]]) -> None:
        self.name = name
        self.durations = durations
        self.title = f"map over 2,000 sleeps, {name.removeprefix('skew-').replace('-', ' ')}: efficiency"

    def prepare(self, scale: float) -> None:
        self.times = self.durations(max(int(2000 * scale), 20))

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        pool, times = pools[name], self.times[: max(int(len(self.times) * part), 1)]
        with timed() as sample:
            spent = pool.map(doze, times)
        sample.value = efficiency(spent, pools.workers, sample.value)
        return sample


class Jump(Workload):
    """Chunks grown for microseconds meet items ten thousand times as long."""

    name = "skew-jump"
    title = "50,000 items of 1 us, then 1,500 of 10 ms, streamed from a generator: efficiency"
    unit = "of ideal"
    higher_is_better = True
    targets = (Target(BEST, 0.97),)
    limits = (Limit("value", at_least=0.95),)
    peers = (OURS, "multiprocessing", "concurrent.futures", "multiprocess", "joblib", "loky", "mpire")
    linear = False
    ours_for_each_peer = False
    short = 50_000
    long = 1500

    def prepare(self, scale: float) -> None:
        self.short = max(int(self.short * scale), 100)
        self.long = max(int(self.long * scale), 10)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        pool = pools[name]
        counts = ((self.short, 1e-6), (self.long, 10e-3))
        source = (seconds for count, seconds in counts for _ in range(count))
        with timed() as sample:
            spent = list(pool.stream(spin_or_doze, source))
        sample.value = efficiency(spent, pools.workers, sample.value)
        return sample
