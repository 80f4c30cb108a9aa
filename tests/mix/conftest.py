"""Mixes to test on, and what tasks tell of where they ran."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

MIXES = ["process:1 + thread:1", "process:1 + process:1", "process:1 + multiprocess:1", "thread:1 + thread:1"]


@pytest.fixture(scope="module", params=MIXES)
def mix(request: pytest.FixtureRequest) -> str:
    """The text of a mix of two groups with a worker each."""
    text: str = request.param
    return text


@pytest.fixture
def owner() -> int:
    """The process of the test, which threads share."""
    return os.getpid()
