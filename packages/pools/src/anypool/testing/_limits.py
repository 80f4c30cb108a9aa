"""Limits: a task that takes too long is given up, and one that fails runs again as often as was said."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from anypool import Pool, TaskTimeout
from anypool.testing._base import Kit
from anypool.testing._remains import until
from anypool.testing._tasks import BLOCKED_SECONDS, Door, fail_at_first, marks

__all__: list[str] = []

# What a timeout may take beyond its own time.
_GRACE_SECONDS = 5.0


class Limits(Kit):
    """Behaviours of `timeout`, `retries` and `retry_on`."""

    def test_a_task_past_its_timeout_ends_and_the_others_do_not(
        self, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        assert _GRACE_SECONDS < BLOCKED_SECONDS
        with opened() as pool, Door(path("door"), path("begun")) as door:
            pool.map(abs, range(10))
            began = time.monotonic()
            outcomes: list[Any] = pool.map(door.wait_if, range(8), [3] * 8, timeout=0.3, on_error="return", chunksize=1)
            assert time.monotonic() - began < 0.3 + _GRACE_SECONDS
            assert isinstance(outcomes[3], TaskTimeout)
            assert outcomes[:3] + outcomes[4:] == [0, 1, 2, 4, 5, 6, 7]
            with pytest.raises(TaskTimeout):
                list(pool.imap(door.wait_if, [1], [1], timeout=0.3))

    def test_the_pool_goes_on_after_a_timeout(self, opened: Callable[..., Pool], path: Callable[[str], str]) -> None:
        pool = opened()
        with Door(path("door"), path("begun")) as door:
            pool.map(door.wait_if, [1], [1], timeout=0.2, on_error="return")
        until(lambda: pool.map(abs, range(-9, 0)) == list(range(9, 0, -1)), self.limit, "a map after a timeout")

    def test_a_timeout_is_for_one_item_and_not_for_the_map(self, pool: Pool) -> None:
        # Workers that are still to start count where it can't be told when a call begins.
        pool.map(time.sleep, [0.1] * 8, chunksize=1)
        assert pool.map(time.sleep, [0.2] * 6, timeout=1.0, chunksize=6) == [None] * 6

    def test_a_timeout_is_not_retried_unless_it_is_named(
        self, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        with opened() as pool, Door(path("door"), path("begun")) as door:
            pool.map(abs, range(10))
            outcomes: list[Any] = pool.map(door.wait_if, [1], [1], timeout=0.5, retries=3, on_error="return")
            assert isinstance(outcomes[0], TaskTimeout)
            # None, where it can't be told when a call begins, and the machine was busy.
            assert door.begun <= 1

    def test_an_exception_is_not_retried_unless_that_is_said(self, pool: Pool, path: Callable[[str], str]) -> None:
        with pytest.raises(ValueError, match="not yet"):
            pool.map(fail_at_first, [path("calls")], kwargs={"error": ValueError, "times": 1})
        assert len(marks(path("calls"))) == 1

    def test_retries_run_an_item_again_so_many_times(self, pool: Pool, path: Callable[[str], str]) -> None:
        options = {"error": ValueError, "times": 2}
        assert pool.map(fail_at_first, [path("two")], kwargs=options, retries=2) == [3]
        with pytest.raises(ValueError, match="not yet"):
            pool.map(fail_at_first, [path("one")], kwargs=options, retries=1)
        assert len(marks(path("one"))) == 2

    def test_retry_on_names_what_is_retried(self, pool: Pool, path: Callable[[str], str]) -> None:
        options = {"error": ValueError, "times": 1}
        assert pool.map(fail_at_first, [path("named")], kwargs=options, retry_on=ValueError) == [2]
        with pytest.raises(ValueError, match="not yet"):
            pool.map(fail_at_first, [path("other")], kwargs=options, retry_on=KeyError, retries=3)
        assert len(marks(path("other"))) == 1

    def test_without_retries_a_failing_item_begins_once(self, pool: Pool, path: Callable[[str], str]) -> None:
        with pytest.raises(ValueError, match="not yet"):
            pool.map(fail_at_first, [path("calls")], kwargs={"error": ValueError, "times": 9}, retries=0)
        assert len(marks(path("calls"))) == 1
