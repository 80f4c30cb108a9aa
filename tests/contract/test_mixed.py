"""A mix of a process and a thread keeps the contract."""

import pytest

from anypool.testing import LauncherTests


class TestMixed(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "process:1 + thread:1"
