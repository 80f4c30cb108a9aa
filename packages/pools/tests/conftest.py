"""Lets the tests of this folder import what stands beside them, and proves that one leaves nothing behind."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anypool import _bar_views, _bars, _progress

sys.path.insert(0, str(Path(__file__).parent))

from owner import children  # type: ignore[import-not-found]


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    gc.collect()
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))
    yield
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Of bars, at the time that its `now` says."""

    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    for module in (_bars, _bar_views, _progress):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock
