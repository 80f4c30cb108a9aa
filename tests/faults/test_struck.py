"""A signal's handler may raise at any moment: it is heard, nobody waits for ever, and the pool works on."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from napping import ASYNCHRONOUS, nap  # type: ignore[import-not-found]

from anypool import Pool, WorkerLost, _result, get_pool

# On multiprocess most of them cost the start of new interpreters.
MOMENTS = {"serial": 40, "thread:2": 40, "process:2": 40, "multiprocess:2": 10}


class LateError(Exception):
    """What the handler of a time limit raises."""


def late(_number: int, _frame: FrameType | None) -> None:
    raise LateError


@pytest.fixture(autouse=True)
def _limited() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, late)
    yield
    signal.signal(signal.SIGUSR1, before)


def work(pool: Pool) -> None:
    assert pool.map(abs, range(-40, 0), chunksize=7) == list(range(40, 0, -1))
    assert [result.result() for result in [pool.submit(abs, -x) for x in range(5)]] == list(range(5))
    assert sorted(pool.uimap(abs, range(20))) == list(range(20))
    assert pool.amap(abs, range(9)).get() == list(range(9))


class Striker:
    """Sends this process the signal before the `at`-th bytecode of ours that the main thread runs."""

    def __init__(self, at: int) -> None:
        self.count, self.at, self.place = 0, at, ""

    def __enter__(self) -> Striker:
        # Python 3.12 gives no bytecodes unless some frame has asked for them before.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        if not str(frame.f_globals.get("__name__")).startswith("anypool."):
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                self.place = f"{frame.f_code.co_qualname} in {frame.f_globals['__name__']}, line {frame.f_lineno}"
                signal.raise_signal(signal.SIGUSR1)
        return self._step


def strike(pool: Pool, at: int) -> str:
    """Where it struck; empty if the work was done before."""
    striker = Striker(at)
    try:
        with striker:
            work(pool)
    except LateError:
        return striker.place
    assert not striker.place or "__del__" in striker.place, f"the exception is lost that struck {striker.place}"
    return ""


# Python itself tells of what is raised in a `__del__`, and drops it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "launcher, count",
    [
        *MOMENTS.items(),
        *(pytest.param(name, 200, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]) for name in MOMENTS),
    ],
)
def test_an_exception_of_a_handler_is_raised_and_the_next_map_is_right(launcher: str, count: int) -> None:
    moments = random.Random(launcher)
    with get_pool(launcher) as pool:
        with Striker(0) as all_of_it:
            work(pool)
        places = []
        for _ in range(count):
            places.append(strike(pool, moments.randrange(1, all_of_it.count)))
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, places[-1]
            work(pool)
    assert len({*filter(None, places)}) > count // 4


class StruckLock:
    """A lock whose first taker in the main thread is struck when it has it."""

    def __init__(self, lock: Any) -> None:
        self._lock, self._strikes = lock, True

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._strikes and threading.current_thread() is threading.main_thread():
            self._strikes = False
            signal.raise_signal(signal.SIGUSR1)

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


def test_a_handler_that_strikes_where_a_lock_is_taken_leaves_nothing_behind() -> None:
    with get_pool("multiprocess:1") as pool:
        assert pool.map(abs, [-1]) == [1]
        crew: Any = pool._engine().crew
        crew._lock = StruckLock(crew._lock)
        with pytest.raises(LateError):
            pool.map(abs, [-2])
        assert pool.map(abs, [-3]) == [3]


class StruckOnTheWayOut(StruckLock):
    """One whose first taker in the main thread is struck before it is given back."""

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        if self._strikes and threading.current_thread() is threading.main_thread():
            self._strikes = False
            signal.raise_signal(signal.SIGUSR1)
        self._lock.release()


def test_a_handler_that_strikes_on_the_way_out_of_the_lock_of_all_results_leaves_it_free(monkeypatch) -> None:
    lock = threading.RLock()
    monkeypatch.setattr(_result, "_making", StruckOnTheWayOut(lock))
    with get_pool("process:1") as pool:
        with pytest.raises(LateError):
            pool.pipe(abs, -1)
        assert not lock._is_owned()  # type: ignore[attr-defined]
        assert pool.submit(abs, -2).result(10) == 2


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_what_others_wait_for_ends_when_a_handler_tears_the_pools_state(launcher: str, within) -> None:
    with get_pool(launcher) as pool:
        engine = pool._engine()
        assert pool.map(abs, [-1]) == [1]
        done = pool.stats()["tasks"]
        engine.desk.add_lane = lambda lane: signal.raise_signal(signal.SIGUSR1)  # type: ignore[method-assign]
        slow = pool.submit(nap, 2)
        with within(3):
            with pytest.raises(LateError):
                pool.map(abs, [1])
            with pytest.raises(WorkerLost, match="the exception of a signal's handler"):
                slow.result()
            assert pool.map(abs, [-3]) == [3]
        assert pool.stats()["tasks"] > done
