"""Executors that fail in ways the library's own never do: everything has an outcome, and runs once at a time."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, ClassVar

import pytest

from anypool import Launcher, Pool, Result, WorkerLost, get_pool
from anypool._adapter import ExecutorCrew
from anypool._aside import Aside
from anypool._calls import Calls
from anypool._chunk import Chunk, Job
from anypool._crew import Event, Gained, Lost
from anypool._packing import pack_plain
from anypool._slot import Flight


@dataclass(frozen=True, kw_only=True)
class Foreign(Launcher):
    name: ClassVar[str] = "foreign"
    make: Callable[[], Executor]

    def launch(self) -> Executor:
        return self.make()


def over(make: Callable[[], Executor], workers: int) -> Pool:
    return get_pool(Foreign(workers=workers, make=make))


class Breaking(Executor):
    """Every call finds it broken."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("its workers are gone"))
        return future


class Gate:
    """A call that ends when the gate is open; it is not copied on its way to a thread of this process."""

    every: ClassVar[list[Gate]] = []

    def __init__(self) -> None:
        self.open = threading.Event()
        self.every.append(self)

    def __reduce__(self) -> tuple[Callable[[int], Gate], tuple[int]]:
        return gate_number, (self.every.index(self),)

    def __call__(self) -> bool:
        return self.open.wait(30)


def gate_number(at: int) -> Gate:
    return Gate.every[at]


class Makes:
    """Makes what it is told, one after the other; the last again and again."""

    def __init__(self, *made: Callable[[], Executor] | BaseException) -> None:
        self.made = list(made)

    def __call__(self) -> Executor:
        made = self.made.pop(0) if len(self.made) > 1 else self.made[0]
        if isinstance(made, BaseException):
            raise made
        return made()


def one_thread() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.mark.parametrize("failure", [OSError("out of ports"), SystemExit(3)], ids=["error", "exit"])
def test_a_broken_executor_that_cannot_be_made_anew_at_once_is_made_a_little_later(failure: BaseException) -> None:
    with over(Makes(Breaking, failure, one_thread), 2) as pool:
        results = [pool.submit(abs, -1), pool.submit(abs, -2)]
        assert [result.result(10) for result in results] == [1, 2]


def test_an_executor_that_can_never_be_made_anew_ends_the_pool_with_the_reason() -> None:
    with over(Makes(Breaking, OSError("out of ports")), 2) as pool:
        with pytest.raises(WorkerLost, match="out of ports"):
            pool.submit(abs, -1).result(10)
        with pytest.raises(WorkerLost, match="out of ports"):
            pool.submit(abs, -2).result(10)


class Stubborn(Breaking):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        raise OSError("nobody listens")


def test_losses_are_told_though_a_broken_executor_cannot_be_shut_down() -> None:
    with over(Makes(Stubborn, one_thread), 2) as pool:
        assert pool.submit(abs, -1).result(10) == 1


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), OSError("gone")], ids=repr)
def test_what_is_done_aside_goes_on_after_an_action_that_raises(raised: BaseException, caplog) -> None:
    def leave() -> None:
        raise raised

    aside, done = Aside(), threading.Event()
    aside.call(leave)
    aside.call(done.set)
    assert done.wait(10)
    aside.end(10)
    assert repr(raised) in repr([record.exc_info for record in caplog.records])


def test_a_pool_that_grows_while_a_slot_closes_has_as_many_as_asked() -> None:
    gates = [Gate() for _ in range(6)]
    with over(lambda: ThreadPoolExecutor(6), 6) as pool:
        results = [pool.submit(gate) for gate in gates]
        for gate, result in zip(gates[:5], results, strict=False):
            gate.open.set()
            assert result.result(10)
        pool.resize(1)
        pool.resize(2)
        gates[5].open.set()
        assert results[5].result(10)
        assert pool.pipe(abs, -1) == 1
        assert len(pool.workers()) == 2


