"""Two groups of processes, one slowed fourfold by the system: each pulls at its own rate."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

import pytest
from cpu_quota import quota  # type: ignore[import-not-found]

import anypool

LIMIT = 50  # seconds
get_pool: Any = anypool.get_pool


def burn(x, seconds):
    """Use so much CPU time; tells who did it, and in how long."""
    started, until = time.monotonic(), time.process_time() + seconds
    while time.process_time() < until:
        pass
    return x, os.getpid(), time.monotonic() - started


def ideal(told):
    """The time in which all could have been done at the paces that the workers had, had they all worked to the end.

    What else runs on this machine slows the workers themselves, so it doesn't count.
    """
    busy: Counter[int] = Counter()
    for _, pid, seconds in told:
        busy[pid] += seconds
    done = Counter(pid for _, pid, _ in told)
    return len(told) / sum(done[pid] / busy[pid] for pid in done)


@pytest.mark.slow
def test_a_slow_group_does_not_hold_the_end_back():
    count, seconds = 300, 0.01
    with quota(1.0) as owner, quota(0.8) as fast, quota(0.2) as slow, get_pool("process:1 + process:1") as pool:
        pool.map(burn, range(20), kwargs={"seconds": 0.001})
        pids = [worker.pid for worker in pool.workers()]
        # Who hands out the work is not to wait for strangers either.
        owner.add(os.getpid())
        fast.add(pids[0])
        slow.add(pids[1])
        done = pool.stats()["tasks"]
        started = time.monotonic()
        told = pool.map(burn, range(count), kwargs={"seconds": seconds})
        took = time.monotonic() - started
        assert [x for x, _, _ in told] == list(range(count))
        assert pool.stats()["tasks"] - done == count
    shares = Counter(pid for _, pid, _ in told)
    assert shares.keys() == set(pids)
    assert shares[pids[0]] > 2 * shares[pids[1]]
    best = ideal(told)
    assert took < 1.15 * best, f"{took:.2f} s instead of {best:.2f} s"


@pytest.mark.slow
def test_a_slow_group_that_is_killed_half_way_costs_no_item(wait_until):
    with quota(0.25) as slow, get_pool("process:1 + process:2", oversubscribe=True) as pool:
        pool.map(burn, range(20), kwargs={"seconds": 0.001})
        pids = [worker.pid for worker in pool.workers() if worker.name.startswith("1:")]
        for pid in pids:
            slow.add(pid)
        later = pool.amap(burn, range(200), kwargs={"seconds": 0.01})
        wait_until(lambda: pool.stats()["tasks"] > 120, LIMIT)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        told = later.get(LIMIT)
        assert [x for x, _, _ in told] == list(range(200))
        assert set(pids).isdisjoint(worker.pid for worker in pool.workers())
        assert len(pool.workers()) == 3
