"""Results as arguments: calls that begin when their inputs are there."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from anypool import InputFailed, Launcher, Pool, Unserializable
from anypool.testing._base import Kit, open_pool
from anypool.testing._remains import until
from anypool.testing._tasks import Door, add_up_over
from anypool.testing._terms import a_recipe, copies

__all__: list[str] = []

_CHAIN = 1000


class Graphs(Kit):
    """Behaviours of calls that have results among their arguments."""

    def test_a_result_as_an_argument_is_its_value(self, pool: Pool) -> None:
        two: Any = pool.submit(abs, -2)
        four, eight = pool.submit(operator.mul, two, 2), pool.submit(pow, two, 3)
        assert pool.submit(operator.sub, eight, four).result(self.limit) == 4
        assert pool.submit(operator.mul, four, four).result(self.limit) == 16
        assert pool.submit(int, "11", base=two).result(self.limit) == 3
        assert pool.pipe(sum, pool.amap(abs, [-1, -2]), start=pool.submit(abs, -3)) == 6
        assert pool.apply_async(operator.sub, (two, pool.submit(abs, 1))).result(self.limit) == 1

    def test_a_chain_of_calls_comes_to_its_end(self, pool: Pool) -> None:
        last = pool.submit(abs, -1)
        for _ in range(100):
            last = pool.submit(operator.add, last, 1)
        assert last.result(self.limit) == 101

    def test_a_call_whose_input_fails_names_the_cause(self, pool: Pool) -> None:
        last = pool.submit(operator.truediv, 1, 0)
        for _ in range(_CHAIN):
            last = pool.submit(operator.add, 1, last)
        with pytest.raises(InputFailed, match=r"argument 1 of add\(\).*ZeroDivisionError: division by zero") as failed:
            last.result(self.limit)
        assert type(failed.value.__cause__) is ZeroDivisionError
        assert failed.value.argument == 1
        base: Any = pool.submit(int, "x")
        error = pool.submit(int, "11", base=base).exception(self.limit)
        assert isinstance(error, InputFailed)
        assert (error.argument, type(error.__cause__)) == ("base", ValueError)
        assert pool.pipe(abs, pool.submit(abs, -1)) == 1

    def test_a_call_whose_input_is_cancelled_fails(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        if not recipe.starts_workers:
            # The caller has done it before it gets the result.
            return
        pool = opened()
        with Door(path("door"), path("begun")) as door:
            running = [pool.submit(door.wait) for _ in range(4 * len(pool))]
            waiting = pool.submit(abs, -1)
            after = pool.submit(abs, pool.submit(abs, waiting))
            until(lambda: door.begun, self.limit, "a call that runs")
            assert waiting.cancel()
            error = after.exception(self.limit)
        assert isinstance(error, InputFailed)
        assert isinstance(error.__cause__, CancelledError)
        assert [result.result(self.limit) for result in running] == [None] * len(running)

    def test_a_call_that_waits_for_an_input_can_be_cancelled_or_killed(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        if not recipe.starts_workers:
            return
        with opened() as pool:
            with Door(path("door"), path("begun")) as door:
                running = pool.submit(door.wait)
                cancelled, killed = pool.submit(repr, running), pool.submit(repr, running)
                after, other = pool.submit(len, killed), pool.submit(repr, running)
                assert cancelled.cancel()
                assert killed.kill()
                assert isinstance(after.exception(self.limit), InputFailed)
                assert not other.done()
            assert other.result(self.limit) == "None"
        assert cancelled.cancelled()
        assert killed.cancelled()

    def test_leaving_a_pool_finishes_calls_that_wait_for_inputs(self, opened: Callable[..., Pool]) -> None:
        with open_pool("thread:1") as other, opened() as pool:
            last = other.submit(abs, -1)
            for _ in range(20):
                last = pool.submit(operator.add, other.submit(abs, last), 1)
            failing = pool.submit(abs, other.submit(int, "x"))
        assert last.result(0) == 21
        assert isinstance(failing.exception(0), InputFailed)

    def test_a_pool_that_is_terminated_leaves_no_call_waiting(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        if not recipe.starts_workers:
            return
        with open_pool("thread:1") as other, Door(path("door"), path("begun")) as door:
            pool = opened()
            running = pool.submit(door.wait)
            waiting, elsewhere = pool.submit(repr, running), other.submit(repr, running)
            until(lambda: door.begun, self.limit, "a call that runs")
            pool.terminate()
            assert waiting.cancelled()
            assert isinstance(elsewhere.exception(self.limit), InputFailed)

    def test_calls_go_on_while_nobody_waits(self, pool: Pool) -> None:
        with open_pool("thread:1") as other:
            last = pool.submit(operator.add, other.submit(abs, pool.submit(abs, -1)), 1)
            until(last.done, self.limit, "a call that nobody waits for")
            assert last.result(0) == 2

    def test_a_call_that_waits_for_an_input_can_be_awaited(self, pool: Pool) -> None:
        async def use() -> Any:
            return await pool.submit(operator.add, pool.submit(abs, -1), pool.submit(abs, -2))

        assert asyncio.run(asyncio.wait_for(use(), self.limit)) == 3

    @a_recipe
    def test_tasks_may_hand_on_results_of_their_own_pool(self, pool: Pool) -> None:
        assert pool.map(add_up_over, [pool] * 3) == [6] * 3

    @copies
    def test_a_result_within_something_else_is_refused(self, pool: Pool) -> None:
        with pytest.raises(Unserializable, match=r"args\[0\]\[1\].*argument of its own of submit"):
            pool.submit(len, [1, pool.submit(abs, -1)]).result(self.limit)
        with pytest.raises(Unserializable, match="argument of its own of submit"):
            pool.map(repr, [pool.submit(abs, -1)])
