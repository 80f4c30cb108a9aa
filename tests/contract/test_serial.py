"""Launcher `serial` keeps the contract."""

import pytest

from anypool.testing import LauncherTests


class TestSerial(LauncherTests):
    @pytest.fixture
    def launcher(self) -> str:
        return "serial"
