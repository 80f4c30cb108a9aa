"""What the caller sees in each corner of a pool's life, on every launcher that has the corner."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import socket
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from anypool import (
    LauncherUnavailable,
    PoolClosed,
    RemoteError,
    TaskTimeout,
    Unserializable,
    WorkerLost,
    get_pool,
)

# Of launchers whose workers are ours; what an executor made by others does in these corners is its own affair.
OTHER_PROCESSES = ["process:2"]
ASYNCHRONOUS = ["thread:2", *OTHER_PROCESSES]


@pytest.fixture(params=["serial", *ASYNCHRONOUS])
def launcher(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def nap(seconds):
    time.sleep(seconds)
    return seconds


def touch_and_nap(path, seconds):
    Path(path).touch()
    time.sleep(seconds)


def drained(stream) -> tuple[list[Any], list[BaseException]]:
    values: list[Any] = []
    errors: list[BaseException] = []
    while True:
        try:
            values.append(next(stream))
        except StopIteration:
            return values, errors
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            errors.append(error)


# Leaving `with`.


def test_leaving_with_normally_finishes_asynchronous_work(launcher: str) -> None:
    with get_pool(launcher) as pool:
        mapped = pool.amap(nap, [0.001] * 30)
        calls = [pool.submit(nap, 0.001) for _ in range(30)]
    assert mapped.ready()
    assert mapped.get(0) == [0.001] * 30
    assert all(call.result(0) == 0.001 for call in calls)


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_leaving_with_by_an_exception_cancels_and_kills(launcher: str, within, wait_until, tmp_path) -> None:
    begun = tmp_path / "begun"
    with within(8), pytest.raises(KeyError), get_pool(launcher) as pool:  # noqa: PT012 - leaving is the test
        # Threads can't be killed: theirs end by themselves soon after.
        seconds = 3 if launcher.startswith("thread") else 100
        running = [pool.submit(touch_and_nap, str(begun), seconds) for _ in range(2)]
        waiting = [pool.submit(nap, 0) for _ in range(10)]
        mapped = pool.amap(nap, [0] * 10)
        wait_until(begun.exists)
        raise KeyError("mine")
    for result in [*running, *waiting, mapped]:
        with pytest.raises((CancelledError, WorkerLost)):
            result.result(1)


# Closing with a stream open.


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_after_close_and_join_a_stream_gives_what_is_finished_and_then_pool_closed(launcher: str, method: str) -> None:
    pool = get_pool(launcher)
    taken = []

    def items():
        for number in range(10**8):
            taken.append(number)
            yield number

    stream = getattr(pool, method)(abs, items())
    first = [next(stream) for _ in range(3)]
    pool.close()
    pool.join()
    read = len(taken)
    values, errors = drained(stream)
    assert len(taken) == read
    got = first + values
    assert (got if method == "imap" else sorted(got)) == list(range(len(got)))
    assert len(got) < 10**8
    assert [type(error) for error in errors] == [PoolClosed]


def test_after_close_an_exhausted_stream_just_ends(launcher: str) -> None:
    pool = get_pool(launcher)
    stream = pool.imap(abs, [1, 2, 3])
    assert list(stream) == [1, 2, 3]
    pool.close()
    pool.join()
    assert list(stream) == []


# Leaving a stream.


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_a_slot_that_an_abandoned_stream_holds_is_taken_back_when_it_is_needed(launcher: str, within) -> None:
    with contextlib.suppress(WorkerLost), get_pool(launcher) as pool:
        seconds = 4 if launcher.startswith("thread") else 100
        stream = pool.uimap(nap, [0, seconds, seconds])
        next(stream)
        del stream
        if launcher.startswith("multiprocess"):
            # A foreign executor can't end a running call; there the pool is terminated.
            pool.terminate()
            return
        with within(3.5):
            assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
        pool.terminate()


# The interpreter's end.


def test_at_interpreter_exit_asynchronous_work_finishes(launcher: str, run_script) -> None:
    text = """
        import os, sys, time
        from anypool import get_pool
        def say(path, number):
            time.sleep(0.01)
            with open(path, "a") as file:
                file.write(f"{number}\\n")
        pool = get_pool(sys.argv[1])
        pool.amap(say, ["out.txt"] * 20, range(20))
        for number in range(20, 30):
            pool.submit(say, "out.txt", number)
        half = pool.imap(abs, range(10**9))
        next(half)
        print(os.getcwd())
    """
    folder = Path(run_script(text, launcher).strip())
    assert sorted(map(int, (folder / "out.txt").read_text().split())) == list(range(30))


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_cuts_the_wait_at_exit_short(launcher: str, number: int, start_script, wait_until, within) -> None:
    script = start_script(
        """
        import sys, time, atexit
        from anypool import get_pool
        def nap(path):
            open(path, "w").close()
            time.sleep(100)
        pool = get_pool(sys.argv[1])
        results = [pool.submit(nap, "begun") for _ in range(4)]
        print("ready")
        """,
        launcher,
    )
    script.line()
    folder = Path(os.readlink(f"/proc/{script.process.pid}/cwd"))
    wait_until((folder / "begun").exists)
    script.process.send_signal(number)
    with within(13):
        script.finish()
    wait_until(lambda: not script.descendants(), 3)


def test_sigterm_keeps_its_default_disposition(launcher: str, start_script, wait_until) -> None:
    script = start_script(
        """
        import sys, time
        from anypool import get_pool
        pool = get_pool(sys.argv[1])
        pool.map(abs, range(10))
        print("ready")
        time.sleep(100)
        """,
        launcher,
    )
    script.line()
    script.process.terminate()
    assert script.process.wait(5) == -signal.SIGTERM
    wait_until(lambda: not script.descendants(), 3, "the workers' end")


# Errors in their place.


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_a_generator_that_raises_is_heard_after_the_results_before_it(launcher: str, method: str) -> None:
    def items():
        yield from range(50)
        raise KeyError("in the generator")

    with get_pool(launcher) as pool:
        values, errors = drained(getattr(pool, method)(abs, items()))
        assert sorted(values) == list(range(50))
        assert [type(error) for error in errors] == [KeyError]
        for call in (lambda: pool.map(abs, items()), lambda: pool.amap(abs, items()).get(10)):
            with pytest.raises(KeyError, match="in the generator"):
                call()


def test_of_several_errors_map_raises_the_lowest_and_starts_nothing_above(launcher: str, tmp_path) -> None:
    def note(number):
        (tmp_path / str(number)).touch()
        if number in (5, 6, 90):
            time.sleep(0.02 if number == 5 else 0)
            raise ValueError(number)
        return number

    with get_pool(launcher) as pool:
        for _ in range(3):
            with pytest.raises(ValueError) as caught:
                pool.map(note, range(100), chunksize=1)
            assert caught.value.args == (5,)
        begun = len(list(tmp_path.iterdir()))
        assert begun < 100  # The error of item 90 was known at the latest.
        pool.map(abs, range(10))
        assert len(list(tmp_path.iterdir())) == begun


def test_of_several_errors_imap_raises_each_in_its_place(launcher: str) -> None:
    def picky(number):
        if number % 10 == 3:
            raise ValueError(number)
        return number

    with get_pool(launcher) as pool:
        stream, seen = pool.imap(picky, range(100)), []
        while True:
            try:
                seen.append(next(stream))
            except ValueError as error:
                seen.append(-error.args[0])
            except StopIteration:
                break
        assert seen == [-number if number % 10 == 3 else number for number in range(100)]


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
def test_what_cannot_be_pickled_fails_where_it_belongs(launcher: str) -> None:
    with socket.socket() as culprit, get_pool(launcher) as pool:
        values, errors = drained(pool.imap(lambda x: 1, [1, culprit, 3]))
        assert values == [1, 1]
        assert [type(error) for error in errors] == [Unserializable]
        for method in (pool.map, pool.imap, pool.uimap, pool.amap):
            with pytest.raises(Unserializable):
                method(lambda x: culprit, [1])
        assert isinstance(pool.submit(id, culprit).exception(5), Unserializable)
        assert isinstance(pool.submit(lambda: culprit).exception(5), Unserializable)


# Tasks that end their worker.


@pytest.mark.parametrize("raised", [SystemExit(3), SystemExit("text"), GeneratorExit()])
def test_system_exit_in_a_task_is_a_remote_error(launcher: str, raised: BaseException) -> None:
    def leave(_):
        raise raised

    with get_pool(launcher) as pool:
        with pytest.raises(RemoteError) as caught:
            pool.map(leave, [1])
        assert caught.value.type_name == type(raised).__name__
        with pytest.raises(RemoteError):
            pool.submit(leave, 1).result(10)
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
@pytest.mark.parametrize(
    "end",
    [
        lambda: os._exit(7),
        lambda: os.kill(os.getpid(), signal.SIGSEGV),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
    ],
    ids=["os._exit", "segfault", "kill"],
)
def test_a_worker_that_ends_is_retried_twice_and_then_named(launcher: str, end, tmp_path) -> None:
    def note(number):
        with open(tmp_path / str(number), "a") as file:
            file.write("x")
        if number == 4:
            end()
        return number

    with get_pool(launcher) as pool:
        outcomes = pool.map(note, range(8), on_error="return")
        assert [outcome for outcome in outcomes if not isinstance(outcome, WorkerLost)] == [0, 1, 2, 3, 5, 6, 7]
        assert outcomes[4].item == 4
        assert pool.map(abs, range(5)) == list(range(5))
    if launcher == "process:2":
        # Once with others, when nobody could tell whose fault it was, or alone; then three times charged to it.
        assert (tmp_path / "4").read_text() in ("xxx", "xxxx")
        assert outcomes[4].cause in ("exited with code 7", *outcomes[4].cause.splitlines())
        assert "(3 attempts)" in str(outcomes[4])


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
def test_retries_of_zero_begin_nothing_twice(launcher: str, tmp_path) -> None:
    def note(number):
        with open(tmp_path / str(number), "a") as file:
            file.write("x")
        if number % 7 == 3:
            os._exit(1)
        return number

    with get_pool(launcher) as pool:
        outcomes = pool.map(note, range(20), retries=0, on_error="return")
    for number, outcome in enumerate(outcomes):
        assert (tmp_path / str(number)).exists() or isinstance(outcome, WorkerLost)
        assert not (tmp_path / str(number)).exists() or (tmp_path / str(number)).read_text() == "x"
        if number % 7 == 3:
            assert isinstance(outcome, WorkerLost)
            assert outcome.begun
    if launcher == "process:2":
        assert [outcome for outcome in outcomes if not isinstance(outcome, WorkerLost)] == [
            number for number in range(20) if number % 7 != 3
        ]


def test_an_item_that_fails_is_tried_as_often_as_asked(launcher: str, tmp_path) -> None:
    def flaky(number, folder):
        with open(Path(folder) / str(number), "a") as file:
            file.write("x")
        if len((Path(folder) / str(number)).read_text()) < 3:
            raise OSError(number)
        return number

    with get_pool(launcher) as pool:
        folder = str(tmp_path)
        assert pool.map(flaky, range(5), [folder] * 5, retries=2) == list(range(5))
        with pytest.raises(OSError):
            pool.map(flaky, [10], [folder], retries=1)
        with pytest.raises(OSError):
            pool.map(flaky, [20], [folder], retries=2, retry_on=(KeyError,))
        assert (tmp_path / "20").read_text() == "x"
        assert list(pool.imap(flaky, [30], [folder], retries=5, retry_on=OSError)) == [30]


def test_a_task_past_its_timeout_is_stopped_and_costs_only_itself(launcher: str, within) -> None:
    with get_pool(launcher) as pool:
        stuck = 3 if launcher.startswith(("serial", "thread", "multi")) else 100
        with within(12):
            outcomes = pool.map(nap, [0, stuck, 0.01], timeout=0.3, on_error="return")
            assert outcomes[0] == 0
            assert outcomes[2] == 0.01
            assert isinstance(outcomes[1], TaskTimeout)
            assert "item 1" in str(outcomes[1])
            with pytest.raises(TimeoutError):
                pool.map(nap, [stuck], timeout=0.1)
        assert pool.map(abs, [-1]) == [1]


# Want of descriptors and memory.


def test_with_too_few_descriptors_to_start_the_number_is_named_and_nothing_is_kept(run_script) -> None:
    text = """
        import os, resource
        from anypool import LauncherUnavailable, get_pool
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        with get_pool("process:2") as pool:
            print(pool.map(abs, [-1]))
        before = len(os.listdir("/proc/self/fd"))
        try:
            get_pool("process:30").map(abs, [1])
        except LauncherUnavailable as error:
            print("30" in str(error))
        import gc; gc.collect()
        print(len(os.listdir("/proc/self/fd")) - before)
        with get_pool("process:2") as pool:
            print(pool.map(abs, [-1]))
    """
    assert run_script(text) == "[1]\nTrue\n0\n[1]\n"


def test_without_descriptors_for_segments_large_data_goes_inline(run_script) -> None:
    text = """
        import os, resource
        from anypool import get_pool
        with get_pool("process:2") as pool:
            pool.map(abs, [1, 2])
            used = max(map(int, os.listdir("/proc/self/fd"))) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
            print([len(data) for data in pool.map(lambda data: data + data, [bytes(3_000_000)] * 4)])
            captured = bytes(2_000_000)
            print(pool.map(lambda _: len(captured), range(3)))
    """
    assert run_script(text) == f"{[6_000_000] * 4}\n{[2_000_000] * 3}\n"


def test_a_slow_first_item_does_not_make_an_ordered_stream_read_for_ever(launcher: str) -> None:
    read = []

    def items():
        for number in range(10**9):
            read.append(number)
            yield (bytes([number % 256]) * 10_000, 0.5 if number == 0 else 0)

    def work(item):
        time.sleep(item[1])
        return item[0]

    with get_pool(launcher) as pool:
        stream = pool.imap(work, items())
        assert next(stream) == bytes(10_000)
        # 64 MiB of results held back, and what is on its way.
        assert len(read) < 20_000
        del stream
        pool.terminate()


# Pools that travel.


def test_a_pickled_pool_is_one_and_the_same_in_one_process(launcher: str) -> None:
    with get_pool(launcher) as pool:
        assert pickle.loads(pickle.dumps(pool)) is pool
        again = pool.pipe(lambda first, second: first is second, pool, pickle.loads(pickle.dumps(pool)))
        assert again
        assert pool.pipe(lambda inner: inner.map(abs, [-1, 2]), pool) == [1, 2]
        assert pool.pipe(lambda inner: inner, pool) is pool
        assert pool.pipe(len, pool) == len(pool)


@pytest.mark.parametrize("launcher", ["serial", "thread:2"])
def test_serial_and_thread_pass_references(launcher: str) -> None:
    kept: list[int] = []
    with get_pool(launcher) as pool:
        pool.map(kept.append, range(3), chunksize=1)
        assert sorted(kept) == [0, 1, 2]
        thing = object()
        assert pool.pipe(lambda x: x, thing) is thing


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
def test_processes_pass_copies(launcher: str) -> None:
    kept = [1]
    with get_pool(launcher) as pool:
        assert pool.pipe(lambda x: x.__iadd__([2]), kept) == [1, 2]
    assert kept == [1]


# Cancelling.


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_what_has_not_begun_can_be_cancelled_and_what_runs_can_be_killed(launcher: str, wait_until, tmp_path) -> None:
    seconds = 3 if launcher.startswith("thread") else 100
    with get_pool(launcher) as pool:
        running = [pool.submit(touch_and_nap, str(tmp_path / str(at)), seconds) for at in range(len(pool))]
        wait_until(lambda: len(list(tmp_path.iterdir())) == len(pool))
        waiting = [pool.submit(nap, 0) for _ in range(50)]
        assert not running[0].cancel()
        assert waiting[-1].cancel()
        assert waiting[-1].cancelled()
        for result in running:
            assert result.kill()
            with pytest.raises((WorkerLost, CancelledError)):
                result.result(5)
        assert [result.result(10) for result in waiting[:-1]] == [0] * 49


# Options.


@pytest.mark.parametrize(
    "method",
    ["map", "imap", "uimap", "amap", "starmap", "istarmap", "uistarmap", "astarmap", "map_async", "imap_unordered"],
)
def test_an_unknown_option_is_refused_at_the_call(launcher: str, method: str) -> None:
    with get_pool(launcher) as pool, pytest.raises(TypeError, match="chunk_size"):
        getattr(pool, method)(abs, [(1,)], chunk_size=3)


@pytest.mark.parametrize("bad", [{"chunksize": "2"}, {"timeout": "soon"}, {"retries": 1.5}, {"on_error": "ignore"}])
def test_an_option_of_the_wrong_kind_is_refused_at_the_call(launcher: str, bad: dict[str, Any]) -> None:
    with get_pool(launcher) as pool:
        for method in (pool.map, pool.imap, pool.uimap, pool.amap):
            with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
                method(abs, [1], **bad)


def test_an_option_that_the_launcher_lacks_is_refused_before_anything_starts(launcher: str) -> None:
    with pytest.raises(TypeError, match="colour"):
        get_pool(launcher, colour="red")


@pytest.mark.parametrize("text", ["proces", "process:x", "process:", "", ":3", "process:0", "process:-1"])
def test_a_text_that_names_no_launcher_is_refused_in_words(text: str) -> None:
    with pytest.raises((ValueError, LookupError)) as caught:
        get_pool(text)
    assert str(caught.value)


def test_a_launcher_that_cannot_run_here_says_what_to_do(run_script) -> None:
    text = """
        import sys
        sys.modules["multiprocess"] = None
        from anypool import LauncherUnavailable, get_pool
        try:
            get_pool("multiprocess:2")
        except LauncherUnavailable as error:
            print("pip install" in str(error))
    """
    assert run_script(text) == "True\n"
    assert issubclass(LauncherUnavailable, RuntimeError)


# Worker options.


def test_a_worker_is_replaced_after_so_many_tasks() -> None:
    with get_pool("process:2", max_tasks_per_worker=5) as pool:
        pids = pool.map(lambda _: os.getpid(), range(40), chunksize=1)
    assert max(map(pids.count, pids)) <= 5
    assert len(set(pids)) >= 8


def test_a_worker_that_takes_too_much_memory_is_ended_and_named() -> None:
    def hoard(_):
        held = [bytearray(b"x" * (64 << 20)) for _ in range(8)]
        time.sleep(5)
        return len(held)

    with get_pool("process:1", max_memory_per_worker=200 << 20) as pool:
        with pytest.raises(WorkerLost, match="memory"):
            pool.map(hoard, [1], retries=0)
        assert pool.map(abs, [-1]) == [1]


def test_workers_start_with_the_environment_and_folder_that_were_asked_for(tmp_path) -> None:
    with get_pool("process:1", env={"FRUIT": "apple"}, cwd=tmp_path) as pool:
        assert pool.pipe(lambda: os.environ["FRUIT"]) == "apple"
        assert pool.pipe(lambda: os.environ["PATH"]) == os.environ["PATH"]
        assert pool.pipe(os.getcwd) == str(tmp_path)
    assert "FRUIT" not in os.environ


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_an_initializer_that_raises_ends_the_maps_and_is_named(launcher: str, within) -> None:
    def fail():
        raise RuntimeError("no licence")

    with within(20), pytest.raises(Exception, match=r"no licence|initializer"):  # noqa: SIM117 - the pool is inside
        with get_pool(launcher, initializer=fail) as pool:
            pool.map(abs, range(10))


# What a worker prints.


def test_what_a_worker_prints_reaches_the_callers_streams(run_script, start_script) -> None:
    text = """
        import os, sys
        from anypool import get_pool
        def shout(x):
            print("out", x)
            print("err", x, file=sys.stderr)
            os.write(1, b"raw\\n")
        with get_pool("process:1") as pool:
            pool.map(shout, [1, 2])
    """
    code, out, err = start_script(text).finish()
    assert code == 0
    assert sorted(out.split("\n")) == ["", "out 1", "out 2", "raw", "raw"]
    assert sorted(err.split("\n")) == ["", "err 1", "err 2"]


# Managers.


@pytest.mark.parametrize("module", ["multiprocessing", "multiprocess"])
def test_managers_proxies_are_task_arguments(launcher: str, module: str) -> None:
    managers = pytest.importorskip(module)

    def add(number, total, lock, queue, stop):
        with lock:
            total.value += number
        queue.put(number)
        return stop.is_set()

    with managers.Manager() as manager, get_pool(launcher) as pool:
        total, lock, queue, stop = manager.Value("i", 0), manager.Lock(), manager.Queue(), manager.Event()
        add_here = functools.partial(add, total=total, lock=lock, queue=queue, stop=stop)
        assert pool.map(add_here, range(10)) == [False] * 10
        assert total.value == 45
        assert sorted(queue.get(timeout=5) for _ in range(10)) == list(range(10))
    assert threading.active_count() < 20
    assert sys.modules[module] is managers
