"""The contract of workers of a ppserver, and of a mix in which workers of ppft take part."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from ppft_serving import PpServer, secret_file  # type: ignore[import-not-found]

from anypool import Launcher, ParallelPython
from anypool.testing import LauncherTests


@pytest.fixture(scope="module")
def server() -> Iterator[PpServer]:
    server = PpServer(2)
    yield server
    server.end()


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(secret_file(Path(tmp_path_factory.mktemp("secret"))))


@pytest.mark.slow
class TestServers(LauncherTests):
    deviations: ClassVar[dict[str, str]] = {
        "test_a_pool_can_be_resized": "resize() says how many workers there are beside those of the servers"
    }

    @pytest.fixture
    def launcher(self, server: PpServer, secret: str) -> Launcher:
        return ParallelPython(0, servers=(server.address,), secret_file=secret)


@pytest.mark.slow
class TestMix(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "process:1 + parallel-python:1"
