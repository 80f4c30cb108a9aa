"""Results as arguments of calls: who waits for whom, and what keeps nobody waiting for ever."""

from __future__ import annotations

import gc
import operator
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest

from anypool import InputFailed, Pool, PoolClosed, Result, Unserializable, get_pool

LAUNCHERS = ["serial", "thread:2", "process:2", "multiprocess:2", "process:1 + thread:1", "process:1/process:1"]
ASYNCHRONOUS = LAUNCHERS[1:]
LIMIT = 30
FORGETFUL = """
import pathlib, sys, time
from anypool import get_pool
first, second = map(get_pool, sys.argv[1:3])
made = first.submit(time.sleep, 0.3)
last = second.submit(str, first.submit(repr, second.submit(repr, made)))
second.submit(lambda path, _: pathlib.Path(path).touch(), sys.argv[3], last)
"""


@pytest.fixture(params=LAUNCHERS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with get_pool(request.param) as pool:
        yield pool


def wait_for(path: Path) -> str:
    limit = time.monotonic() + LIMIT
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.005)
    return path.name


def until(done: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < limit
        time.sleep(0.002)


class Costly:
    """Can't be sent."""

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


def test_a_chain_of_a_thousand_comes_to_its_end(pool: Pool) -> None:
    last = pool.submit(abs, 0)
    for _ in range(1000):
        last = pool.submit(operator.add, last, 1)
    assert last.result(LIMIT) == 1000


def test_a_chain_of_a_thousand_comes_to_its_end_while_nobody_waits(pool: Pool) -> None:
    last = pool.submit(len, pool.submit(repr, pool.submit(time.sleep, 0.05)))
    for _ in range(1000):
        last = pool.submit(operator.add, last, 1)
    until(last.done)
    assert last.result(0) == 1004


def test_a_chain_through_two_pools_comes_to_its_end(pool: Pool) -> None:
    with get_pool("process:1") as other:
        last = pool.submit(abs, 0)
        for _ in range(50):
            last = pool.submit(operator.add, other.submit(operator.add, last, 1), 1)
        assert last.result(LIMIT) == 100


def test_a_thousand_calls_may_wait_for_one_result(pool: Pool, tmp_path: Path) -> None:
    first = pool.submit(time.sleep, 0.05)
    results = [pool.submit(operator.is_, first, None) for _ in range(1000)]
    assert all(result.result(LIMIT) for result in results)
    total: Result[Any] = pool.submit(lambda *them: len(them), *results)
    assert total.result(LIMIT) == 1000


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_what_waits_for_an_input_keeps_no_worker(launcher: str, tmp_path: Path) -> None:
    with get_pool("thread:1") as other, get_pool(launcher) as pool:
        slow = other.submit(wait_for, tmp_path / "go")
        waiting = [pool.submit(len, slow) for _ in range(20)]
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
        assert pool.pipe(abs, -1) == 1
        assert not any(result.done() for result in waiting)
        assert pool.stats()["waiting"] == 20
        (tmp_path / "go").touch()
        assert [result.result(LIMIT) for result in waiting] == [2] * 20
        assert pool.stats()["waiting"] == 0


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_a_pool_that_is_closed_waits_for_what_waits_for_another_pool(launcher: str, tmp_path: Path) -> None:
    with get_pool("process:1") as other:
        pool = get_pool(launcher)
        results = [pool.submit(len, other.submit(wait_for, tmp_path / "go")) for _ in range(3)]
        pool.close()
        with pytest.raises(PoolClosed):
            pool.submit(len, results[0])
        threading.Timer(0.1, (tmp_path / "go").touch).start()
        started = time.monotonic()
        pool.join()
        # Nobody slept until the next look.
        assert time.monotonic() - started < 5
        assert [result.result(0) for result in results] == [2] * 3


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_cancelling_the_last_call_that_waits_ends_a_join(launcher: str, tmp_path: Path) -> None:
    with get_pool("thread:1") as other:
        pool = get_pool(launcher)
        waiting = pool.submit(len, other.submit(wait_for, tmp_path / "go"))
        pool.close()
        joining = threading.Thread(target=pool.join)
        joining.start()
        assert waiting.cancel()
        joining.join(LIMIT)
        assert not joining.is_alive()
        (tmp_path / "go").touch()


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_a_callback_may_wait_for_calls_that_wait_for_another_pool(launcher: str, tmp_path: Path) -> None:
    found: list[Any] = []
    with get_pool("process:1") as other, get_pool(launcher) as pool:
        inputs = [other.submit(wait_for, tmp_path / "go") for _ in range(3)]
        last = pool.submit(len, pool.submit(operator.concat, inputs[0], inputs[2]))
        pool.submit(abs, -1).add_done_callback(lambda _: found.append(last.result(LIMIT)))
        time.sleep(0.05)
        (tmp_path / "go").touch()
        until(lambda: bool(found))
    assert found == [4]


@pytest.mark.parametrize("size", [1, 2])
def test_threads_that_all_wait_for_graphs_of_their_pool_do_them_themselves(size: int) -> None:
    with get_pool(f"thread:{size}") as pool:

        def grow(depth: int) -> int:
            if depth == 0:
                return 1
            left, right = pool.submit(grow, depth - 1), pool.submit(grow, depth - 1)
            return int(pool.submit(operator.add, left, right).result(LIMIT))

        assert pool.submit(grow, 5).result(LIMIT) == 32


def test_a_result_that_is_there_is_used_at_once_and_a_failed_one_raises_at_once(pool: Pool) -> None:
    done, failed = pool.submit(abs, -1), pool.submit(int, "x")
    wait([done, failed], LIMIT)
    threads = threading.active_count()
    assert pool.submit(operator.add, done, done).result(LIMIT) == 2
    assert isinstance(pool.submit(abs, failed).exception(0), InputFailed)
    with pytest.raises(InputFailed, match=r"argument 0 of abs\(\) did not come.*ValueError: invalid literal"):
        pool.pipe(abs, failed)
    assert threading.active_count() == threads


def test_the_value_of_an_input_that_cannot_be_sent_on_is_the_call_s_error() -> None:
    with get_pool("process:1") as pool, get_pool("thread:1") as other:
        costly = other.submit(time.sleep, 0.02)
        made = other.submit(lambda _: Costly(), costly)
        error = pool.submit(repr, made).exception(LIMIT)
        assert isinstance(error, Unserializable)
        assert "stays here" in str(error)


def test_a_result_that_is_the_value_of_another_is_refused() -> None:
    with get_pool("thread:2") as pool:
        given = pool.submit(lambda: pool.submit(abs, -1))
        with pytest.raises(Unserializable, match="return its value"):
            pool.submit(repr, given).result(LIMIT)


def test_what_is_not_a_function_is_refused_before_its_inputs_come(pool: Pool) -> None:
    with pytest.raises(TypeError, match="what to call"):
        pool.submit(3, pool.submit(abs, -1))  # type: ignore[call-overload]


def test_an_error_of_an_input_survives_pickling() -> None:
    def nest() -> Any:
        with get_pool("serial") as inner:
            return inner.pipe(abs, inner.submit(int, "x"))

    with get_pool("process:1") as pool:
        error = pool.submit(nest).exception(LIMIT)
        assert isinstance(error, InputFailed)
        assert error.argument == 0
        after = pool.submit(repr, pool.submit(nest)).exception(LIMIT)
    assert isinstance(after, InputFailed)
    assert after.__cause__ is not None
    assert type(after.__cause__) is InputFailed


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_the_end_of_an_input_s_pool_ends_what_waits_for_it(launcher: str, tmp_path: Path) -> None:
    other = get_pool("process:1")
    with get_pool(launcher) as pool:
        slow = other.submit(wait_for, tmp_path / "never")
        queued = [other.submit(abs, slow) for _ in range(3)]
        waiting = [pool.submit(repr, each) for each in (slow, *queued)]
        other.terminate()
        errors = [each.exception(LIMIT) for each in waiting]
    assert all(isinstance(error, InputFailed) for error in errors)
    assert all(isinstance(error.__cause__, CancelledError) for error in errors if error)


def test_many_threads_may_build_cancel_and_wait_at_once() -> None:
    with get_pool("thread:2") as first, get_pool("process:2") as second:
        ended: list[int] = []

        def use(number: int) -> None:
            for turn in range(40):
                a = first.submit(operator.add, number, turn)
                b = second.submit(operator.mul, a, 2)
                c, d = first.submit(operator.sub, b, a), second.submit(operator.sub, b, a)
                if turn % 4 == 3:
                    b.cancel()
                try:
                    assert c.result(LIMIT) == d.result(LIMIT) == number + turn
                except InputFailed:
                    assert b.cancelled()
                ended.append(turn)

        threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        assert len(ended) == 240
        until(lambda: first.stats()["waiting"] == second.stats()["waiting"] == 0)


@pytest.mark.parametrize("names", ["process:1 thread:1", "thread:1 process:1", "multiprocess:1 process:1"])
def test_a_script_that_closes_no_pool_ends_when_all_calls_that_wait_are_done(names: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL, *names.split(), str(tmp_path / "done")],
        capture_output=True, text=True, timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "done").exists()


def test_an_interrupt_ends_the_wait_for_a_call_that_waits_and_not_the_pool() -> None:
    with get_pool("process:1") as other, get_pool("process:1") as pool:
        slow = other.submit(time.sleep, 1)
        waiting = pool.submit(repr, slow)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            waiting.result(LIMIT)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            pool.pipe(repr, slow)
        assert waiting.result(LIMIT) == "None"


@pytest.mark.parametrize("launcher", ["thread:2", "process:2"])
def test_an_input_that_lives_on_keeps_nothing_of_the_calls_after_it(launcher: str) -> None:
    with get_pool(launcher) as pool:
        first = pool.submit(time.sleep, 0.02)
        after = pool.submit(repr, first)
        assert after.result(LIMIT) == "None"
        known = weakref.ref(after)
        del after

        def forgotten() -> bool:
            gc.collect()
            return known() is None

        until(forgotten)
        assert first.done()
