"""Large data: arrays there and back, and data that a function carries along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.meter import Sample, memory_in_use, timed
from benchmarks.peers import OURS, Peer
from benchmarks.tasks import CountedTable, block, fortieth_sum, look_up, slice_sum, touch
from benchmarks.workloads.base import BEST, Limit, Pools, Target, Workload

_ARRAYS = 50
_ARRAY_ITEMS = 1_000_000  # of 8 bytes


class _Arrays(Workload):
    def prepare(self, scale: float) -> None:
        self.count = max(int(_ARRAYS * scale), 4)


class ArraysIn(_Arrays):
    name = "arrays-in"
    title = "50 arrays of 8 MB as arguments"
    targets = (Target(BEST, 3),)

    def prepare(self, scale: float) -> None:
        import numpy as np

        super().prepare(scale)
        self.arrays = [np.full(_ARRAY_ITEMS, float(i)) for i in range(self.count)]
        self.sums = [touch(array) for array in self.arrays]

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        count = max(int(self.count * part), 1)
        pool = pools[name]
        with timed() as sample:
            sums = pool.map(touch, self.arrays[:count])
        if sums != self.sums[:count]:
            raise AssertionError(f"{name} saw other arrays")
        sample.value *= self.count / count
        return sample


class ArraysOut(_Arrays):
    def __init__(self, name: str, *, keep: bool) -> None:
        self.name = name
        self.keep = keep
        self.title = f"50 arrays of 8 MB as results, {'all kept' if keep else 'each dropped at once'}"
        self.targets = (Target(BEST, 1.5 if keep else 2.5),)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        count = max(int(self.count * part), 1)
        pool, task = pools[name], partial(block, _ARRAY_ITEMS)
        with timed() as sample:
            if self.keep:
                kept = pool.map(task, range(count))
                firsts = [float(array[0]) for array in kept]
            else:
                firsts = [float(array[0]) for array in pool.stream(task, range(count))]
        if sorted(firsts) != [float(i) for i in range(count)]:
            raise AssertionError(f"{name} returned other arrays")
        sample.value *= self.count / count
        return sample


class Captured(Workload):
    """Each measurement has an array of its own: its first crossing is part of the time."""

    name = "captured-400mb"
    title = "200 tasks that read one captured array of 400 MB"
    peers: tuple[str, ...] | None = (OURS, "joblib", "multiprocessing", "mpire", "loky")
    targets: tuple[Target, ...] = (Target("joblib", 1.3),)
    linear = False
    tasks = 200
    items = 50_000_000
    made = 0

    def prepare(self, scale: float) -> None:
        self.items = int(self.items * scale)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        import numpy as np

        tasks = max(int(self.tasks * part), 1)
        # Other content each time: whoever sends what was there before is found out.
        self.made += 1
        pool, array = pools[name], np.full(self.items, float(self.made))
        with timed() as sample:
            sums = pool.map(partial(slice_sum, array, self.tasks), range(tasks))
        if sum(sums) != self.made * (self.items // self.tasks) * tasks:
            raise AssertionError(f"{name} computed {sum(sums)}")
        sample.value *= self.tasks / tasks
        return sample


class Shared(Captured):
    """What a library has to send something once for several maps; where it has nothing, the array goes with each."""

    name = "shared-400mb"
    title = "5 maps of 40 tasks that read one array of 400 MB"
    peers = (OURS, "joblib")
    targets = (Target("joblib", 1.3),)
    tasks = 40
    maps = 5

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        import numpy as np

        maps = max(int(self.maps * part), 1)
        self.made += 1
        pool, array = pools[name], np.full(self.items, float(self.made))
        with timed() as sample, pool.shared(array) as held:
            sums = [sum(pool.map_on(fortieth_sum, held, range(self.tasks))) for _ in range(maps)]
        if sums != [self.made * (self.items // self.tasks) * self.tasks] * maps:
            raise AssertionError(f"{name} computed {sums}")
        sample.value *= self.maps / maps
        return sample


class CapturedCopies(Captured):
    """Not timed: a thread beside the map looks at the memory of the whole machine, other load included."""

    name = "captured-copies"
    title = "copies of that array on the machine at the same time, beside the caller's own; noise: 0.1"
    unit = "copies"
    peers = (OURS, "joblib")
    targets = ()
    limits = (Limit("value", "copies", at_most=1.2),)
    linear = False

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        import numpy as np

        pool, array = pools[name], np.ones(self.items)
        pool.map(touch, [array[:1]])
        before = memory_in_use()
        with _Peak() as peak:
            pool.map(partial(slice_sum, array, self.tasks), range(self.tasks))
        return Sample((peak.value - before) / array.nbytes)


class _Peak:
    """The most memory in use while it is open, in bytes."""

    def __enter__(self) -> _Peak:
        self.value = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.value = max(self.value, memory_in_use())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.value = max(self.value, memory_in_use())


class Closure(Workload):
    """A closure where the library can send one, a `partial` of an importable function elsewhere."""

    name = "closure-20mb"
    title = "10,000 items through a closure over a dict of 20 MB"
    targets = (Target("multiprocessing", 5), Target("pathos", 20))
    limits = (Limit("serialised", "times", at_most=1),)
    linear = False
    items = 10_000

    def prepare(self, scale: float) -> None:
        self.items = max(int(self.items * scale), 20)
        self.keys = int(20_000 * scale)
        self.counter = [0]

    def _function(self, pool: Peer) -> Callable[[int], Any]:
        # New for each measurement, as are its values.
        table = CountedTable({i: i.to_bytes(4, "big") * 250 for i in range(self.keys)}, self.counter)
        self.counter[0] = 0
        if pool.by_value:
            return lambda i: len(table[i % len(table)])
        return partial(look_up, table)

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        items = max(int(self.items * part), 1)
        pool = pools[name]
        f = self._function(pool)
        with timed() as sample:
            lengths = pool.map(f, range(items))
        if lengths != [1000] * items:
            raise AssertionError(f"{name} returned something else")
        sample.value *= self.items / items
        sample.extras["serialised"] = self.counter[0] * self.items / items
        return sample
