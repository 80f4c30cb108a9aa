"""Executors that a user made keep the contract behind `get_pool(executor)`."""

from collections.abc import Iterator
from concurrent.futures import Executor

import pytest

from anypool.testing import LauncherTests


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """The executors live on from test to test; what pools leave is among the kit's own tests."""


@pytest.fixture(scope="module")
def loky() -> Iterator[Executor]:
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def executorlib() -> Iterator[Executor]:
    from executorlib import SingleNodeExecutor

    with SingleNodeExecutor(max_workers=2, block_allocation=True) as executor:
        yield executor


@pytest.fixture(scope="module")
def dask() -> Iterator[Executor]:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client.get_executor(pure=False)


class TestLoky(LauncherTests):
    @pytest.fixture
    def launcher(self, loky: Executor) -> Executor:
        return loky


class TestExecutorlib(LauncherTests):
    @pytest.fixture
    def launcher(self, executorlib: Executor) -> Executor:
        return executorlib


class TestDask(LauncherTests):
    @pytest.fixture
    def launcher(self, dask: Executor) -> Executor:
        return dask
