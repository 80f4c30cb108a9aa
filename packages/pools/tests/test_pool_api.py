"""What a pool promises beside its maps: options, life cycle, size, looks, pickling, what its launchers take."""

import asyncio
import contextlib
import gc
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, as_completed, wait
from typing import Any

import numpy as np
import pytest

import anypool
from anypool import PlanError, Pool, PoolClosed, ProcessPool, Result, SerialPool, ThreadPool, WorkerLost
from anypool_serialize import dumps, loads

# Wrong use is tested too, which a checker would refuse.
get_pool: Any = anypool.get_pool
Map: Any = anypool.Map
Smap: Any = anypool.Smap
Amap: Any = anypool.Amap

LAUNCHERS = ["serial", "thread:2", "process:2", "multiprocess:2"]
PARALLEL = LAUNCHERS[1:]
PROCESSES = LAUNCHERS[2:]
LIMIT = 30  # seconds

everywhere = pytest.mark.parametrize("launcher", LAUNCHERS)
in_parallel = pytest.mark.parametrize("launcher", PARALLEL)
in_processes = pytest.mark.parametrize("launcher", PROCESSES)


def until(condition, seconds=10.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.01)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def run(code, *args):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, text=True, timeout=LIMIT, check=False
    )


# Options.


@everywhere
@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap", "starmap", "istarmap", "uistarmap", "astarmap"])
def test_an_unknown_option_is_refused_at_the_call(launcher, method):
    with get_pool(launcher) as pool, pytest.raises(TypeError, match=r"'base'.*kwargs="):
        getattr(pool, method)(int, ["1"], base=2)


@pytest.mark.parametrize("method", ["map", "imap", "starmap", "uimap"])
def test_callbacks_belong_to_the_asynchronous_maps(method):
    with pytest.raises(TypeError, match=r"callback.*amap"):
        getattr(get_pool("serial"), method)(abs, [1], callback=print)


