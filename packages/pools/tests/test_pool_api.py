"""What a pool shows of itself, and its faces as an executor, as a pickle, and as the maps of other libraries."""

import asyncio
import contextlib
import gc
import operator
import os
import threading
import time
from concurrent.futures import Executor, as_completed, wait

import pytest
from pool_kit import (  # type: ignore[import-not-found]
    LAUNCHERS,
    LIMIT,
    PROCESSES,
    Amap,
    Map,
    Smap,
    alive,
    everywhere,
    get_pool,
    in_parallel,
    until,
)

import anypool
from anypool import Pool, PoolClosed, ProcessPool, Result, SerialPool
from anypool_serialize import dumps, loads


@everywhere
def test_a_pool_tells_what_it_is_and_has_done(launcher):
    with get_pool(launcher) as pool:
        pool.map(abs, range(100))
        pool.pipe(abs, 1)
        stats = pool.stats()
        assert (stats["launcher"], stats["workers"], stats["tasks"]) == (pool.launcher.name, len(pool), 101)
        assert stats["in_flight"] == stats["waiting"] == 0
        infos = pool.workers()
        assert len({info.name for info in infos}) == len(pool)
        assert all(info.host and info.state == "idle" for info in infos)
        assert repr(pool).startswith(f"<anypool.Pool {pool.launcher.name}:{len(pool)}, open")
    assert pool.workers() == []
    assert "closed" in repr(pool)


@everywhere
def test_what_a_pool_has_done_is_told_until_it_is_opened_again(launcher):
    with get_pool(launcher) as pool:
        pool.map(abs, range(100))
    stats = pool.stats()
    assert (stats["tasks"], stats["workers"], stats["in_flight"], stats["waiting"]) == (100, 0, 0, 0)
    assert stats["busy"] > 0
    pool.restart()
    assert (pool.stats()["tasks"], pool.stats()["busy"]) == (0, 0)
    pool.map(abs, range(7))
    pool.terminate()
    assert pool.stats()["tasks"] == 7


def test_what_was_done_is_counted_whoever_did_it_and_wherever_they_are_now():
    with get_pool("thread:4") as pool:
        pool.map(time.sleep, [0.01] * 40)
        busy = pool.stats()["busy"]
        pool.resize(1)
        assert pool.map(lambda _: pool.map(abs, range(10), chunksize=1), range(4), chunksize=1) == [[*range(10)]] * 4
        until(lambda: len(pool.workers()) == 1)
        assert pool.stats()["tasks"] == 40 + 4 + 40
        assert pool.stats()["busy"] >= busy > 0.3


def test_pools_are_equal_only_to_themselves():
    one, other = get_pool("serial"), get_pool("serial")
    assert one != other
    assert len({one, other, one}) == 2


@pytest.mark.parametrize("name", ["Pool", "Result", "WorkerInfo", "Map", "Launcher", "WorkerLost"])
def test_classes_show_the_name_they_are_imported_by(name):
    assert getattr(anypool, name).__module__ == "anypool"


@everywhere
def test_a_pool_as_an_executor_is_a_standard_one(launcher):
    with get_pool(launcher).as_executor() as executor:
        assert isinstance(executor, Executor)
        assert getattr(executor, "_max_workers") >= 1
        futures = [executor.submit(pow, i, 2) for i in range(10)]
        assert wait(futures, LIMIT).not_done == set()
        assert sorted(future.result() for future in as_completed(futures)) == [i * i for i in range(10)]
        assert list(executor.map(operator.add, range(10), range(10))) == list(range(0, 20, 2))
        assert list(executor.map(operator.add, range(10), range(10), chunksize=3)) == list(range(0, 20, 2))
        values = executor.map(lambda x: 1 // x, [1, 0])
        assert next(values) == 1
        with pytest.raises(ZeroDivisionError):
            next(values)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


@in_parallel
def test_shutdown_may_cancel_what_waits_and_need_not_wait(launcher):
    executor = get_pool(launcher).as_executor()
    futures = [executor.submit(time.sleep, 0.05) for _ in range(100)]
    started = time.monotonic()
    executor.shutdown(wait=False, cancel_futures=True)
    assert time.monotonic() - started < 1
    assert wait(futures, LIMIT).not_done == set()
    assert futures[-1].cancelled()


@everywhere
def test_asyncio_takes_a_pool_as_its_executor(launcher):
    async def main(executor):
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, pow, 2, i) for i in range(5)))

    with get_pool(launcher).as_executor() as executor:
        assert asyncio.run(main(executor)) == [1, 2, 4, 8, 16]


