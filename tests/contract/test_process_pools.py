"""Process pools of others keep the contract behind `get_pool(executor)`, as far as somebody else's can."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor

import pytest

from anypool.testing import LauncherTests


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """The executors live on from test to test; what pools leave is among the kit's own tests."""


class _Kept:
    """One executor for all tests, made anew when a test has broken it."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._made: Executor | None = None

    def get(self) -> Executor:
        if self._made is not None:
            try:
                self._made.submit(abs, 1).result(5)
            except (BrokenExecutor, RuntimeError, TimeoutError):
                self.end()
        if self._made is None:
            self._made = self._make()
        return self._made

    def end(self) -> None:
        if self._made is not None:
            self._made.shutdown(wait=False)
            self._made = None


@pytest.fixture(scope="class")
def kept(request: pytest.FixtureRequest) -> Iterator[_Kept]:
    kept = _Kept(request.cls.make)
    yield kept
    kept.end()


class TestLoky(LauncherTests):
    @staticmethod
    def make() -> Executor:
        from loky import ProcessPoolExecutor

        executor: Executor = ProcessPoolExecutor(2)
        return executor

    @pytest.fixture
    def launcher(self, kept: _Kept) -> Executor:
        return kept.get()


class TestStandard(LauncherTests):
    @staticmethod
    def make() -> Executor:
        return ProcessPoolExecutor(2, multiprocessing.get_context("forkserver"))

    @pytest.fixture
    def launcher(self, kept: _Kept) -> Executor:
        return kept.get()
