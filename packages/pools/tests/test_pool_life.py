"""How pools are closed, opened again, resized, forgotten, interrupted, and left by their owner."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from pool_kit import (  # type: ignore[import-not-found]
    LIMIT,
    alive,
    everywhere,
    get_pool,
    in_parallel,
    in_processes,
    run,
    until,
)

from anypool import PoolClosed, WorkerLost
from anypool._work import call


@everywhere
def test_wrong_use_has_the_errors_of_the_standard_pool(launcher):
    pool = get_pool(launcher)
    with pytest.raises(ValueError, match="close"):
        pool.join()
    pool.close()
    pool.close()
    for method in (pool.map, pool.imap, pool.uimap, pool.amap):
        with pytest.raises(PoolClosed, match="restart"):
            method(abs, [1])
    for method in (pool.pipe, pool.apipe, pool.submit):
        with pytest.raises(ValueError, match="closing"):
            method(abs, 1)
    with pytest.raises(PoolClosed):
        pool.resize(3)
    pool.join()
    pool.join()
    pool.terminate()
    with pytest.raises(PoolClosed), pool:
        pass


@everywhere
def test_restart_and_clear_open_a_pool_from_every_state(launcher):
    pool = get_pool(launcher)
    for stop in (lambda: None, pool.close, lambda: (pool.close(), pool.join()), pool.terminate):
        for start in (pool.restart, pool.clear):
            stop()
            start()
            assert pool.map(abs, [-1]) == [1]
    pool.terminate()


@in_parallel
def test_resize_changes_the_size_or_nothing(launcher):
    with get_pool(launcher) as pool:
        for wrong, error in ((0, ValueError), (None, TypeError), (1.5, TypeError), (True, TypeError)):
            with pytest.raises(error):
                pool.resize(wrong)
        assert len(pool) == 2
        pool.resize(3)
        assert len(pool) == 3
        assert pool.map(abs, range(50)) == list(range(50))
        pool.restart()
        assert len(pool) == 3
        assert pool.map(abs, [-1]) == [1]


@in_parallel
def test_leaving_by_an_exception_cancels_what_was_started(launcher):
    results: list[Any] = []

    def start():
        with get_pool(launcher) as pool:
            results.extend(pool.submit(time.sleep, 0.3) for _ in range(20))
            raise KeyError

    with pytest.raises(KeyError):
        start()
    assert all(result.done() for result in results)
    assert results[-1].cancelled()


@everywhere
def test_leaving_normally_finishes_what_was_started(launcher):
    with get_pool(launcher) as pool:
        results = [pool.submit(abs, -i) for i in range(50)]
        later = pool.amap(abs, range(50))
    assert [result.get() for result in results] == later.get() == list(range(50))


@in_processes
def test_a_forgotten_pool_ends_its_workers(launcher):
    pool = get_pool(launcher)
    pids = set(pool.map(lambda _: os.getpid(), range(4), chunksize=1))
    assert all(map(alive, pids))
    del pool
    gc.collect()
    until(lambda: not any(map(alive, pids)))


FORGOTTEN = """
import os, sys, time
from anypool import get_pool
def work(name):
    time.sleep(0.01)
    open(os.path.join(sys.argv[2], name), "w").close()
    return os.getpid()
pool = get_pool(sys.argv[1])
results = [pool.submit(work, f"a{i}") for i in range(20)]
later = pool.amap(work, [f"b{i}" for i in range(20)])
half = pool.imap(abs, range(10**6))
next(half)
print(os.getpid(), results[0].get())
"""


@everywhere
def test_at_exit_what_was_started_is_finished_and_nobody_stays(launcher, tmp_path):
    code = FORGOTTEN.replace("sys.argv[2]", repr(str(tmp_path))).replace("sys.argv[1]", repr(launcher))
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.iterdir())) == 40
    until(lambda: not any(map(alive, map(int, done.stdout.split()))))


@in_processes
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_owner(launcher, end):
    code = f"""
import os, time
from anypool import get_pool
pool = get_pool({launcher!r})
print(*set(pool.map(lambda _: (time.sleep(0.05), os.getpid())[1], range(8), chunksize=1)), flush=True)
pool.map(lambda _: time.sleep(60), range(2))
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        pids = [int(word) for word in owner.stdout.readline().split()]
    assert pids
    owner.send_signal(end)
    owner.wait(LIMIT)
    until(lambda: not any(map(alive, pids)), 3.0)


