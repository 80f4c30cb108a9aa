"""`with plan(...)`: what holds in a block, in its thread or asyncio task, and in the tasks below it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

import pytest

from anypool import (
    LauncherNotFound,
    Oversubscribed,
    Plan,
    PlanError,
    Serial,
    Thread,
    get_pool,
    plan,
    usable_cpus,
)
from anypool._sources import plan_here

LIMIT = 20


def here() -> str:
    return str(plan_here().plan)


def test_a_plan_holds_in_its_block_and_the_one_around_it_after_it() -> None:
    before = here()
    with plan("thread:2"):
        assert here() == "thread:2"
        with plan("thread:3 > serial"):
            assert here() == "thread:3 > serial"
        assert here() == "thread:2"
    assert here() == before


def test_a_plan_ends_with_its_block_however_that_ends() -> None:
    before = here()
    with pytest.raises(ZeroDivisionError), plan("thread:2"):
        1 / 0
    assert here() == before


def test_one_plan_may_be_entered_again_and_inside_of_itself() -> None:
    before, twice = here(), plan("thread:2")
    for _ in range(2):
        with twice:
            assert here() == "thread:2"
            with twice:
                assert here() == "thread:2"
            assert here() == "thread:2"
        assert here() == before


def test_blocks_may_be_left_in_another_order_than_they_were_entered() -> None:
    def block(text: str) -> Generator[None]:
        with plan(text):
            yield

    before, outer, inner = here(), block("thread:2"), block("thread:3")
    next(outer)
    next(inner)
    outer.close()
    assert here() == "thread:3"
    inner.close()
    assert here() == before


def test_a_block_that_is_left_in_another_context_changes_nothing_there() -> None:
    said = plan("thread:2")
    copy_context().run(said.__enter__)
    with plan("thread:3"):
        said.__exit__(None, None, None)
        assert here() == "thread:3"


def test_threads_have_plans_of_their_own() -> None:
    shared, meet, before = plan("thread:7"), threading.Barrier(3), here()

    def each(number: int) -> list[str]:
        seen = [here()]
        with shared:
            meet.wait(LIMIT)
            with plan(f"thread:{number}"):
                meet.wait(LIMIT)
                seen.append(here())
                meet.wait(LIMIT)
            seen.append(here())
            meet.wait(LIMIT)
        return [*seen, here()]

    with plan("thread:9"), ThreadPoolExecutor(3) as threads:
        for number, seen in enumerate(threads.map(each, range(1, 4)), 1):
            assert seen == [before, f"thread:{number}", "thread:7", before]


def test_asyncio_tasks_have_plans_of_their_own_and_start_with_the_one_around_them() -> None:
    shared = plan("thread:7")

    async def each(number: int, others: asyncio.Barrier) -> list[str]:
        seen = [here()]
        with shared:
            await others.wait()
            with plan(f"thread:{number}"):
                await others.wait()
                seen.append(here())
                await others.wait()
            seen.append(here())
            await others.wait()
        return [*seen, here()]

    async def main() -> list[list[str]]:
        others = asyncio.Barrier(3)
        with plan("thread:9"):
            return await asyncio.gather(*(each(number, others) for number in range(1, 4)))

    for number, seen in enumerate(asyncio.run(asyncio.wait_for(main(), LIMIT)), 1):
        assert seen == ["thread:9", f"thread:{number}", "thread:7", "thread:9"]


def test_inside_a_task_the_next_level_holds_and_not_the_callers_plan_again(launcher: str) -> None:
    def two_levels_down() -> tuple[str, str]:
        with get_pool() as inner:
            return str(inner.plan), inner.pipe(here)

    with plan(launcher, "thread:1"), get_pool() as pool:
        assert pool.pipe(two_levels_down) == ("thread:1", "serial")


def test_a_plan_within_a_task_holds_there(launcher: str) -> None:
    def task(_: int) -> list[str]:
        before = here()
        with plan("thread:2 > serial"):
            return [before, here(), here_below()]

    def here_below() -> str:
        with get_pool() as inner:
            return inner.pipe(here)

    with get_pool(launcher, "thread:3") as pool:
        assert pool.map(task, range(2)) == [["thread:3", "thread:2 > serial", "serial"]] * 2
        assert pool.pipe(here) == "thread:3"


def test_a_plan_says_at_once_what_is_wrong_with_it() -> None:
    with pytest.raises(PlanError):
        plan("process:0")
    with pytest.raises(LauncherNotFound):
        plan("nothing")
    with pytest.raises(PlanError, match="a plan has at least one level"):
        plan()
    with pytest.raises(Oversubscribed):
        plan(f"process:{3 * usable_cpus() + 1}")


def test_a_plan_takes_levels_of_every_form_but_executors() -> None:
    with plan("thread:2", Thread(1), Plan((Serial(), Thread(3)))) as said:
        assert str(said) == here() == "thread:2 > thread:1 > serial > thread:3"
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(TypeError, match=r"plan\(\) takes texts, launchers and plans, got"),
    ):
        plan(cast("Any", executor))


def test_the_budget_of_a_plan_is_looked_at_where_it_is_entered() -> None:
    cpus = usable_cpus()
    said = plan(f"process:{cpus}")

    def enter(_: int) -> str:
        with said:
            return here()

    # A task of four has a quarter of the CPUs.
    with get_pool("thread:4") as pool, pytest.raises(Oversubscribed, match="the share of a task"):
        pool.map(enter, [1])


def test_your_own_executor_stays_where_you_made_it() -> None:
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(TypeError, match="your own ThreadPoolExecutor stays in this process"):
            get_pool("process:1", cast("Any", executor))
        with get_pool("thread:1", executor) as pool:
            assert pool.pipe(lambda: get_pool().map(abs, [-1])) == [1]
