"""Single calls: one at a time, and many submitted at once."""

from __future__ import annotations

import statistics
import time

from benchmarks.meter import Sample, timed
from benchmarks.tasks import echo
from benchmarks.workloads.base import Pools, Target, Workload


class RoundTrip(Workload):
    name = "round-trip"
    title = "one call at a time, median"
    unit = "us"
    targets = (Target("multiprocessing", 2.2), Target("concurrent.futures", 5), Target("pathos", 5))
    calls = 400

    def prepare(self, scale: float) -> None:
        self.calls = max(int(self.calls * scale), 20)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        call = pools[name].call
        calls = max(int(self.calls * part), 10)
        call(echo, 0)
        times = []
        with timed() as sample:
            for i in range(calls):
                start = time.perf_counter()
                call(echo, i)
                times.append(time.perf_counter() - start)
        sample.value = statistics.median(times) * 1e6
        sample.extras["p99"] = sorted(times)[int(len(times) * 0.99)] * 1e6
        if sample.cpu is not None:
            sample.cpu /= calls
        return sample


class Submits(Workload):
    name = "submits"
    title = "10,000 submits, then all the results"
    targets = (Target("multiprocessing", 5), Target("concurrent.futures", 20), Target("pathos", 12))
    calls = 10_000

    def prepare(self, scale: float) -> None:
        self.calls = max(int(self.calls * scale), 20)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        calls = max(int(self.calls * part), 1)
        pool = pools[name]
        with timed() as sample:
            results = pool.submit_many(echo, range(calls))
        if results != list(range(calls)):
            raise AssertionError(f"{name} returned something else")
        sample.value *= self.calls / calls
        return sample