INTERRUPTED = """
import os, time
from anypool import get_pool
pool = get_pool("LAUNCHER", oversubscribe=True)
pool.map(abs, range(4))
print("mapping", flush=True)
try:
    pool.map(lambda _: (os.write(1, b"begun\\n"), time.sleep(60)), range(2), chunksize=1)
except KeyboardInterrupt:
    print(pool.map(abs, [-1, -2]))
pool.close()
pool.join()
"""


@in_processes
def test_ctrl_c_in_a_terminal_ends_the_tasks_and_the_pool_goes_on(launcher):
    code = INTERRUPTED.replace("LAUNCHER", launcher)
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert owner.stdout is not None
    assert [owner.stdout.readline().strip() for _ in range(3)] == ["mapping", "begun", "begun"]
    started = time.monotonic()
    os.killpg(owner.pid, signal.SIGINT)
    out, err = owner.communicate(timeout=LIMIT)
    assert (out, err, owner.returncode) == ("[1, 2]\n", "", 0)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("together", [1, 3])
def test_join_returns_when_the_workers_have_ended_in_each_thread_that_calls_it(tmp_path, monkeypatch, together):
    def touch_late():
        time.sleep(0.5)
        (tmp_path / "ended").touch()

    def end_slowly(_):
        import atexit

        atexit.register(touch_late)

    pool = get_pool("process:1")
    pool.map(end_slowly, [0])
    barrier, ended = threading.Barrier(together), []
    # Nobody ends it before so many are about to.
    monkeypatch.setattr(pool._engine(), "drain", lambda: barrier.wait(LIMIT))
    pool.close()

    def join():
        pool.join()
        ended.append(len(list(tmp_path.iterdir())))

    threads = [threading.Thread(target=join) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert ended == [1, 1, 1]


def test_a_pool_that_a_task_closed_is_open_when_it_comes_again():
    def use_up(inner):
        with inner:
            return inner.map(abs, [-1])

    with get_pool("thread:1") as inner, get_pool("process:1") as pool:
        assert [pool.pipe(use_up, inner) for _ in range(3)] == [[1]] * 3


def test_a_pool_that_a_task_asks_for_while_it_is_ended_for_being_idle_stays(monkeypatch):
    with get_pool("thread:1") as pool:
        pool._used = time.monotonic() - 100
        engine, stats = pool._live(), pool.stats

        def asked_for_meanwhile():
            assert pool._engine() is engine
            return stats()

        monkeypatch.setattr(pool, "stats", asked_for_meanwhile)
        pool._rest(10)
        monkeypatch.undo()
        assert pool._live() is engine
        pool._used = time.monotonic() - 100
        pool._rest(10)
        assert pool._live() is None
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_initializer_that_did_not_end_runs_again_before_anything_else(ends):
    runs = []

    def begin():
        runs.append(ends)
        if len(runs) == 1:
            raise ends

    pool = get_pool("serial", initializer=begin)
    with pytest.raises(KeyboardInterrupt if ends is KeyboardInterrupt else WorkerLost):
        pool.map(abs, [1])
    assert pool.map(abs, [-1, -2]) == [1, 2]
    assert len(runs) == 2


def test_no_thread_runs_a_task_before_another_one_has_initialized_the_caller():
    began, go, done = threading.Event(), threading.Event(), []

    def begin():
        began.set()
        go.wait(LIMIT)
        done.append("initialized")

    pool = get_pool("serial", initializer=begin)
    threads = [threading.Thread(target=lambda: pool.map(done.append, ["task"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert began.wait(LIMIT)
    go.set()
    for thread in threads:
        thread.join(LIMIT)
    assert done == ["initialized", "task", "task"]


@in_processes
def test_who_has_other_work_takes_in_outcomes_without_a_wait(launcher):
    with get_pool(launcher) as pool:
        pool.pipe(abs, 1)
        engine = pool._engine()
        results = [call(engine, engine.submit, abs, (-number,), {}) for number in range(10)]
        # The helper has not been asked to look after these.
        deadline = time.monotonic() + LIMIT
        while not all(result.ready() for result in results):
            assert time.monotonic() < deadline
            engine.glance()
        assert [result.result() for result in results] == list(range(10))
