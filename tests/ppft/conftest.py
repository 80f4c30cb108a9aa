"""Tests of parallel-python have one module beside them, and what they start ends with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ppft_serving import Link, PpServer, secret_file  # type: ignore[import-not-found]


@pytest.fixture
def servers() -> Iterator[Callable[..., PpServer]]:
    started: list[PpServer] = []

    def start(*args: Any, **options: Any) -> PpServer:
        started.append(PpServer(*args, **options))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture
def links() -> Iterator[Callable[[int], Link]]:
    made: list[Link] = []

    def link(port: int) -> Link:
        made.append(Link(port))
        return made[-1]

    yield link
    for each in made:
        each.end()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    return str(secret_file(tmp_path))
