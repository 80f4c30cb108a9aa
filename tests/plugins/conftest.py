"""A site of plugins and an observer, for the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from plugin_rig import Recorder, Site  # type: ignore[import-not-found]

import anypool


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """An observer of all pools."""
    observer = Recorder()
    anypool.register(observer)
    yield observer
    anypool.unregister(observer)