class Manual(Executor):
    """Calls begin when they are submitted, and end when the test says so."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self.futures.append(future)
        return future


def send_call(crew: ExecutorCrew, slot: int, seq: int) -> None:
    body, mode, payload, _ = crew.pack_call(abs, (-1,), {})
    crew.send(slot, Flight(Chunk(Job(0, mode, body), Calls(), 0, 1, pack_plain([payload]), size=1), seq, 0.0))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slot_that_is_away_comes_back_only_if_it_is_still_wanted(workers: int) -> None:
    executor, events = Manual(), SimpleQueue[Event]()
    crew = ExecutorCrew("foreign", executor, Manual, 2)

    def deliver(told: list[Event]) -> None:
        for event in told:
            events.put(event)

    assert crew.start(deliver) == [0, 1]
    send_call(crew, 0, 1)
    crew.kill(0)
    assert isinstance(events.get(timeout=10), Lost)
    assert not crew.renew(0)
    assert crew.resize(workers) == []
    executor.futures[0].set_result(b"")
    crew.kill(1)
    told = [events.get(timeout=10) for _ in range(workers)]
    crew.close()
    assert [type(event) for event in told] == [Gained, Lost][2 - workers :]


class Outer(ThreadPoolExecutor):
    """Hands out futures of its own, which the test can fail."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        outer: Future[Any] = Future()
        self.futures.append(outer)

        def done(inner: Future[Any]) -> None:
            if not outer.done():
                outer.set_result(inner.result(0))

        super().submit(fn, *args, **kwargs).add_done_callback(done)
        return outer


class Stage:
    """Where calls of `act` wait for their cue, and how often each began."""

    began: ClassVar[Counter[str]] = Counter()
    cues: ClassVar[dict[str, threading.Event]] = {}


def act(name: str) -> str:
    Stage.began[name] += 1
    assert Stage.cues[name].wait(30)
    return name


@pytest.fixture
def two_on_a_slot(wait_until) -> Callable[[Pool], list[Result[str]]]:
    """Calls A and B run on one slot, C on the other, where D waits."""

    def start(pool: Pool) -> list[Result[str]]:
        Stage.began.clear()
        Stage.cues.update({name: threading.Event() for name in ["known", *"ABCD"]})
        Stage.cues["known"].set()
        for _ in range(30):
            pool.pipe(act, "known")
        results = [pool.submit(act, name) for name in "ACBD"]
        wait_until(lambda: Stage.began.keys() == {"known", *"ABC"})
        return results

    return start


def test_what_runs_beside_a_killed_call_on_its_slot_is_not_begun_again(two_on_a_slot) -> None:
    with over(lambda: ThreadPoolExecutor(3), 2) as pool:
        killed, *others = two_on_a_slot(pool)
        assert killed.kill()
        for name in "CDB":
            Stage.cues[name].set()
        assert [result.result(10) for result in others] == ["C", "B", "D"]
        with pytest.raises(WorkerLost):
            killed.result(10)
        Stage.cues["A"].set()
        assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    assert [Stage.began[name] for name in "ABCD"] == [1, 1, 1, 1]


def test_what_runs_beside_a_call_that_fails_alone_is_not_begun_again(two_on_a_slot) -> None:
    executors: list[Outer] = []

    def make() -> Executor:
        executors.append(Outer(3))
        return executors[-1]

    with over(make, 2) as pool:
        results = two_on_a_slot(pool)
        executors[0].futures[-4].set_exception(RuntimeError("the worker of this call is gone"))
        for name in "ACDB":
            Stage.cues[name].set()
        assert [result.result(10) for result in results] == ["A", "C", "B", "D"]
    assert [Stage.began[name] for name in "ABCD"] == [2, 1, 1, 1]


class Chained(Executor):
    """Nothing ends before a call is cancelled; as that of dask, that waits for the thread that tells of another one."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.told: list[bool] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = Chain(self)
        self.calls.append((future, partial(fn, *args, **kwargs)))
        return future

    def tell_first(self) -> None:
        first, call = self.calls[0]
        teller = threading.Thread(target=lambda: first.set_result(call()), daemon=True)
        teller.start()
        teller.join(5)
        self.told.append(not teller.is_alive())


class Chain(Future[Any]):
    def __init__(self, executor: Chained) -> None:
        super().__init__()
        self.executor = executor

    def cancel(self) -> bool:
        if not self.executor.told:
            self.executor.tell_first()
        return super().cancel()


def test_a_call_is_cancelled_while_another_ones_result_is_told() -> None:
    executor = Chained()
    with over(lambda: executor, 2) as pool:
        first, second = pool.submit(abs, -1), pool.submit(abs, -2)
        assert second.kill()
        assert first.result(10) == 1
        with pytest.raises(WorkerLost):
            second.result(10)
    assert executor.told == [True]


kept: list[Pool] = []


def open_and_keep() -> list[int]:
    kept.append(get_pool("multiprocess:1"))
    return kept[-1].map(abs, [-1])


def test_a_worker_of_a_standard_pool_ends_though_a_task_left_a_pool_open(within) -> None:
    with (
        within(30),
        ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as executor,
        get_pool(executor) as pool,
    ):
        assert pool.pipe(open_and_keep) == [1]
