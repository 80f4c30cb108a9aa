"""Pools in tasks: each level is the next one of the plan, on every launcher, and past the last there is none."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from anypool import Map, Oversubscribed, Pool, Process, get_pool, plan, usable_cpus
from anypool._sources import plan_here

LIMIT = 30
# One worker each: four levels of processes are to fit any machine.
LEVELS = ["serial", "thread:2", "process:1", "multiprocess:1"]
# Each launcher once at every depth, and once directly above each other one; the rest is for `-m soak`.
SQUARE = {tuple(LEVELS[place] for place in order) for order in [(0, 1, 3, 2), (1, 2, 0, 3), (2, 3, 1, 0), (3, 0, 2, 1)]}
ORDERS = [
    pytest.param(order, id=">".join(name[0] for name in order), marks=[] if order in SQUARE else pytest.mark.soak)
    for order in itertools.permutations(LEVELS)
]


def names(depth: int) -> list[str]:
    """What `get_pool()` opens here, in a task of that, in a task of that one, and so on."""
    with get_pool() as pool:
        here = str(pool.plan.levels[0])
        return [here, *(pool.map(names, [depth - 1])[0] if depth else [])]


@pytest.mark.parametrize("order", ORDERS)
def test_four_levels_come_in_their_order_and_then_serial(order: tuple[str, ...]) -> None:
    with get_pool(*order) as pool:
        assert pool.map(names, [4]) == [[*order[1:], "serial", "serial"]]


def test_threads_in_processes_in_processes() -> None:
    with get_pool("process:2", "process:1", "thread:2") as pool:
        assert pool.map(names, [3, 3]) == [["process:1", "thread:2", "serial", "serial"]] * 2


def test_processes_in_threads() -> None:
    with get_pool("thread:2 > process:1 > thread:1") as pool:
        assert pool.map(names, [2, 2]) == [["process:1", "thread:1", "serial"]] * 2


METHODS: dict[str, Callable[[Pool], object]] = {
    "map": lambda pool: pool.map(names, [1])[0],
    "imap": lambda pool: next(pool.imap(names, [1])),
    "uimap": lambda pool: next(pool.uimap(names, [1])),
    "amap": lambda pool: pool.amap(names, [1]).get(LIMIT)[0],
    "starmap": lambda pool: pool.starmap(names, [(1,)])[0],
    "pipe": lambda pool: pool.pipe(names, 1),
    "apipe": lambda pool: pool.apipe(names, 1).get(LIMIT),
    "submit": lambda pool: pool.submit(names, 1).result(LIMIT),
    "executor": lambda pool: pool.as_executor().submit(names, 1).result(LIMIT),
    "map_reduce": lambda pool: pool.map(names, [1], chunksize=1, timeout=LIMIT, seed=1)[0],
}


@pytest.mark.parametrize("launcher", ["serial", "thread:2", "process:1", "multiprocess:1"])
def test_every_method_hands_the_next_level_down(launcher: str) -> None:
    with get_pool(launcher, "thread:1") as pool:
        for method in METHODS.values():
            if pool._state != "open":
                pool.restart()
            assert method(pool) == ["thread:1", "serial"]


def test_the_levels_last_while_workers_are_replaced() -> None:
    with get_pool("process:1", "thread:1", max_tasks_per_worker=1) as pool:
        assert pool.map(names, [1] * 3, chunksize=1) == [["thread:1", "serial"]] * 3


def test_what_a_task_leaves_behind_is_not_the_next_tasks() -> None:
    def leave_a_plan(_: int) -> None:
        plan("thread:7").__enter__()

    with get_pool("process:1", "thread:1") as pool:
        pool.map(leave_a_plan, range(3))
        assert pool.pipe(names, 1) == ["thread:1", "serial"]


def test_a_thread_that_a_task_starts_in_a_worker_process_does_not_fan_out() -> None:
    def task() -> list[str]:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(names, 0).result(LIMIT)

    with get_pool("process:1", "thread:1") as pool:
        assert pool.pipe(task) == ["serial"]


# Code that knows nothing of plans.

LIBRARY = """
from anypool import get_pool

def total(numbers):
    return sum(get_pool().map(abs, numbers))

def where(_=None):
    with get_pool() as pool:
        return pool.launcher.name, len(pool)
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "some_library.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(str(tmp_path))
    import some_library  # type: ignore[import-not-found]

    yield some_library
    del sys.modules["some_library"]


@pytest.mark.parametrize("launcher", ["serial", "thread:2", "process:2", "multiprocess:1"])
def test_a_library_runs_on_the_level_that_it_is_called_on(launcher: str, library: Any) -> None:
    with plan("thread:3"):
        assert library.total([1, -2]) == 3
        assert library.where() == ("thread", 3)
    with get_pool(launcher, "thread:2") as pool:
        assert pool.map(library.total, [[1, -2], [-3]]) == [3, 3]
        assert pool.map(library.where, range(2)) == [("thread", 2)] * 2
    with get_pool(launcher) as pool:
        assert pool.map(library.total, [[1, -2], [-3]]) == [3, 3]
        assert pool.map(library.where, range(2)) == [("serial", 1)] * 2


