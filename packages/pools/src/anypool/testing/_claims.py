"""Claims: what the traits of a launcher say is so. What they don't claim is tried too, and may be either way."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anypool import Launcher, Pool, WorkerLost
from anypool.testing._base import Kit, on_few_cpus
from anypool.testing._faults import until_struck
from anypool.testing._tasks import Fate, count_and_die_at, mark, marks, neighbours
from anypool.testing._terms import apart, at_most_once, copies, isolated, no_network

__all__: list[str] = []


class Claims(Kit):
    """Behaviours that traits claim."""

    @copies
    def test_a_task_that_changes_its_argument_changes_a_copy(self, pool: Pool) -> None:
        items: list[list[int]] = [[1], [2]]
        assert pool.map(lambda item: item.append(0), items) == [None, None]
        pool.pipe(items.append, [3])
        assert items == [[1], [2]]

    @apart
    @isolated
    def test_a_killed_worker_leaves_what_its_neighbours_run_alone(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool = opened()
        if len(pool) == 1:
            with on_few_cpus():
                pool.resize(2)
        if len(pool) == 1:
            pytest.xfail("one worker has no neighbours")
        fate = Fate(path("fate"))
        for number in until_struck(fate, recipe):
            files = {"begun": path(f"begun{number}"), "go": path(f"go{number}")}
            stream: Iterator[Any] = pool.uimap(
                neighbours, ["neighbour", "victim"], kwargs={"fate": fate, **files}, chunksize=1, retries=0,
                on_error="return",
            )  # fmt: skip
            first = next(stream)
            mark(files["go"])
            second = next(stream)
            assert len(marks(files["begun"])) == 1
            assert fate.spared or (isinstance(first, WorkerLost) and second == "neighbour"), (first, second)

    @apart
    @at_most_once
    def test_without_retries_an_item_whose_worker_dies_begins_once(
        self, recipe: Launcher, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool, fate = opened(), Fate(path("fate"))
        for number in until_struck(fate, recipe):
            begun = path(f"begun{number}")
            options = {"fate": fate, "at": 2, "begun": begun}
            outcomes: list[Any] = pool.map(count_and_die_at, range(8), kwargs=options, retries=0, on_error="return")
            assert fate.spared or isinstance(outcomes[2], WorkerLost)
            starts = Counter(marks(begun))
            assert max(starts.values()) == 1, starts
            # What has no outcome but a loss has begun, or may have.
            assert {str(item) for item, outcome in enumerate(outcomes) if outcome == item} <= starts.keys()

    @at_most_once
    def test_without_a_fault_every_item_begins_once(self, pool: Pool, path: Callable[[str], str]) -> None:
        begun = path("begun")
        pool.map(lambda item: mark(begun, str(item)), range(200))
        assert sorted(map(int, marks(begun))) == list(range(200))

    @no_network
    def test_without_a_network_all_tasks_run_on_this_machine(self, pool: Pool) -> None:
        assert set(pool.map(lambda _: socket.gethostname(), range(4 * len(pool)), chunksize=1)) == {
            socket.gethostname()
        }

    def test_the_traits_say_what_they_can_say(self, recipe: Launcher) -> None:
        traits = recipe.traits
        assert traits.crosses in ("bytes", "references")
        assert type(traits.reruns) is type(traits.isolates) is bool
        assert traits.secure in (True, False, None)
        # What is in the caller's own process ends with it.
        assert not (traits.crosses == "references" and traits.isolates)
