"""Executors of the standard library keep the contract as far as somebody else's can."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver

import pytest

from anypool.testing import LauncherTests


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """The server of all process pools, which stays."""
    forkserver.ensure_running()


@pytest.mark.slow
class TestProcesses(LauncherTests):
    @pytest.fixture
    def launcher(self) -> Iterator[Executor]:
        # Another one for each test: one that broke stays broken.
        with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as executor:
            yield executor


class TestThreads(LauncherTests):
    @pytest.fixture
    def launcher(self) -> Iterator[Executor]:
        with ThreadPoolExecutor(2) as executor:
            yield executor
