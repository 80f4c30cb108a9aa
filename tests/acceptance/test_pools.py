"""A pool's life: starting, closing, starting again, growing, being counted, and being sent elsewhere."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from anypool import PoolClosed, Result, get_pool, usable_cpus

mark = threading.local()


def note_start(folder, text):
    (Path(folder) / f"{os.getpid()}-{threading.get_ident()}").write_text(text)


def started_before_me(folder):
    return (Path(folder) / f"{os.getpid()}-{threading.get_ident()}").read_text()


def slow(x):
    time.sleep(0.001)
    return x


def test_the_initializer_runs_in_each_worker_before_its_tasks(launcher: str, tmp_path: Path) -> None:
    with get_pool(launcher, initializer=note_start, initargs=(str(tmp_path), "hello")) as pool:
        assert pool.map(started_before_me, [str(tmp_path)] * 20, chunksize=1) == ["hello"] * 20
    assert 1 <= len(list(tmp_path.iterdir())) <= 2


def test_join_before_close_is_an_error(launcher: str) -> None:
    with get_pool(launcher) as pool:
        with pytest.raises(ValueError, match="close"):
            pool.join()
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize(
    "use",
    [
        lambda pool: pool.map(abs, [1]),
        lambda pool: pool.imap(abs, [1]),
        lambda pool: pool.uimap(abs, [1]),
        lambda pool: pool.amap(abs, [1]),
        lambda pool: pool.pipe(abs, 1),
        lambda pool: pool.submit(abs, 1),
    ],
    ids=["map", "imap", "uimap", "amap", "pipe", "submit"],
)
@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_closed_pool_takes_no_work(launcher: str, use, end: str) -> None:
    pool = get_pool(launcher)
    getattr(pool, end)()
    with pytest.raises(PoolClosed):
        use(pool)
    with pytest.raises(ValueError):
        use(pool)
    pool.join()


def test_restart_and_clear_make_a_pool_usable_again(launcher: str) -> None:
    pool = get_pool(launcher)
    assert pool.map(abs, [-1]) == [1]
    pool.close()
    pool.join()
    pool.restart()
    assert pool.map(abs, [-2]) == [2]
    pool.terminate()
    pool.clear()
    assert pool.map(abs, [-3]) == [3]
    pool.restart()
    assert pool.map(abs, [-4]) == [4]
    pool.close()
    pool.close()
    pool.join()
    pool.join()
    pool.terminate()


def test_two_pools_of_one_size_are_independent(launcher: str) -> None:
    with get_pool(launcher) as first:
        first.map(abs, range(5))
        with get_pool(launcher) as second:
            second.map(abs, range(5))
            if launcher.startswith("process"):
                pids = [{worker.pid for worker in pool.workers()} for pool in (first, second)]
                assert not pids[0] & pids[1]
        assert first.map(abs, range(-5, 5)) == list(map(abs, range(-5, 5)))
        with pytest.raises(PoolClosed):
            second.map(abs, [1])


def test_an_asynchronous_map_can_be_fetched_after_the_block(launcher: str) -> None:
    with get_pool(launcher) as pool:
        mapped = pool.amap(slow, range(50))
        called = pool.submit(divmod, 7, 2)
    assert mapped.ready()
    assert mapped.get(0) == list(range(50))
    assert called.result(0) == (3, 1)


def test_a_pool_can_be_resized(launcher: str) -> None:
    with get_pool(launcher, oversubscribe=True) as pool:
        for size in (1, 2, 4, 8, 16, 1):
            pool.resize(size)
            assert pool.map(lambda x: x * x, range(100)) == [x * x for x in range(100)]
            assert len(pool) == (1 if launcher == "serial" else size)


def test_the_workers_tasks_add_up(launcher: str) -> None:
    with get_pool(launcher) as pool:
        pool.map(abs, range(100))
        for number in range(20):
            pool.pipe(abs, number)
        assert sum(worker.tasks for worker in pool.workers()) == 120
        assert pool.stats()["tasks"] == 120
        workers = pool.workers()
        assert len(workers) == len(pool)
        assert all(worker.state == "idle" for worker in workers)
        assert all(worker.busy >= 0 for worker in workers)


def test_callbacks_see_results_and_errors_and_may_carry_arguments_of_their_own(launcher: str, wait_until) -> None:
    seen: list[tuple[str, Any]] = []

    def noted(kind, value):
        seen.append((kind, value))

    with get_pool(launcher) as pool:
        pool.amap(abs, [-1, -2], callback=lambda value: noted("list", value))
        pool.amap(lambda x: 1 // x, [0], error_callback=lambda error: noted("error", type(error)))
        pool.apply_async(abs, (-3,), callback=lambda value: noted("value", value))
        results = [pool.submit(abs, -number) for number in range(5)]
        for result in results:
            result.add_done_callback(lambda done: noted("done", done.result()))
        for result in results:
            result.wait(10)
        wait_until(lambda: len(seen) == 8)
    assert ("list", [1, 2]) in seen
    assert ("error", ZeroDivisionError) in seen
    assert ("value", 3) in seen
    assert sorted(value for kind, value in seen if kind == "done") == list(range(5))


def test_a_failing_callback_costs_neither_the_result_nor_the_pool(launcher: str) -> None:
    def broken(_):
        raise RuntimeError("in the callback")

    with get_pool(launcher) as pool:
        result = pool.amap(abs, [-1], callback=broken)
        assert result.get(10) == [1]
        assert pool.amap(abs, [-2]).get(10) == [2]


def test_a_pool_travels_and_comes_back_as_itself(launcher: str) -> None:
    with get_pool(launcher) as pool:
        assert pickle.loads(pickle.dumps(pool)) is pool
        assert pool.pipe(lambda same: same, pool) is pool


@pytest.mark.parametrize("inner", ["serial", "thread:2", "process:2", "multiprocess:1"])
def test_a_task_may_use_a_pool_of_its_own(launcher: str, inner: str) -> None:
    def inside(x):
        with get_pool(inner, oversubscribe=True) as own:
            return own.map(lambda y: x * y, range(5))

    with get_pool(launcher) as pool:
        assert pool.map(inside, range(3)) == [[x * y for y in range(5)] for x in range(3)]


def test_a_task_may_use_the_pool_it_runs_in(launcher: str) -> None:
    with get_pool(launcher, oversubscribe=True) as pool:
        nested = pool.map(lambda x, own: own.map(abs, [x, -x]), range(4), [pool] * 4)
    assert nested == [[x, x] for x in range(4)]


def test_a_bound_method_of_a_pool_travels(launcher: str) -> None:
    with get_pool("thread:2") as threads, get_pool(launcher, oversubscribe=True) as pool:
        assert threads.map(pool.map, [abs] * 2, [[-1, 2], [3, -4]]) == [[1, 2], [3, 4]]


def test_results_are_standard_futures(launcher: str) -> None:
    import asyncio
    from concurrent.futures import FIRST_COMPLETED, as_completed, wait

    async def gather(results):
        return await asyncio.gather(*results)

    with get_pool(launcher) as pool:
        results: list[Result[int]] = [pool.submit(abs, -number) for number in range(10)]
        assert {done.result() for done in as_completed(results, timeout=10)} == set(range(10))
        done, _ = wait([pool.submit(abs, -1)], timeout=10, return_when=FIRST_COMPLETED)
        assert len(done) == 1
        assert asyncio.run(gather([pool.submit(abs, -number) for number in range(10)])) == list(range(10))


def test_many_threads_may_share_a_pool(launcher: str) -> None:
    failures: list[object] = []

    def use(number):
        for turn in range(10):
            expected = [x + number for x in range(turn * 10)]
            if pool.map(lambda x: x + number, range(turn * 10)) != expected:
                failures.append((number, turn))
            if pool.pipe(divmod, number, 3) != divmod(number, 3):
                failures.append(number)

    with get_pool(launcher) as pool:
        threads = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
    assert not failures


def test_the_executor_face_is_a_standard_executor(launcher: str) -> None:
    with get_pool(launcher).as_executor() as executor:
        assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
        assert executor.submit(pow, 2, 5).result(10) == 32
    with pytest.raises(RuntimeError):
        executor.submit(pow, 1, 1)


def test_a_pool_that_is_forgotten_ends_its_workers(launcher: str) -> None:
    # `nothing_left` looks for what remains.
    pool = get_pool(launcher)
    with contextlib.suppress(PoolClosed):
        pool.map(abs, range(5))
    del pool


@pytest.mark.parametrize("text, shown", [("process:2", "process:2"), ("thread", f"thread:{usable_cpus()}")])
def test_a_pools_plan_prints_as_what_get_pool_takes(text: str, shown: str) -> None:
    with get_pool(text) as pool:
        assert str(pool.plan) == shown
        pool.resize(3)
        assert str(pool.plan) == text.partition(":")[0] + ":3"


def test_a_serial_pools_plan_has_no_number() -> None:
    assert str(get_pool("serial:4").plan) == "serial"
