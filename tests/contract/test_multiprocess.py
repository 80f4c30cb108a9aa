"""Launcher `multiprocess` keeps the contract."""

import pytest

from anypool.testing import LauncherTests


class TestMultiprocess(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "multiprocess:2"
