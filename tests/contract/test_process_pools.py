"""Executors of other libraries keep the contract behind `get_pool(executor)`, as far as somebody else's can."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor

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


@pytest.fixture(scope="module")
def loky() -> Iterator[_Kept]:
    from loky import ProcessPoolExecutor

    kept = _Kept(lambda: ProcessPoolExecutor(2))
    yield kept
    kept.end()


class TestLoky(LauncherTests):
    @pytest.fixture
    def launcher(self, loky: _Kept) -> Executor:
        return loky.get()
