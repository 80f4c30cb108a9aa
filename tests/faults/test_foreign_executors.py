"""Executors that fail in ways the library's own never do: everything has an outcome, and runs once at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from anypool import Launcher, Pool, WorkerLost, get_pool
from anypool._aside import Aside


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
