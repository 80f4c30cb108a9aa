"""Launcher `process` keeps the contract."""

import pytest

from anypool.testing import LauncherTests


class TestProcess(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "process:2"