@everywhere
def test_a_pickled_pool_comes_home_as_itself(launcher):
    with get_pool(launcher) as pool:
        assert loads(dumps([pool]))[0] is pool
        assert loads(dumps(pool.map)).__self__ is pool
        assert pool.pipe(lambda: pool) is pool


@in_parallel
def test_a_pool_that_arrives_is_one_pool_of_the_size_that_was_asked_for(launcher):
    with get_pool(launcher, oversubscribe=True) as pool:
        assert pool.map(lambda x: pool.map(abs, [x, -x]), [1, 2, 3]) == [[1, 1], [2, 2], [3, 3]]
        pool.resize(3)
        same, size = pool.pipe(lambda one, two: (one is two, len(one)), pool, loads(dumps(pool)))
        assert (same, size) == (True, 3)


@pytest.mark.parametrize("outer", PROCESSES)
@pytest.mark.parametrize("inner", LAUNCHERS)
def test_a_task_may_open_a_pool_and_forget_it(outer, inner):
    def task(x):
        return get_pool(inner, oversubscribe=True).map(abs, [x, -x])

    with get_pool(outer) as pool:
        assert pool.map(task, [1, 2]) == [[1, 1], [2, 2]]


def on_one_cpu(f, *args):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return f(*args)


def test_a_default_size_is_that_of_the_place_it_arrives_at():
    with get_pool("process:1") as one:
        pool = get_pool("thread")
        assert one.pipe(on_one_cpu, len, pool) == 1
        pool.terminate()


def test_an_arrived_pool_rests_when_idle_and_wakes_when_used(monkeypatch):
    monkeypatch.setattr("anypool._registry._IDLE_SECONDS", 0.1)
    monkeypatch.setattr("anypool._registry._LOOK_SECONDS", 0.05)
    pool = get_pool("process:2")
    data = dumps(pool)
    pool.terminate()
    del pool
    gc.collect()
    guest = loads(data)
    assert isinstance(guest, Pool)
    for _ in range(2):
        assert not guest.workers()
        pids = guest.map(lambda _: os.getpid(), range(4))
        until(lambda: not guest.workers())
        until(lambda pids=pids: not any(map(alive, pids)))


def test_maps_as_objects_make_their_pool_with_the_first_call():
    with Map("thread:2") as threads:
        assert threads(lambda x, y: x + y, [1, 2], [3, 4]) == [4, 6]
        assert len(threads.pool) == 2
    assert Map()(abs, [-1]) == [1]
    assert Smap(SerialPool)(pow, [(2, 3)]) == [8]
    with Amap(ProcessPool, 1) as later:
        assert later(abs, [-1], callback=None).get(LIMIT) == [1]
    with pytest.raises(TypeError, match="unknown option"):
        Map()(abs, [1], workers=2)
    with pytest.raises(TypeError, match="a pool, a launcher"):
        Map(4)
    with get_pool("thread:1") as pool:
        given = Map(pool)
        given.close()
        assert given(abs, [-1]) == [1]
        with pytest.raises(TypeError, match="made already"):
            Map(pool, 4)


@everywhere
def test_maps_as_objects_travel_as_arguments(launcher):
    with get_pool(launcher, oversubscribe=True) as pool:
        assert pool.map(lambda x, m=Map("serial"): m(abs, [x, -x]), [1, 2]) == [[1, 1], [2, 2]]
        assert pool.map(pool.map, [abs, str], [[-1], [2]]) == [[1], ["2"]]


@pytest.mark.parametrize("name", ["thread:2", "process:2"])
def test_calls_that_meet_the_end_of_their_pool_all_get_an_answer(name: str) -> None:
    results: list[Result[int]] = []
    pool = anypool.get_pool(name)

    def submit() -> None:
        with contextlib.suppress(PoolClosed):
            while True:
                results.append(pool.submit(abs, -1))

    submitter = threading.Thread(target=submit)
    submitter.start()
    while len(results) < 1000:
        assert submitter.is_alive()
    pool.terminate()
    submitter.join(10)
    done, waiting = wait(results, timeout=10)
    assert not waiting
    for result in done:
        assert result.cancelled() or isinstance(result.exception(), PoolClosed) or result.result() == 1
