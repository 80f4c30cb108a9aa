"""A mix opens pools inside, ends with its script, its owner or when forgotten, and leaves nothing."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref

import pytest

from anypool import Mixed, Process, Thread, get_pool
from anypool._launcher import cpus

LIMIT = 30  # seconds


def inside(_):
    time.sleep(0.01)
    with get_pool() as pool:
        return threading.current_thread().name, float(cpus()), str(pool.plan), pool.map(abs, [-1, -2])


def kinds(told):
    return {name.partition("-")[0]: rest for name, *rest in told}


@pytest.mark.parametrize("below", ["serial", "thread:1", "process:1"])
def test_a_task_of_each_group_gets_the_next_level_and_its_share_of_the_cpus(below):
    share = float(cpus()) / 2
    levels = ["process:1 + thread:1"] if below == "serial" else ["process:1 + thread:1", below]
    with get_pool(*levels) as pool:
        found = kinds(pool.map(inside, range(30)))
    assert found == {"MainThread": [share, below, [1, 2]], "anypool": [share, below, [1, 2]]}


def test_tasks_on_an_executor_get_the_same():
    with get_pool("process:1 + multiprocess:1", "thread:1") as pool:
        assert {tuple(map(str, rest)) for _, *rest in pool.map(inside, range(60))} == {
            (str(float(cpus()) / 2), "thread:1", "[1, 2]")
        }


def test_groups_that_say_no_size_share_what_the_others_leave():
    mix = Process(1) + Process()
    assert mix.sizes == [1, max(1, int(cpus()) - 1)]
    with get_pool(mix) as pool:
        assert pool.map(abs, [-1]) == [1]
        assert len(pool) == len(pool.workers()) == sum(mix.sizes)


def test_each_group_has_its_own_initializer():
    def set_up(name):
        os.environ["ANYPOOL_TEST_GROUP"] = name

    def group(_):
        time.sleep(0.01)
        return os.getpid(), os.environ["ANYPOOL_TEST_GROUP"]

    with get_pool(
        Process(1, initializer=set_up, initargs=("a",)) + Process(1, initializer=set_up, initargs=("b",))
    ) as pool:
        by_pid = dict(pool.map(group, range(100)))
        assert sorted(by_pid.values()) == ["a", "b"]
        assert [by_pid[worker.pid] for worker in pool.workers()] == ["a", "b"]


def test_a_forgotten_mix_ends():
    pool = get_pool("process:1 + thread:1")
    assert pool.map(abs, [-1]) == [1]
    known = weakref.ref(pool._made)
    del pool
    gc.collect()
    assert known() is None


def test_a_script_that_never_closes_its_mix_ends_with_all_done(run_script):
    text = """
        import sys
        from anypool import get_pool
        pool = get_pool(sys.argv[1])
        def say(x):
            return x
        later = pool.amap(say, range(100))
        later.add_done_callback(lambda done: print(sum(done.result()), flush=True))
    """
    for mix in ("process:1 + thread:1", "process:1 + multiprocess:1", "thread:1 + thread:1"):
        assert run_script(text, mix) == "4950\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_a_script_that_is_struck(start_script, wait_until, number):
    script = start_script(
        """
        import time
        from anypool import get_pool
        def nap(x):
            time.sleep(0.05)
            return x
        pool = get_pool("process:1 + process:1")
        stream = pool.imap(nap, iter(int, 1))
        next(stream)
        print("runs", flush=True)
        for _ in stream:
            pass
        """
    )
    assert script.line() == "runs"
    started = time.monotonic()
    script.process.send_signal(number)
    code, _, err = script.finish()
    assert time.monotonic() - started < 15
    assert code == -number
    assert err.count("KeyboardInterrupt") == (number == signal.SIGINT)
    wait_until(lambda: not script.descendants(), 5)


def test_an_exception_in_the_block_ends_both_groups_at_once(within):
    def leave():
        with get_pool("process:1 + thread:1") as pool:
            pool.amap(time.sleep, [1] * 100)
            raise KeyError

    with within(10), pytest.raises(KeyError):
        leave()


def test_a_mix_that_arrives_in_a_task_is_an_equivalent_one():
    def use(pool):
        return len(pool), str(pool.plan), pool.map(abs, [-1, -2])

    with get_pool("process:1") as outer, get_pool(Mixed(groups=(Thread(1), Thread(1)))) as pool:
        assert outer.pipe(use, pool) == (2, "thread:1 + thread:1", [1, 2])
