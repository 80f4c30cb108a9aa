"""A path keeps the contract: what is behind hubs is one flat pool."""

import pytest

from anypool.testing import LauncherTests


class TestHub(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "process:2/process:1?oversubscribe=true"


class TestHubOfThreads(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "process:1/thread:1"
