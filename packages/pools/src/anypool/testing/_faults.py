"""Faults: the death of a worker costs the items that it ran, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import add
from typing import Any

import pytest

from anypool import Launcher, Pool, WorkerLost
from anypool.testing._base import Kit, Script
from anypool.testing._progressing import Shown, soon
from anypool.testing._tasks import (
    Fate,
    die_at,
    die_once_at,
    die_once_at_as_text,
    say_and_die_at,
    tick_and_die_at,
    where,
)
from anypool.testing._terms import a_recipe, apart, no_network, remade

__all__: list[str] = []

# Where some workers are in the caller's process, several maps may be needed until one elsewhere meets its fate.
_ROUNDS = 20

_FATAL = """
    import os
    if __name__ == "__main__":
        with get_pool(recipe) as pool:
            outcomes = pool.map(lambda _: os._exit(3), range(8), retries=0, on_error="return")
        print({type(outcome).__name__ for outcome in outcomes})
"""


def until_struck(fate: Fate, recipe: Launcher) -> Iterator[int]:
    """Go on until a worker has been ended; that none can be is a failure, unless all of it is in this process."""
    for number in range(_ROUNDS):
        yield number
        if fate.deaths:
            return
    if fate.spared and not recipe.traits.isolates:
        pytest.xfail("its tasks run in the caller's process and end with it")
    pytest.fail("no worker could be ended")


class Faults(Kit):
    """Behaviours of lost workers."""

    @pytest.fixture
    def fate(self, path: Callable[[str], str]) -> Fate:
        """What ends workers."""
        return Fate(path("fate"))

    @apart
    @a_recipe
    def test_a_task_that_ends_its_process_leaves_the_caller_alone(
        self, recipe: Launcher, pool: Pool, script: Script
    ) -> None:
        code, out, err = script.run(_FATAL)
        if code == 3 and not recipe.traits.isolates and where() in pool.map(lambda _: where(), range(50), chunksize=1):
            pytest.xfail("some of its tasks run in the caller's process and end with it")
        assert (code, out) == (0, "{'WorkerLost'}\n"), err

    @apart
    @remade
    def test_a_dead_worker_costs_only_its_own_items(
        self, recipe: Launcher, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        for _ in until_struck(fate, recipe):
            outcomes: list[Any] = pool.map(die_at, range(12), kwargs={"fate": fate, "at": 5}, on_error="return")
            assert outcomes[:5] + outcomes[6:] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
            assert fate.spared or isinstance(outcomes[5], WorkerLost)

    @apart
    @remade
    def test_a_lost_worker_is_named_with_the_item_that_it_ran(
        self, recipe: Launcher, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        for _ in until_struck(fate, recipe):
            try:
                pool.map(die_at, range(4), kwargs={"fate": fate, "at": 2}, chunksize=1, retries=0)
            except WorkerLost as error:
                # A neighbour may be lost with it, but not where workers are isolated.
                assert error.item == 2 or not recipe.traits.isolates  # noqa: PT017 - it need not be raised
                assert error.cause  # noqa: PT017
                assert str(error)  # noqa: PT017

    @apart
    @remade
    def test_an_item_that_loses_its_worker_runs_again(
        self, recipe: Launcher, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        for _ in until_struck(fate, recipe):
            assert pool.map(die_once_at, range(12), kwargs={"fate": fate, "at": 5}) == list(range(12))

    @apart
    @remade
    def test_a_reduction_that_loses_a_worker_has_every_item_once(
        self, recipe: Launcher, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        for _ in until_struck(fate, recipe):
            kwargs = {"fate": fate, "at": 5}
            assert pool.map_reduce(die_once_at_as_text, add, range(12), kwargs=kwargs, chunksize=4) == "01234567891011"

    @apart
    @remade
    def test_the_pool_is_whole_again_after_a_loss(
        self, recipe: Launcher, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        size = len(pool)
        for _ in until_struck(fate, recipe):
            pool.map(die_at, range(4), kwargs={"fate": fate, "at": 2}, on_error="return")
            assert pool.map(abs, range(-200, 0)) == list(range(200, 0, -1))
            assert len(pool) == len(pool.workers()) == size

    @apart
    @remade
    def test_the_loss_of_a_single_call_is_its_results_error(
        self, recipe: Launcher, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        for _ in until_struck(fate, recipe):
            lost, others = pool.submit(fate.strike), [pool.submit(abs, -number) for number in range(20)]
            assert [other.result(self.limit) for other in others] == list(range(20))
            assert fate.spared or isinstance(lost.exception(self.limit), WorkerLost)
            lost.wait(self.limit)

    @remade
    def test_a_worker_in_the_place_of_a_lost_one_gets_what_is_shared(
        self, opened: Callable[..., Pool], fate: Fate
    ) -> None:
        pool = opened()
        shared: Any = pool.share(fate)
        assert pool.map(die_once_at, range(30), [shared] * 30, [7] * 30) == [*range(30)]
        assert pool.map(die_once_at, range(30), kwargs={"fate": shared, "at": 7}) == [*range(30)]

    @remade
    def test_a_bar_ends_with_the_worker_whose_task_made_it(
        self, opened: Callable[..., Pool], path: Callable[[str], str], shown: Shown
    ) -> None:
        pool, fate = opened(), Fate(path("fate"))
        assert pool.map(tick_and_die_at, range(5), [fate] * 5, [2] * 5) == [*range(5)]
        others = {f"item {item}: 50% 1/2" for item in (0, 1, 3, 4)}
        # Of the first try the caller knows only where it is told at once; where nobody dies it is the only one.
        item = {"item 2: 50% 1/2", "item 2: 100% 2/2"}
        assert soon(lambda: others <= (ended := set(shown.ended())) <= others | item and bool(ended & item))

    @apart
    @remade
    @no_network
    def test_the_last_that_a_dying_task_said_is_in_its_error(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool, fate = opened(), Fate(path("fate"))
        options = {"fate": fate, "at": 2}
        for _ in until_struck(fate, recipe):
            outcomes: list[Any] = pool.map(say_and_die_at, range(4), kwargs=options, retries=0, on_error="return")
            if isinstance(outcomes[2], WorkerLost):
                assert "printed before the end" in outcomes[2].stderr
                assert "complained before the end" in str(outcomes[2])
            else:
                assert fate.spared