# Pools and maps as arguments.


def mapped(map_: Callable[..., list[Any]]) -> list[str]:
    return map_(lambda _: str(plan_here().plan), range(2))


CARRIERS: dict[str, Callable[[Pool], Any]] = {
    "the pool": lambda pool: pool,
    "its map": lambda pool: pool.map,
    "a Map of it": lambda pool: Map(pool),
}


@pytest.mark.parametrize("launcher", ["serial", "thread:2", "process:1", "multiprocess:1"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_pool_that_is_passed_along_keeps_its_own_levels(launcher: str, carrier: str) -> None:
    def use(given: Any) -> tuple[list[str], str]:
        return mapped(given.map if isinstance(given, Pool) else given), str(plan_here().plan)

    with get_pool(launcher, "thread:7") as outer, get_pool("thread:2", "thread:3 > thread:4") as inner:
        assert outer.pipe(use, CARRIERS[carrier](inner)) == (["thread:3 > thread:4"] * 2, "thread:7")


@pytest.mark.parametrize("launcher", ["serial", "thread:2", "process:1"])
def test_a_map_by_name_opens_what_it_names_and_past_it_there_is_nothing(launcher: str) -> None:
    with get_pool(launcher, "thread:7") as outer:
        assert outer.pipe(mapped, Map("thread:2")) == ["serial"] * 2


def test_a_pools_map_may_be_what_is_mapped() -> None:
    with get_pool("process:1", "thread:1") as outer, get_pool("thread:2") as inner:
        inner_map: Callable[..., list[object]] = inner.map
        assert outer.map(inner_map, [abs, str], [[-1, 2], [3]]) == [[1, 2], ["3"]]


# The budget.


def test_a_deeper_level_that_is_too_much_is_refused_before_a_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Process) -> None:
        pytest.fail("a worker was started")

    monkeypatch.setattr(Process, "launch", fail)
    cpus = usable_cpus()
    levels = [f"process:{cpus}", "process:2?oversubscribe=true", "process:2"]
    with pytest.raises(Oversubscribed, match=r"process:2 starts 2 workers on 0\.5 CPUs \(the share of a task of "):
        get_pool(*levels)
    with pytest.raises(Oversubscribed, match="more than three times as many"):
        plan(" > ".join(levels))


def test_a_level_without_a_number_takes_what_the_level_above_leaves() -> None:
    with get_pool(f"process:{usable_cpus()}", "thread", "process") as pool:
        assert pool.map(names, [1]) == [["thread:1", "process:1"]]


# For real.

OBSERVED = """
    import os, sys, time
    from anypool import get_pool

    def inner(n):
        # Until the test has counted.
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.01)
        return os.getpid()

    def outer(n):
        with get_pool() as pool:
            return os.getpid(), pool.launcher.name, pool.map(inner, range(3))

    with get_pool(*sys.argv[2:]) as pool:
        print("open", flush=True)
        for pid, name, inside in pool.map(outer, range(8)):
            print(pid, name, *inside)
"""


def run_counted(
    start_script: Any, wait_until: Any, tmp_path: Path, *levels: str, count: int, env: Any = None
) -> list[list[str]]:
    """What the script prints, after it has had exactly so many processes below it and for a while no more."""
    go = tmp_path / "go"
    script = start_script(textwrap.dedent(OBSERVED), str(go), *levels, env=env)
    assert script.line() == "open"
    wait_until(lambda: len(script.descendants()) >= count, LIMIT, f"{count} processes")
    for _ in range(20):
        assert len(script.descendants()) == count, script.descendants()
    go.write_text("")
    code, out, err = script.finish(LIMIT)
    assert code == 0, err
    return [line.split() for line in out.splitlines()]


def test_with_the_plan_in_the_variable_there_are_never_more_processes_than_the_plans(
    start_script: Any, wait_until: Any, tmp_path: Path
) -> None:
    env = {"ANYPOOL_PLAN": "process:4"}
    # Four workers and their agent.
    lines = run_counted(start_script, wait_until, tmp_path, count=5, env=env)
    workers = {pid for pid, *_ in lines}
    assert len(workers) <= 4
    for pid, name, *inside in lines:
        assert name == "serial"
        assert set(inside) == {pid}


def test_the_processes_of_two_levels_are_those_of_the_plan(start_script: Any, wait_until: Any, tmp_path: Path) -> None:
    # Two workers, one more in the task of each, all of one agent.
    lines = run_counted(start_script, wait_until, tmp_path, "process:2", "process:1", count=5)
    outer = {pid for pid, *_ in lines}
    inner = {pid for _, _, *inside in lines for pid in inside}
    assert len(outer) == 2
    assert not outer & inner
    assert {name for _, name, *_ in lines} == {"process"}
