"""Nesting: what a task gets when it asks for a pool itself, and how many CPUs it may use."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from anypool import Launcher, Oversubscribed, Pool, Thread, get_pool, plan, usable_cpus
from anypool._budget import check
from anypool.testing._base import Kit
from anypool.testing._tasks import below, descend, where
from anypool.testing._terms import a_recipe, parts_of

__all__: list[str] = []


class Nesting(Kit):
    """Behaviours of pools within tasks."""

    def test_a_task_that_maps_is_serial_where_no_level_is_left(self, opened: Callable[..., Pool]) -> None:
        assert opened().pipe(below) == ("serial", 1)

    def test_the_environment_does_not_reach_into_tasks(
        self, opened: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANYPOOL_PLAN", "thread:3")
        assert opened().map(lambda _: below(), range(4)) == [("serial", 1)] * 4

    def test_a_task_that_maps_gets_the_next_level(self, opened: Callable[..., Pool]) -> None:
        pool = opened("thread:2")
        assert pool.map(lambda _: below(), range(4)) == [("thread", 2)] * 4
        assert pool.submit(below).result(self.limit) == ("thread", 2)
        assert list(pool.imap(lambda _: below(), range(2))) == [("thread", 2)] * 2

    def test_levels_go_as_deep_as_they_are_said(self, opened: Callable[..., Pool]) -> None:
        pool = opened("thread:1", "thread:2", "thread:1")
        assert pool.pipe(descend) == ["thread", "thread", "thread", "serial"]

    def test_a_task_may_say_a_plan_of_its_own(self, opened: Callable[..., Pool]) -> None:
        def planned(_: int) -> list[str]:
            with plan("thread:2"):
                return descend()

        assert opened().map(planned, range(2)) == [["thread", "serial"]] * 2

    @a_recipe
    def test_a_task_may_use_the_pool_that_runs_it(self, opened: Callable[..., Pool]) -> None:
        pool = opened()
        assert pool.map(lambda x, own: own.map(abs, [x, -x]), range(3), [pool] * 3) == [[x, x] for x in range(3)]

    @a_recipe
    def test_a_method_of_a_pool_travels(self, opened: Callable[..., Pool]) -> None:
        pool = opened()
        assert pool.pipe(pool.map, abs, [-1, 2]) == [1, 2]

    def test_tasks_share_the_cpus(self, opened: Callable[..., Pool]) -> None:
        pool = opened()
        found = pool.map(lambda _: (where()[0], Thread().size), range(4 * len(pool)), chunksize=1)
        assert all(size >= 1 for _, size in found)
        here = max([size for host, size in found if host == socket.gethostname()], default=0)
        assert here * len(pool) <= max(len(pool), usable_cpus())

    def test_far_more_workers_than_cpus_are_refused_before_any_starts(self, recipe: Launcher) -> None:
        many = 10 * usable_cpus() + 10
        for part in parts_of(recipe):
            large = replace(part, workers=many, oversubscribe=False)
            if part.on_this_machine:
                with pytest.raises(Oversubscribed, match="oversubscribe=True"):
                    get_pool(large)
            check(replace(large, oversubscribe=True), many)
