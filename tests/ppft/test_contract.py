"""The contract of a mix in which workers of ppft take part."""

from typing import ClassVar

import pytest

from anypool.testing import LauncherTests


@pytest.mark.slow
class TestMix(LauncherTests):
    deviations: ClassVar[dict[str, str]] = {
        "test_tasks_run_where_the_workers_are_said_to_be": "an executor does not tell which process runs a call"
    }

    @pytest.fixture
    def launcher(self) -> str:
        return "process:1 + parallel-python:1"
