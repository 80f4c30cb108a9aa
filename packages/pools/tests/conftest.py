"""Lets the tests of this folder import what stands beside them, and proves that one leaves nothing behind."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from owner import children  # type: ignore[import-not-found]


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    gc.collect()
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))
    yield
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
