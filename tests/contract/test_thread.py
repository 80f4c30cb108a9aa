"""Launcher `thread` keeps the contract."""

import pytest

from anypool.testing import LauncherTests


class TestThread(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "thread:2"
