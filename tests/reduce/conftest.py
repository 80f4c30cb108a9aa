"""Where reductions are tested, and what came home of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import pytest

from anypool import Pool, get_pool
from anypool._chunk import Chunk, Outcomes, Packed
from anypool._stream import Stream

PLACES = [
    "serial",
    "thread:2",
    "process:2",
    "multiprocess:2",
    "process:1 + thread:1",
    "thread:1 + thread:1",
    "process:1/process:2",
    "process:1/thread:2",
    "parallel-python:2",
    "executor",
]


class Reply(NamedTuple):
    """One reply: its items, its bytes (0 for what passed by reference), and how many values these are."""

    first: int
    items: int
    size: int
    values: int


@pytest.fixture(params=PLACES)
def somewhere(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A pool on each kind of launcher."""
    if request.param == "executor":
        with ThreadPoolExecutor(2) as executor, closing(get_pool(executor)) as pool:
            yield pool
            pool.close()
            pool.join()
    else:
        with get_pool(request.param, oversubscribe=True) as pool:
            yield pool


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> list[Reply]:
    """The replies that came home, in the order in which they came."""
    replies: list[Reply] = []
    settle = Stream.settle

    def settled(stream: Stream, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        size = outcomes.size if isinstance(outcomes, Packed) else 0
        replies.append(Reply(chunk.first + offset, outcomes.count, size, len(outcomes.decode()[0])))
        settle(stream, chunk, offset, outcomes)

    monkeypatch.setattr(Stream, "settle", settled)
    return replies
