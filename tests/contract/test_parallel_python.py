"""Launcher `parallel-python` keeps the contract."""

import pytest

from anypool.testing import LauncherTests


class TestParallelPython(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "parallel-python:2"