@pytest.mark.parametrize(
    "options, error",
    [
        ({"chunksize": -1}, ValueError),
        ({"chunksize": True}, TypeError),
        ({"chunksize": 1.5}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retry_on": 5}, TypeError),
        ({"retry_on": (int,)}, TypeError),
        ({"on_error": "ignore"}, ValueError),
        ({"buffersize": 0}, ValueError),
        ({"strict": "yes"}, TypeError),
        ({"strict": 2}, TypeError),
        ({"progress": "x"}, TypeError),
        ({"kwargs": [1]}, TypeError),
        ({"kwargs": {1: 2}}, TypeError),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_before_input_is_read(options, error):
    read: list[int] = []
    with pytest.raises(error, match=next(iter(options))):
        get_pool("serial").map(abs, map(read.append, range(3)), **options)
    assert read == []


def test_a_chunksize_below_the_least_is_refused_with_what_stands_for_the_default():
    assert get_pool("serial").map(str, [1], chunksize=0) == ["1"]
    with pytest.raises(ValueError, match=r"at least 1 for map\(\), or 0 or None for the default, got -1"):
        get_pool("serial").map(str, [1], chunksize=-1)
    with pytest.raises(ValueError, match=r"at least 1 for imap\(\), or None for the default, got 0"):
        get_pool("serial").imap(str, [1], chunksize=0)


@pytest.mark.parametrize("value", [True, 1, np.True_])
def test_a_flag_may_be_numpys(value):
    with pytest.raises(ValueError, match="longer"):
        get_pool("serial").map(pow, [1], [1, 2], strict=value)


def test_whole_numbers_of_other_types_are_taken():
    class Five:
        def __index__(self):
            return 5

    assert get_pool("serial").map(abs, range(9), chunksize=Five(), timeout=float("inf")) == list(range(9))


# What launchers take.


@everywhere
def test_every_launcher_runs_the_initializer_before_the_first_task(launcher):
    def remember(key, value):
        os.environ[key] = value

    with get_pool(launcher, initializer=remember, initargs=("ANYPOOL_API_TEST", "yes")) as pool:
        seen = pool.map(lambda _: os.environ.get("ANYPOOL_API_TEST"), range(20))
    os.environ.pop("ANYPOOL_API_TEST", None)
    assert seen == ["yes"] * 20


def test_serial_runs_the_initializer_once_and_only_when_needed():
    calls: list[int] = []
    with get_pool("serial", initializer=calls.append, initargs=(1,)) as pool:
        assert calls == []
        pool.map(abs, [1])
        list(pool.imap(abs, [1]))
        pool.pipe(abs, 1)
        assert calls == [1]
        pool.restart()
        pool.pipe(abs, 1)
        assert calls == [1, 1]


@everywhere
def test_an_initializer_that_raises_ends_the_maps(launcher):
    def broken():
        raise ValueError("no database")

    with get_pool(launcher, initializer=broken) as pool, pytest.raises(WorkerLost, match="no database"):
        pool.map(abs, [1, 2])


@pytest.mark.parametrize("launcher", ["serial", "thread:2"])
@pytest.mark.parametrize("option", ["max_tasks_per_worker", "env", "cwd"])
def test_what_only_processes_can_honour_is_refused_elsewhere_and_says_where(launcher, option):
    with pytest.raises(TypeError, match=f"{option}.*process and multiprocess"):
        get_pool(launcher, **{option: 1})


def test_what_one_launcher_has_is_named_on_the_others():
    with pytest.raises(TypeError, match=r"max_memory_per_worker.*which process can"):
        get_pool("multiprocess", max_memory_per_worker=1 << 30)
    with pytest.raises(TypeError, match="did you mean 'workers'"):
        get_pool("process", worker=2)


@pytest.mark.parametrize(
    "option, value, error, text",
    [
        ("cwd", 3, TypeError, "cwd is a folder's path or None, got 3"),
        ("cwd", "/no/such/folder", ValueError, "cwd is a folder that exists"),
        ("max_memory_per_worker", 512, ValueError, "at least 1048576 bytes"),
    ],
)
def test_what_no_process_could_start_with_is_named(option, value, error, text):
    with pytest.raises(error, match=text):
        get_pool("process:1", **{option: value})


@in_processes
def test_processes_honour_env_cwd_and_a_number_of_tasks(launcher, tmp_path):
    options = {"env": {"ANYPOOL_API_TEST": "1"}, "cwd": tmp_path, "max_tasks_per_worker": 3}
    with get_pool(launcher, **options) as pool:
        seen = pool.map(lambda _: (os.environ["ANYPOOL_API_TEST"], os.getcwd(), os.getpid()), range(12))
    assert {entry[:2] for entry in seen} == {("1", str(tmp_path))}
    pids = [pid for _, _, pid in seen]
    assert max(pids.count(pid) for pid in pids) <= 3


@pytest.mark.parametrize(
    "text, error",
    [
        ("proces", anypool.LauncherNotFound),
        ("process:", PlanError),
        ("process:x", PlanError),
        ("process:-1", PlanError),
        ("process:²", PlanError),
        ("process:0", PlanError),
        (":4", PlanError),
        ("proces:x", anypool.LauncherNotFound),
        ("ssh:host", anypool.LauncherNotFound),
        (5, TypeError),
    ],
)
def test_a_text_that_names_no_pool_is_refused(text, error):
    with pytest.raises(error):
        get_pool(text)


def test_other_names_of_the_size_are_taken_once():
    pools = [ThreadPool(2), ThreadPool(nodes=2), ThreadPool(ncpus=2), ThreadPool(workers=2), ThreadPool(processes=2)]
    assert [len(pool) for pool in pools] == [2] * 5
    for pool in pools:
        pool.terminate()
    with pytest.raises(TypeError, match="more than once"):
        ThreadPool(2, ncpus=2)
    assert len(SerialPool(8)) == 1


@everywhere
@pytest.mark.parametrize("method", ["starmap", "istarmap", "uistarmap", "astarmap"])
def test_what_another_pool_takes_by_position_is_asked_for_by_keyword(launcher, method):
    with get_pool(launcher) as pool:
        with pytest.raises(TypeError, match="by keyword, chunksize=5"):
            getattr(pool, method)(pow, [(2, 3)], 5)
        with pytest.raises(TypeError, match=rf"{method}\(\) takes one iterable"):
            getattr(pool, method)(pow, [(2, 3)], [(2, 3)])


@pytest.mark.parametrize("kind", [ProcessPool, ThreadPool, SerialPool])
def test_a_pool_takes_its_size_alone_by_position(kind):
    with pytest.raises(TypeError, match=r"give initializer= and initargs= by name"):
        kind(2, print, ())


# Life.


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
import time
from anypool import get_pool
pool = get_pool("LAUNCHER")
pool.map(abs, range(4))
print("mapping", flush=True)
try:
    pool.map(lambda _: (print("begun", flush=True), time.sleep(60)), range(2), chunksize=1)
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


# Looking.


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


def test_pools_are_equal_only_to_themselves():
    one, other = get_pool("serial"), get_pool("serial")
    assert one != other
    assert len({one, other, one}) == 2


@pytest.mark.parametrize("name", ["Pool", "Result", "WorkerInfo", "Map", "Launcher", "WorkerLost"])
def test_classes_show_the_name_they_are_imported_by(name):
    assert getattr(anypool, name).__module__ == "anypool"


# Futures.


@everywhere
def test_a_pool_as_an_executor_is_a_standard_one(launcher):
    with get_pool(launcher).as_executor() as executor:
        assert isinstance(executor, Executor)
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


# Pickling and nesting.


@everywhere
def test_a_pickled_pool_comes_home_as_itself(launcher):
    with get_pool(launcher) as pool:
        assert loads(dumps([pool]))[0] is pool
        assert loads(dumps(pool.map)).__self__ is pool
        assert pool.pipe(lambda: pool) is pool


@in_parallel
def test_a_pool_that_arrives_is_one_pool_of_the_size_that_was_asked_for(launcher):
    with get_pool(launcher) as pool:
        assert pool.map(lambda x: pool.map(abs, [x, -x]), [1, 2, 3]) == [[1, 1], [2, 2], [3, 3]]
        pool.resize(3)
        same, size = pool.pipe(lambda one, two: (one is two, len(one)), pool, loads(dumps(pool)))
        assert (same, size) == (True, 3)


@pytest.mark.parametrize("outer", PROCESSES)
@pytest.mark.parametrize("inner", LAUNCHERS)
def test_a_task_may_open_a_pool_and_forget_it(outer, inner):
    def task(x):
        return get_pool(inner).map(abs, [x, -x])

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


# Maps as objects.


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
    with get_pool(launcher) as pool:
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
