"""A mix of any two groups has every method, with the meaning that it has everywhere."""

from __future__ import annotations

import asyncio
import operator
import os
import pickle
import random
import threading
import time
from collections import Counter

import pytest

import anypool
from anypool import Pool, PoolClosed, Unserializable, get_pool

LIMIT = 30  # seconds


def square(x):
    return x * x


def add(x, y, plus=0):
    return x + y + plus


def where(_):
    time.sleep(0.01)
    return os.getpid(), threading.current_thread().name


@pytest.fixture(scope="module")
def launcher(mix):
    """So that `pool` is one of this mix."""
    return mix


def test_every_map_gives_what_the_builtin_gives(pool):
    xs, ys = list(range(3000)), list(range(1, 3001))
    sums = list(map(add, xs, ys))
    assert pool.map(add, xs, ys) == sums
    assert list(pool.imap(add, xs, ys)) == sums
    assert sorted(pool.uimap(add, xs, ys)) == sums
    assert pool.amap(add, xs, ys).get(LIMIT) == sums
    pairs = list(zip(xs, ys, strict=True))
    assert pool.starmap(add, pairs) == list(pool.istarmap(add, pairs)) == sums
    assert sorted(pool.uistarmap(add, pairs)) == pool.astarmap(add, pairs).get(LIMIT) == sums


def test_single_calls_and_futures_work(mix):
    with get_pool(mix) as pool:
        assert pool.pipe(add, 1, 2, plus=3) == 6
        assert [result.get(LIMIT) for result in [pool.apipe(square, x) for x in range(100)]] == list(
            map(square, range(100))
        )
        assert pool.submit(operator.add, [1], [2]).result(LIMIT) == [1, 2]
        with pool.as_executor() as executor:
            assert list(executor.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_a_result_can_be_awaited(pool):
    async def main():
        return await pool.amap(square, range(10))

    assert asyncio.run(main()) == list(map(square, range(10)))


def test_both_groups_work(mix):
    with get_pool(mix) as pool:
        pool.map(square, range(10))
        pool.map(where, range(100))
        assert [worker.tasks > 0 for worker in pool.workers()] == [True, True]
        assert pool.stats()["tasks"] == 110


def test_the_workers_of_a_mix_have_names_of_their_own(pool, mix):
    names = [worker.name for worker in pool.workers()]
    assert len(set(names)) == len(names) == len(pool) == 2
    assert [name.partition(":")[0] for name in names] == ["0", "1"]
    assert str(pool.plan) == mix


@pytest.mark.parametrize("options", [{}, {"retries": 0}, {"timeout": LIMIT}, {"chunksize": 7}], ids=str)
def test_options_hold_in_all_groups(pool, options):
    assert pool.map(square, range(40), **options) == list(map(square, range(40)))


def test_an_exception_arrives_in_its_place(pool):
    def inverse(x):
        return 1 / x

    kept = pool.map(inverse, [1, 0, 2, 0], on_error="return")
    assert [type(value) for value in kept] == [float, ZeroDivisionError, float, ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        pool.map(inverse, range(10))


def test_seeds_give_the_same_numbers_on_every_group(pool):
    def draw(_):
        return anypool.rng().random()

    with get_pool("serial") as serial:
        assert pool.map(draw, range(200), seed=3) == serial.map(draw, range(200), seed=3)


def test_large_arguments_and_results_arrive(pool):
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.full(200_000, x, dtype="f8") for x in range(8)]
    table = numpy.arange(300_000, dtype="f8")

    def work(array):
        array += table[:200_000]
        return array

    results = pool.map(work, arrays, chunksize=1)
    assert all((result == x + table[:200_000]).all() for x, result in enumerate(results))


def test_a_task_of_a_mix_with_processes_gets_copies_wherever_it_runs():
    def change(items):
        items.append(1)
        return threading.current_thread().name, items

    lists: list[list[int]] = [[] for _ in range(40)]
    with get_pool("process:1 + thread:1") as pool:
        changed = pool.map(change, lists, chunksize=1)
    assert lists == [[] for _ in range(40)]
    assert Counter(map(str, (items for _, items in changed))) == {"[1]": 40}


def test_a_mix_of_threads_passes_references():
    lists: list[list[int]] = [[] for _ in range(4)]
    lock = threading.Lock()

    def change(items):
        with lock:
            items.append(1)

    with get_pool("thread:1 + thread:1") as pool:
        pool.map(change, lists)
    assert lists == [[1]] * 4


def test_what_cannot_be_sent_is_refused_in_a_mix_with_processes():
    with get_pool("process:1 + thread:1") as pool, pytest.raises(Unserializable):
        pool.map(square, [(x for x in [1])])


def test_an_endless_input_is_read_as_it_is_used(pool):
    read: list[None] = []

    def numbers():
        while True:
            read.append(None)
            yield len(read)

    squares = pool.imap(square, numbers(), buffersize=20)
    assert [next(squares) for _ in range(50)] == [x * x for x in range(1, 51)]
    assert len(read) < 200


def test_several_threads_may_use_a_mix_at_once(pool):
    found = {}

    def use(at):
        found[at] = pool.map(square, range(at, at + 500)), [pool.pipe(square, at) for _ in range(20)]

    threads = [threading.Thread(target=use, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert found == {at: ([x * x for x in range(at, at + 500)], [at * at] * 20) for at in range(4)}


def test_a_mix_is_closed_restarted_and_terminated(mix):
    pool = get_pool(mix)
    later = pool.amap(square, range(100))
    pool.close()
    pool.join()
    assert later.get(0) == list(map(square, range(100)))
    with pytest.raises(PoolClosed):
        pool.map(square, [1])
    pool.restart()
    assert pool.map(square, [3]) == [9]
    pool.amap(time.sleep, [2] * 8)
    started = time.monotonic()
    pool.terminate()
    assert time.monotonic() - started < 10


def test_a_pickled_mix_is_the_same_mix_at_home(mix):
    with get_pool(mix) as pool:
        assert pickle.loads(pickle.dumps(pool)) is pool


def names(pool: Pool) -> list[str]:
    return sorted(worker.name.rpartition("-")[0] for worker in pool.workers())


def test_a_mix_grows_in_proportion_to_its_groups_and_may_lose_one_for_a_while():
    with get_pool("process:1 + thread:2", oversubscribe=True) as pool:
        for size, expected in (
            (6, ["0:process"] * 2 + ["1:thread"] * 4),
            (1, ["0:process"]),
            (3, ["0:process"] + ["1:thread"] * 2),
        ):
            pool.resize(size)
            assert pool.map(square, range(100)) == [x * x for x in range(100)]
            assert names(pool) == expected
            assert len(pool) == size
        assert not pool.stats()["lost"]
        pool.restart()
        assert pool.map(square, range(100)) == [x * x for x in range(100)]
        assert len(pool.workers()) == 3


def test_random_work_comes_back_in_order(pool):
    def nap(seconds):
        time.sleep(seconds)
        return seconds

    naps = [random.Random(x).random() / 50 for x in range(60)]
    assert pool.map(nap, naps) == list(pool.imap(nap, naps)) == naps
