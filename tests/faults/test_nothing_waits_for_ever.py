"""Rare things that meet: each was a way to leave a pool, a slot or a call in a state that nothing led out of."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from napping import ASYNCHRONOUS, OTHER_PROCESSES, nap  # type: ignore[import-not-found]

from anypool import TaskTimeout, WorkerLost, get_pool


def same(x):
    return x


def fail():
    raise ValueError("no")


class Unweighable:
    def __sizeof__(self):
        raise RuntimeError("no size")


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_calls_end_with_the_initializer_that_fails_after_they_were_sent(launcher: str) -> None:
    def begin():
        time.sleep(0.2)
        fail()

    pool = get_pool(launcher, initializer=begin)
    calls = [pool.submit(abs, -1) for _ in range(4)]
    for call in calls:
        with pytest.raises(WorkerLost, match="ValueError: no"):
            call.result(20)
    pool.terminate()


# Python itself drops what strikes in a callback of its own sets of weak references; that thread is then left behind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_task_that_is_told_to_end_while_it_uses_its_pool_leaves_no_lock_behind() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(20):
            with get_pool("thread:2") as pool:

                def outer(_, pool=pool):
                    while True:
                        pool.map(same, range(20), chunksize=1)

                for _ in range(5):
                    (outcome,) = pool.amap(outer, [0], timeout=0.005, on_error="return").result(10)
                    assert isinstance(outcome, TaskTimeout)
    finally:
        sys.setswitchinterval(interval)


def test_a_task_past_its_timeout_does_not_end_what_it_runs_for_others() -> None:
    def outer(_):
        time.sleep(0.1)
        return pool.map(same, range(3), chunksize=1)

    def busy(x):
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            pass
        return x

    with get_pool("thread:1") as pool:
        late = pool.amap(outer, [0], timeout=0.3, on_error="return")
        innocent = pool.amap(busy, range(2), chunksize=1, on_error="return")
        assert innocent.result(20) == [0, 1]
        assert isinstance(late.result(20)[0], TaskTimeout)


def test_an_inner_maps_timeout_holds_in_the_thread_that_waits_for_it() -> None:
    with get_pool("thread:1") as pool:

        def outer():
            return pool.map(nap, [0.3, 0, 0], timeout=0.1, chunksize=1, on_error="return")

        first, *others = pool.submit(outer).result(20)
        assert isinstance(first, TaskTimeout)
        assert others == [0, 0]


@pytest.mark.parametrize("seconds", [0, 0.001, 0.02, 0.06])
@pytest.mark.parametrize("method", ["map", "imap", "uimap"])
def test_a_map_ends_in_a_task_of_its_own_pool_whatever_its_items_take(method: str, seconds: float) -> None:
    with get_pool("thread:1") as pool:

        def outer():
            return list(getattr(pool, method)(nap, [seconds] * 10))

        assert pool.submit(outer).result(20) == [seconds] * 10


@pytest.mark.parametrize("size", [1, 2])
def test_a_pool_can_be_resized_while_its_tasks_wait_for_it(size: int, wait_until) -> None:
    began = threading.Event()

    def inner(x):
        began.set()
        return nap(x)

    with get_pool(f"thread:{size}") as pool:
        call = pool.submit(lambda: pool.map(inner, [0.02] * 10, chunksize=1))
        assert began.wait(10)
        pool.resize(size)
        assert call.result(20) == [0.02] * 10
        assert len(pool.workers()) == size


@pytest.mark.parametrize("launcher", ["serial", "thread:2"])
def test_a_timeout_with_retries_is_noticed_in_time_each_time(launcher: str, within) -> None:
    with get_pool(launcher) as pool, within(2.5):
        for _ in range(3):
            with pytest.raises(TaskTimeout):
                pool.map(nap, [3], timeout=0.1, retries=1, retry_on=TaskTimeout)


@pytest.mark.parametrize("launcher", ["serial", "thread:1"])
def test_too_many_tasks_that_cannot_be_ended_are_named(launcher: str) -> None:
    with get_pool(launcher) as pool:
        with pytest.raises(WorkerLost, match=r"threads hold tasks past their timeout.*restart\(\)"):
            pool.map(nap, [0.5] * 12, timeout=0.02, chunksize=1, on_error="return")
        pool.restart()
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_a_callback_that_exits_ends_nothing(launcher: str) -> None:
    with get_pool(launcher) as pool:
        call = pool.submit(abs, -1)
        call.add_done_callback(lambda _: sys.exit(0))
        assert call.result(20) == 1
        assert concurrent.futures.wait([pool.submit(abs, -2) for _ in range(3)], 20).not_done == set()


@pytest.mark.parametrize("launcher", ["serial", "thread:2"])
def test_a_result_that_does_not_know_its_size_is_a_result(launcher: str) -> None:
    with get_pool(launcher) as pool:
        results = pool.amap(lambda _: Unweighable(), range(3)).result(20)
        assert [type(result) for result in results] == [Unweighable] * 3
        assert len(list(pool.imap(same, results))) == 3
        assert pool.submit(abs, -1).result(20) == 1


def test_a_late_outcome_does_not_hide_the_end_of_its_worker() -> None:
    def stubborn(seconds):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return nap(seconds)

    with get_pool("process:1") as pool:
        pool.map(abs, range(4))
        later = pool.amap(stubborn, [0.4, 0, 0], timeout=0.2, chunksize=1, on_error="return")
        # Nobody drives.
        assert concurrent.futures.wait([later], 20).not_done == set()


@pytest.mark.parametrize("launcher", ["thread:1", *OTHER_PROCESSES])
def test_a_call_that_waits_behind_another_can_be_killed(launcher: str, tmp_path: Path) -> None:
    def leave_trace(path):
        Path(path).touch()

    with get_pool(launcher) as pool:
        for _ in range(30):
            pool.pipe(nap, 0)
            pool.pipe(leave_trace, tmp_path / "warm")
        first = [pool.submit(nap, 0.4) for _ in range(len(pool))]
        behind = pool.submit(leave_trace, tmp_path / "trace")
        assert behind.kill()
        with pytest.raises((WorkerLost, concurrent.futures.CancelledError)):
            behind.result(20)
        assert [call.result(20) for call in first] == [0.4] * len(pool)
    assert not (tmp_path / "trace").exists()


def test_a_worker_that_cannot_be_replaced_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with get_pool("process:1") as pool:
        assert pool.map(abs, [-1]) == [1]
        assert pool._made is not None
        monkeypatch.setattr(pool._made.crew, "renew", _no_descriptors)
        with pytest.raises(WorkerLost, match="Too many open files"):
            pool.map(lambda _: os._exit(1), [1])
        pool.restart()
        assert pool.map(abs, [-1]) == [1]


def _no_descriptors(_slot: int) -> bool:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
