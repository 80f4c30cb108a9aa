"""What the caller sees in each corner of a pool's life, on every launcher that has the corner."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from napping import ASYNCHRONOUS, OTHER_PROCESSES, nap, touch_and_nap  # type: ignore[import-not-found]

from anypool import (
    PoolClosed,
    Unserializable,
    WorkerLost,
    get_pool,
)


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


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_a_slot_that_an_abandoned_stream_holds_is_taken_back_when_it_is_needed(launcher: str, within) -> None:
    with contextlib.suppress(WorkerLost), get_pool(launcher) as pool:
        seconds = 4 if launcher.startswith("thread") else 100
        stream = pool.uimap(nap, [0, seconds, seconds])
        next(stream)
        del stream
        with within(3.5):
            assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))
        pool.terminate()


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
def test_at_interpreter_exit_work_finishes_whose_pool_nobody_has_kept(launcher: str, run_script) -> None:
    text = """
        import os, sys, time
        from anypool import get_pool
        def say(path, number):
            time.sleep(0.1)
            with open(path, "a") as file:
                file.write(f"{number}\\n")
        kept = get_pool(sys.argv[1]).amap(say, ["out.txt"] * 5, range(5))
        call = get_pool(sys.argv[1]).submit(say, "out.txt", 5)
        print(os.getcwd())
    """
    folder = Path(run_script(text, launcher).strip())
    assert sorted(map(int, (folder / "out.txt").read_text().split())) == list(range(6))


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_what_an_interrupted_script_started_is_not_waited_for(launcher: str, start_script, wait_until, within) -> None:
    script = start_script(
        """
        import sys, time
        from anypool import get_pool
        pool = get_pool(sys.argv[1])
        results = [pool.submit(time.sleep, 100) for _ in range(4)]
        print("ready")
        raise KeyboardInterrupt
        """,
        launcher,
    )
    script.line()
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


def test_a_pickled_pool_is_one_and_the_same_in_one_process(launcher: str) -> None:
    with get_pool(launcher, oversubscribe=True) as pool:
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
