"""How many workers are too many, who is told, and where: by the path of plans above a pool, on two CPUs."""

from __future__ import annotations

import linecache
import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import anypool._cpus
from anypool import (
    Map,
    Oversubscribed,
    OversubscribedWarning,
    Process,
    ProcessPool,
    Thread,
    get_pool,
    plan,
    usable_cpus,
)
from anypool._budget import check, check_plan
from anypool._context import Scope, entered
from anypool._cpus import Cpus
from anypool._opening import given_plan

MEANT = "?oversubscribe=true"


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anypool._cpus, "usable_cpus", lambda: Cpus(2, "a test"))


def warned(act: Callable[[], Any]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [each for each in caught if each.category is OversubscribedWarning]


def opening(*levels: Any, **options: Any) -> Callable[[], None]:
    """What is checked before a pool opens, without its workers."""
    return lambda: check_plan(given_plan(list(levels), options))


@pytest.mark.parametrize(
    "levels",
    [
        ["process:1"],
        ["process:2"],
        ["process"],
        ["multiprocess:2"],
        ["serial"],
        ["thread:100"],
        ["process:2", "process:1"],
        ["process:2", "process"],
        ["process:2", "thread:100"],
        ["process:1", "process:2"],
        ["serial", "process:2"],
        ["process:1 + process:1"],
        ["process:1 + thread:100"],
        ["process:2/thread:100"],
        ["process:1/process:2"],
    ],
)
def test_up_to_the_number_of_cpus_nothing_is_said(levels):
    assert warned(opening(*levels)) == []


@pytest.mark.parametrize(
    "levels, workers, share",
    [
        (["process:3"], 3, "2 CPUs (a test)"),
        (["process:6"], 6, "2 CPUs (a test)"),
        (["multiprocess:4"], 4, "2 CPUs (a test)"),
        (["process:2", "process:2"], 2, "1 CPU (the share of a task of process:2)"),
        (["process:2 > process:3"], 3, "1 CPU (the share of a task of process:2)"),
        (["process:2 + process:2"], 4, "2 CPUs (a test)"),
        (["process:2/process:3"], 6, "2 CPUs (a test)"),
        (["process:3/thread:2"], 3, "2 CPUs (a test)"),
    ],
)
def test_more_workers_than_cpus_are_a_warning_with_the_reason(levels, workers, share):
    (warning,) = warned(opening(*levels))
    assert f"starts {workers} workers on {share}" in str(warning.message)
    assert "oversubscribe=True" in str(warning.message)


@pytest.mark.parametrize(
    "levels, workers, share",
    [
        (["process:7"], 7, "2 CPUs (a test)"),
        (["multiprocess:7"], 7, "2 CPUs (a test)"),
        (["process:2", "process:4"], 4, "1 CPU (the share of a task of process:2)"),
        (["thread:4", "process:2"], 2, "0.5 CPUs (the share of a task of thread:4)"),
        (["process:4 + process:3"], 7, "2 CPUs (a test)"),
        (["process:2/process:4"], 8, "2 CPUs (a test)"),
        (["process:2", "process:1", "process:1", "process:5"], 5, "1 CPU (the share of a task of process:1)"),
    ],
)
@pytest.mark.filterwarnings("ignore:more workers than CPUs")
def test_more_than_three_times_as_many_are_an_error_with_the_reason(levels, workers, share):
    with pytest.raises(Oversubscribed) as refused:
        opening(*levels)()
    assert f"starts {workers} workers on {share}, more than three times as many; oversubscribe=True" in str(
        refused.value
    )


@pytest.mark.parametrize(
    "levels",
    [
        [f"process:100{MEANT}"],
        [Process(100, oversubscribe=True)],
        [f"multiprocess:100{MEANT}"],
        [f"process:100{MEANT} + process:2"],
        [f"process:100{MEANT}/process:2"],
        [f"process:2/process:100{MEANT}"],
        ["process:1", f"process:100{MEANT}"],
    ],
)
def test_many_workers_that_are_meant_are_in_order(levels):
    assert warned(opening(*levels)) == []


def test_what_is_meant_can_be_said_in_the_call():
    assert warned(opening("process", workers=100, oversubscribe=True)) == []
    assert warned(opening("process:50 + process:50", oversubscribe=True)) == []


def test_that_one_level_is_meant_says_nothing_of_the_next():
    with pytest.raises(Oversubscribed, match=r"process:2 starts 2 workers on 0.5 "):
        opening(f"process:4{MEANT}", "process:2")()


def test_one_worker_is_always_in_order():
    with entered(Scope((), 0.01)):
        assert warned(lambda: check(Process(1), 1)) == []


def test_a_default_size_is_what_is_left_and_at_least_one():
    for share, size in ((2.0, 2), (1.5, 1), (0.25, 1), (7.9, 2)):
        with entered(Scope((), share)):
            assert Process().size == Thread().size == size


def test_no_worker_starts_before_the_error():
    # `nothing_left` looks for an agent.
    for what in (lambda: get_pool("process:7"), lambda: get_pool("process:2", "process:4"), lambda: plan("process:7")):
        with pytest.raises(Oversubscribed):
            what()


def place_of(warning: warnings.WarningMessage) -> str:
    assert warning.filename == __file__
    return linecache.getline(warning.filename, warning.lineno).strip()


def test_the_warning_points_at_the_users_line():
    def open_one():
        get_pool("process:3").terminate()

    def open_levels():
        get_pool("process:2", "process:2").terminate()

    def open_named():
        ProcessPool(3).terminate()

    def open_map():
        with Map("process:3") as mapping:
            mapping(abs, [-1])

    def set_plan():
        with plan("process:3"):
            pass

    shown = [place_of(*warned(act)) for act in (open_one, open_levels, open_named, open_map, set_plan)]
    assert shown == [
        'get_pool("process:3").terminate()',
        'get_pool("process:2", "process:2").terminate()',
        "ProcessPool(3).terminate()",
        "mapping(abs, [-1])",
        'with plan("process:3"):',
    ]


def test_a_plan_that_was_checked_is_not_checked_again_where_it_is_used():
    def use():
        with plan("process:3"):
            get_pool().terminate()

    assert len(warned(use)) == 1


def test_a_plan_of_the_environment_is_checked_where_a_pool_is_opened(monkeypatch):
    monkeypatch.setenv("ANYPOOL_PLAN", "process:3")
    (warning,) = warned(lambda: get_pool().terminate())
    assert place_of(warning) == "(warning,) = warned(lambda: get_pool().terminate())"
    monkeypatch.setenv("ANYPOOL_PLAN", "process:7")
    with pytest.raises(Oversubscribed):
        get_pool()


def test_a_new_size_is_checked_like_a_first_one():
    with get_pool("process:1") as pool:
        (warning,) = warned(lambda: pool.resize(3))
        assert "pool.resize(3)" in place_of(warning)
        with pytest.raises(Oversubscribed, match="starts 7 workers on 2"):
            pool.resize(7)
        assert len(pool) == 3
        assert warned(lambda: pool.resize(2)) == []
        assert pool.map(abs, [-1, -2]) == [1, 2]
    with get_pool("process", workers=1, oversubscribe=True) as pool:
        assert warned(lambda: pool.resize(7)) == []


def test_a_restart_is_checked_with_the_cpus_that_there_are_then(monkeypatch):
    with get_pool("process:2") as pool, get_pool("process") as default:
        assert len(default) == 2
        monkeypatch.setattr(anypool._cpus, "usable_cpus", lambda: Cpus(1, "a test"))
        (warning,) = warned(lambda: pool.restart())
        assert "pool.restart()" in place_of(warning)
        assert warned(lambda: default.restart()) == []
        assert len(default) == len(default.workers()) == 1


def test_pools_beside_each_other_are_not_counted():
    with get_pool("process:2") as one, get_pool("process:2") as other, get_pool("process:2") as third:
        for pool in (one, other, third):
            assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("outer", ["process:1", "multiprocess:1", "thread:1"])
def test_a_pool_in_a_task_has_the_tasks_share(outer, monkeypatch):
    monkeypatch.undo()
    cpus = usable_cpus()

    def sizes(_):
        with get_pool("process") as inner:
            return len(inner), inner.pipe(lambda: Process().size)

    def refused(workers):
        try:
            get_pool(f"process:{workers}").close()
        except Oversubscribed as error:
            return str(error)
        return "in order"

    with get_pool(outer) as pool:
        assert pool.map(sizes, range(2)) == [(cpus, 1)] * 2
        assert pool.pipe(refused, cpus) == "in order"
        assert f"starts {3 * cpus + 1} workers on {cpus} CPU" in pool.pipe(refused, 3 * cpus + 1)


def test_a_task_that_may_use_less_than_its_share_has_that():
    def on_one_cpu():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return Process().size

    with get_pool("process:1") as pool:
        assert pool.pipe(on_one_cpu) == 1


def test_a_pool_that_comes_as_an_argument_is_counted_where_it_starts():
    def use(inner):
        return inner.map(abs, [-1])

    with get_pool("process:2") as pool:
        with get_pool(f"process:4{MEANT}") as meant:
            assert pool.submit(use, meant).result(30) == [1]
        with (
            pytest.warns(OversubscribedWarning),
            get_pool("process:4") as inner,
            pytest.raises(Oversubscribed, match="starts 4 workers on 1 "),
        ):
            pool.submit(use, inner).result(30)


def test_a_pool_that_a_worker_makes_while_it_imports_a_module_is_counted_when_it_starts(run_script, tmp_path):
    (tmp_path / "library.py").write_text("""
from anypool import get_pool
pool = get_pool("process:4")
def double(x):
    return 2 * x
def fan_out(x):
    return pool.map(double, [x])
""")
    text = """
        from anypool import Oversubscribed
        import library
        print(library.pool.map(library.double, range(4)))
        try:
            library.pool.map(library.fan_out, [1])
        except Oversubscribed as error:
            print("starts 4 workers on 0.5 CPUs (the share of a task)" in str(error))
    """
    assert run_script(
        text, env={"ANYPOOL_CPUS": "2", "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    ) == ("[0, 2, 4, 6]\nTrue\n")
