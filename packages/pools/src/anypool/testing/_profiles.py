"""Profiles: `profile=` tells what every call did, wherever it ran."""

from __future__ import annotations

import pstats
from collections.abc import Callable
from typing import Any

import pytest

from anypool import Pool, Profile
from anypool.testing._base import Kit
from anypool.testing._tasks import Fate, die_once_at, fail_at_first, half, profile_itself
from anypool.testing._terms import remade

__all__: list[str] = []


def calls(stats: Any, name: str) -> int:
    """How often a function was called."""
    return sum(entry[1] for label, entry in stats.stats.items() if label[2] == name)


class Profiles(Kit):
    """Behaviours of `profile`."""

    def test_a_profile_counts_every_call_of_every_item_and_nothing_of_ours(self, pool: Pool) -> None:
        profile = Profile()
        assert pool.map(half, range(60), profile=profile, chunksize=7) == [item / 2 for item in range(60)]
        stats: Any = profile.stats()
        assert (calls(stats, "half"), calls(stats, "halved"), stats.total_calls) == (60, 60, 120)
        ((caller, count),) = stats.stats[next(label for label in stats.stats if label[2] == "halved")][4].items()
        assert (caller[2], count[0]) == ("half", 60)

    def test_profiles_of_workers_add_up_to_the_whole_and_can_be_dumped(
        self, pool: Pool, path: Callable[[str], str]
    ) -> None:
        profile = Profile()
        pool.map(half, range(60), profile=profile, chunksize=1)
        profile.dump(path("all.prof"))
        assert calls(pstats.Stats(path("all.prof")), "half") == 60
        for worker, own in profile.workers.items():
            own.dump(path(f"{worker}.prof"))
        assert sum(calls(pstats.Stats(path(f"{worker}.prof")), "half") for worker in profile.workers) == 60

    def test_every_map_adds_to_the_profile_of_the_pool_if_that_is_asked(self, opened: Callable[..., Pool]) -> None:
        pool, rows = opened(), [(item,) for item in range(5)]
        pool.map(half, range(5))
        pool.map(half, range(5), profile=True)
        assert len(list(pool.imap(half, range(5), profile=True))) == 5
        assert len(list(pool.uimap(half, range(5), profile=True))) == 5
        pool.amap(half, range(5), profile=True).get(self.limit)
        pool.starmap(half, rows, profile=True, timeout=60.0)
        assert len(list(pool.istarmap(half, rows, profile=True, seed=1))) == 5
        assert len(list(pool.uistarmap(half, rows, profile=True))) == 5
        pool.astarmap(half, rows, profile=True).get(self.limit)
        assert calls(pool.profile.stats(), "half") == 40

    def test_a_task_that_raises_is_in_the_profile(self, pool: Pool) -> None:
        profile = Profile()
        items: list[Any] = [1, "x", 3]
        with pytest.raises(TypeError):
            pool.map(half, items[1:2], profile=profile)
        assert calls(profile.stats(), "halved") == 1
        outcomes: list[Any] = pool.map(half, items, profile=profile, on_error="return", chunksize=3)
        assert (outcomes[::2], type(outcomes[1])) == ([0.5, 1.5], TypeError)
        assert calls(profile.stats(), "halved") == 4

    def test_an_item_that_runs_again_counts_again(self, pool: Pool, path: Callable[[str], str]) -> None:
        profile, options = Profile(), {"error": ValueError, "times": 2}
        assert pool.map(fail_at_first, [path("calls")], kwargs=options, retries=2, profile=profile) == [3]
        assert calls(profile.stats(), "fail_at_first") == 3

    @remade
    def test_a_lost_worker_costs_its_own_profile_only(
        self, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool, profile, fate = opened(), Profile(), Fate(path("fate"))
        assert pool.map(die_once_at, range(30), [fate] * 30, [7] * 30, profile=profile) == [*range(30)]
        # Each item has one outcome, and what brings it brings what it took.
        assert calls(profile.stats(), "die_once_at") == 30

    def test_a_task_with_a_profiler_of_its_own_has_an_outcome_that_says_so(self, pool: Pool) -> None:
        profile = Profile()
        outcomes: list[Any] = pool.map(profile_itself, range(4), profile=profile, on_error="return")
        for item, outcome in enumerate(outcomes):
            # Whether two may be active at a time is Python's to say.
            if outcome != item:
                assert isinstance(outcome, ValueError)
                assert "Another profiling tool is already active" in str(outcome)
        assert pool.map(half, range(4), profile=profile) == [0.0, 0.5, 1.0, 1.5]
        assert calls(profile.stats(), "half") == 4
