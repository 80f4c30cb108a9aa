"""Executors of executorlib keep the contract behind `get_pool(executor)`, as far as somebody else's can."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from unittest import mock

import pytest

from anypool.testing import LauncherTests

_WORKERS = 2
_START_SECONDS = 20
# Whose tests end workers, which executorlib does not replace.
_FATAL = ("Faults.", "Claims.")


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """An executor lives on from test to test; what pools leave is among the kit's own tests."""


@contextmanager
def _opened() -> Iterator[Executor]:
    from executorlib import SingleNodeExecutor

    # It puts the working folder on the path of whatever is started later.
    with mock.patch.dict(os.environ):
        # The thread that resolves dependencies ends when what it has is cancelled; a pool has no use for it.
        executor: Executor = SingleNodeExecutor(_WORKERS, block_allocation=True, disable_dependencies=True)
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


@pytest.fixture(scope="module")
def shared() -> Iterator[Executor]:
    with _opened() as executor:
        # Each worker is started when the one before it is there: what is open is counted once all are.
        limit, seen = time.monotonic() + _START_SECONDS, set[int]()
        while len(seen) < _WORKERS:
            assert time.monotonic() < limit
            seen.add(executor.submit(os.getpid).result(_START_SECONDS))
        yield executor


@pytest.mark.slow
class TestExecutorlib(LauncherTests):
    @pytest.fixture
    def launcher(self, request: pytest.FixtureRequest, shared: Executor) -> Iterator[Executor]:
        if not request.function.__qualname__.startswith(_FATAL):
            yield shared
            return
        with _opened() as executor:
            yield executor
