"""Results are the futures that the standard library and its users know."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, as_completed, wait
from typing import Any

import numpy as np
import pytest

from anypool import Pool, Result, WorkerLost, get_pool

LAUNCHERS = ["serial", "thread:2", "process:2", "multiprocess:2"]

caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


@pytest.fixture(params=LAUNCHERS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with get_pool(request.param) as pool:
        yield pool


def stop(_: int) -> None:
    raise StopIteration


def who(_: int) -> str:
    return caller.get()


def slowly(x: int) -> int:
    time.sleep(0.1 if x > 5 else 0)
    return x


def test_each_result_is_completed_once(pool: Pool) -> None:
    for _ in range(5):
        results = [pool.submit(abs, i) for i in range(1000)]
        assert sorted(result.result() for result in as_completed(results, timeout=30)) == list(range(1000))


def test_waiting_for_all_waits_for_all(pool: Pool) -> None:
    for _ in range(5):
        results = [pool.submit(abs, i) for i in range(1000)]
        assert wait(results, 30, FIRST_COMPLETED).done
        assert not wait(results, 30).not_done


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_callbacks_have_run_when_the_pool_is_left(launcher: str) -> None:
    answers: list[int] = []
    free = threading.Event()

    def note(value: int) -> None:
        free.wait(0.02)
        answers.append(value)

    with get_pool(launcher) as pool:
        for i in range(5):
            pool.apply_async(abs, (i,), callback=note)
    assert sorted(answers) == list(range(5))


def test_a_callback_may_close_its_pool() -> None:
    pool = get_pool("process:1")
    ended = threading.Event()

    def close(_: int) -> None:
        pool.close()
        pool.join()
        ended.set()

    pool.apply_async(abs, (1,), callback=close)
    assert ended.wait(20)


def test_asyncio_waits_for_results(pool: Pool) -> None:
    async def use() -> None:
        results: list[Any] = [pool.apipe(abs, -i) for i in range(20)]
        done, pending = await asyncio.wait(results)
        assert (sorted(result.result() for result in done), pending) == (list(range(20)), set())
        done, _ = await asyncio.wait([pool.apipe(divmod, 1, 0), *results], return_when=asyncio.FIRST_EXCEPTION)
        assert any(result.exception() for result in done)

    asyncio.run(asyncio.wait_for(use(), 30))


@pytest.mark.parametrize("launcher", LAUNCHERS[2:])
def test_asyncio_gives_up_a_result_that_takes_too_long(launcher: str) -> None:
    seen: list[Any] = []

    async def use(result: Any) -> None:
        done, pending = await asyncio.wait([result], timeout=0.05)
        seen.extend((done, pending))

    with get_pool(launcher) as pool:
        result = pool.apipe(time.sleep, 60)
        asyncio.run(use(result))
        assert seen == [set(), {result}]
        result.add_done_callback(seen.append)
        assert result.remove_done_callback(seen.append) == 1
        assert result.kill()
    assert len(seen) == 2


def test_a_call_that_raises_stop_iteration_says_so(pool: Pool) -> None:
    for result in [pool.submit(stop, i) for i in range(20)]:
        assert isinstance(result.exception(20), RuntimeError)
    with pytest.raises(RuntimeError, match="StopIteration"):
        pool.pipe(stop, 1)


@pytest.mark.parametrize("launcher", ["serial", "thread:2"])
def test_calls_within_the_process_see_the_callers_context(launcher: str) -> None:
    with get_pool(launcher) as pool:
        token = caller.set("me")
        try:
            assert (pool.pipe(who, 0), pool.submit(who, 0).result(20), pool.map(who, [0])) == ("me", "me", ["me"])
        finally:
            caller.reset(token)


@pytest.mark.parametrize("launcher", LAUNCHERS[1:])
def test_kill_ends_a_whole_map(launcher: str) -> None:
    with get_pool(launcher) as pool:
        result = pool.amap(time.sleep, [1] * 40)
        assert result.kill()
        with pytest.raises(WorkerLost, match="stopped by kill"):
            result.get(20)
        assert pool.map(abs, [-1]) == [1]


def test_an_owner_that_reads_slowly_makes_no_task_late() -> None:
    def rows() -> Iterator[int]:
        for i in range(12):
            if i > 6:
                time.sleep(0.7)  # longer than the timeout: what is measured is whether this counts
            yield i

    with get_pool("process:2") as pool:
        assert pool.map(slowly, rows(), timeout=0.5, on_error="return") == list(range(12))


def memfds() -> int:
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return sum("memfd" in link for link in links)


def test_a_large_closure_is_let_go_when_its_call_is_done() -> None:
    with get_pool("process:1") as pool:

        def call(i: int) -> float:
            array = np.full(200_000, float(i))
            return pool.pipe(lambda: float(array[0]))

        assert call(1) == 1.0
        gc.collect()
        before = memfds()
        assert [call(i) for i in range(20)] == [float(i) for i in range(20)]
        gc.collect()
        assert memfds() <= before + 2


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_an_argument_of_very_many_buffers_is_an_argument_as_any_other(launcher: str) -> None:
    many: list[Any] = [np.full(8192, float(i)) for i in range(4200)]
    with get_pool(launcher) as pool:
        assert pool.submit(len, many).result(60) == 4200
        assert float(pool.map(lambda i: many[i], [4100])[0][0]) == 4100.0
        assert pool.pipe(abs, -5) == 5


def test_large_bodies_of_an_outer_and_an_inner_pool_are_not_taken_for_each_other() -> None:
    padding = list(range(300_000))

    def outer(x: int) -> list[Any]:
        data = ["inner", *padding]
        with get_pool("multiprocess:1", start_method="fork") as inner:
            return inner.amap(lambda i: (data[0], i), [x]).get(30)

    with get_pool("multiprocess:1") as pool:
        assert pool.amap(outer, [5]).get(60) == [[("inner", 5)]]


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_who_waits_for_the_first_exception_hears_of_an_input_that_raised(on_error) -> None:
    def broken():
        yield 1
        raise KeyError("input")

    with get_pool("thread:2") as pool:
        go = threading.Event()
        slow = pool.submit(go.wait, 20)
        bad = pool.amap(abs, broken(), on_error=on_error)
        results: list[Result[Any]] = [slow, bad]
        done, _ = wait(results, 10, FIRST_EXCEPTION)
        go.set()
        assert done == {bad}


def test_calls_that_need_each_other_run_at_the_same_time_however_quick_others_were() -> None:
    def call(meets: bool) -> int:
        return both.wait(10) if meets else 0

    both = threading.Barrier(2)
    with get_pool("thread:2") as pool:
        for result in [pool.submit(call, False) for _ in range(2000)]:
            result.result(10)
        waiting = [pool.submit(call, meets) for meets in [False] * 40 + [True] * 2]
        assert sum(result.result(20) for result in waiting) == 1
