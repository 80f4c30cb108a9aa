"""Single calls and their results: the futures that the standard library and its users know."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait
from typing import Any

import pytest

from anypool import Launcher, Pool, WorkerLost
from anypool.testing._base import Kit
from anypool.testing._remains import until
from anypool.testing._tasks import Door, mark

__all__: list[str] = []


class Results(Kit):
    """Behaviours of single calls, and of what stands for a result that comes later."""

    def test_one_call_has_its_value_by_every_name(self, pool: Pool) -> None:
        assert pool.pipe(divmod, 7, 2) == (3, 1)
        assert pool.pipe(int, "11", base=2) == 3
        assert pool.apipe(divmod, 7, 2).get(self.limit) == (3, 1)
        assert pool.submit(int, "11", base=2).result(self.limit) == 3

    def test_results_are_standard_futures(self, pool: Pool) -> None:
        results = [pool.submit(abs, -number) for number in range(20)]
        assert {done.result() for done in as_completed(results, timeout=self.limit)} == set(range(20))
        assert wait([pool.submit(abs, -1)], self.limit, FIRST_COMPLETED).done

    def test_results_can_be_awaited(self, pool: Pool) -> None:
        async def use() -> list[Any]:
            return [await pool.apipe(abs, -1), await pool.amap(abs, [-1, -2])]

        assert asyncio.run(asyncio.wait_for(use(), self.limit)) == [1, [1, 2]]

    def test_callbacks_get_the_value_or_the_error(self, pool: Pool) -> None:
        seen: list[Any] = []
        pool.amap(abs, [-1, -2], callback=seen.append)
        pool.amap(lambda x: 1 // x, [0], error_callback=lambda error: seen.append(type(error)))
        pool.submit(abs, -3).add_done_callback(lambda done: seen.append(done.result()))
        until(lambda: len(seen) == 3, self.limit, "three callbacks")
        assert sorted(map(str, seen)) == ["3", "<class 'ZeroDivisionError'>", "[1, 2]"]

    def test_a_call_that_waits_can_be_cancelled_and_never_begins(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool = opened()
        if not recipe.starts_workers:
            # The caller has done it before it gets the result.
            assert not pool.submit(abs, -1).cancel()
            return
        with Door(path("door"), path("begun")) as door:
            running = [pool.submit(door.wait) for _ in range(4 * len(pool))]
            waiting = pool.submit(mark, path("never"))
            until(lambda: door.begun, self.limit, "a call that runs")
            assert waiting.cancel()
            with pytest.raises(CancelledError):
                waiting.result(self.limit)
        assert [result.result(self.limit) for result in running] == [None] * len(running)
        assert not os.path.exists(path("never"))

    def test_a_call_that_runs_can_be_killed_and_the_pool_goes_on(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool = opened()
        if not recipe.starts_workers:
            assert not pool.submit(abs, -1).kill()
            return
        with Door(path("door"), path("begun")) as door:
            running = pool.submit(door.wait)
            until(lambda: door.begun, self.limit, "a call that runs")
            assert not running.cancel()
            assert running.kill()
            with pytest.raises(WorkerLost):
                running.result(self.limit)
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))

    def test_a_pool_is_a_standard_executor(self, opened: Callable[..., Pool]) -> None:
        with opened().as_executor() as executor:
            assert list(executor.map(pow, [2, 3], [5, 2], timeout=self.limit)) == [32, 9]
            assert executor.submit(abs, -1).result(self.limit) == 1
        with pytest.raises(RuntimeError, match="shutdown"):
            executor.submit(abs, -1)
