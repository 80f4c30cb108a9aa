"""Executors of dask keep the contract behind `get_pool(executor)`, as far as somebody else's can."""

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import pytest

from anypool.testing import LauncherTests

_WORKERS = 2
_SETTINGS = {
    # Read at the first import, as the last one is: it tells of each worker that comes and goes.
    "logging.distributed": "critical",
    # Or what ends its worker ends three more of them.
    "distributed.scheduler.allowed-failures": 0,
    # Or a worker that ends twice within 15 s may get no successor.
    "distributed.deploy.lost-worker-timeout": "1h",
    # Or a worker takes seconds to come.
    "distributed.worker.multiprocessing-method": "forkserver",
}


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """The cluster lives on from test to test; what pools leave is among the kit's own tests."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    import dask

    with dask.config.set(_SETTINGS):
        from distributed import Client, LocalCluster

        options = {"n_workers": _WORKERS, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster) as client:
            yield client


@pytest.fixture(scope="module")
def executor(client: Any) -> Executor:
    executor: Executor = client.get_executor(pure=False)
    return executor


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sending large graph")
class TestDask(LauncherTests):
    @pytest.fixture
    def launcher(self, client: Any, executor: Executor) -> Executor:
        # As many as there are now is the size of a pool.
        client.wait_for_workers(_WORKERS, timeout=20)
        return executor
