"""Threads of the standard library keep the contract as far as somebody else's can."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from anypool.testing import LauncherTests


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay with their owner, so whether they are gone soon after a pool has been tells nothing."""
    monkeypatch.setattr("anypool.testing._remains._SECONDS", 0.5)


class TestThreads(LauncherTests):
    @pytest.fixture
    def launcher(self) -> Iterator[Executor]:
        with ThreadPoolExecutor(2) as executor:
            yield executor
