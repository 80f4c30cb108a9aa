import pytest

from anypool.testing import LauncherTests


class TestForkServer(LauncherTests):
    deviations = {"test_a_script_needs_no_main_guard": "multiprocessing imports the main module in each worker"}

    @pytest.fixture
    def launcher(self):
        return "forkserver:2"
