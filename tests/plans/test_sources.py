"""Who decides where `get_pool()` runs, and that it is said who did."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from anypool import (
    Launcher,
    LauncherNotFound,
    LauncherUnavailable,
    Mixed,
    Oversubscribed,
    Plan,
    PlanError,
    Process,
    Thread,
    get_pool,
    plan,
    usable_cpus,
)
from anypool._config import hosts, observers
from anypool._hooks import hookimpl
from anypool._opening import given_plan
from anypool._plugins import plugins
from anypool._sources import plan_here


def here() -> str:
    return str(plan_here().plan)


def opened(*levels: Any, **options: Any) -> str:
    with get_pool(*levels, **options) as pool:
        return str(pool.plan)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o644)
    return path


# The order.


def test_the_first_who_speaks_decides(project: Path, user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_here()[:2] == (Plan((Process(),)), "the default")
    mine = write(user_folder / "anypool.toml", 'plan = "thread:1"')
    assert (here(), plan_here().source) == ("thread:1", f"{mine}: plan")
    ours = write(project / "pyproject.toml", '[tool.anypool]\nplan = "thread:2"')
    assert (here(), plan_here().source) == ("thread:2", f"{ours}: tool.anypool.plan")
    monkeypatch.setenv("ANYPOOL_PLAN", " thread:3 > serial ")
    assert (here(), plan_here().source) == ("thread:3 > serial", "the environment variable ANYPOOL_PLAN")
    with plan("thread:4", "thread:1"):
        assert (here(), plan_here().source) == ("thread:4 > thread:1", "plan()")
        with get_pool() as pool:
            assert str(pool.plan) == "thread:4 > thread:1"
            assert pool.pipe(lambda: tuple(plan_here()[:2])) == (Plan((Thread(1),)), "the plan of the task")
        assert opened("thread:5") == "thread:5"
    assert opened() == "thread:3 > serial"


def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYPOOL_PLAN", "  ")
    assert plan_here().source == "the default"


def test_a_file_without_a_plan_leaves_it_to_the_next(project: Path, user_folder: Path) -> None:
    write(project / "anypool.toml", "[hosts.n1]\nworkers = 2")
    assert plan_here().source == "the default"
    mine = write(user_folder / "anypool.toml", 'plan = "thread:1"')
    assert plan_here().source == f"{mine}: plan"
    assert opened() == "thread:1"


def test_the_default_is_a_process_for_each_cpu() -> None:
    assert opened() == f"process:{usable_cpus()}"


def test_options_of_the_call_go_before_what_the_plan_says(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    assert opened(workers=1) == "process:1"
    monkeypatch.setenv("ANYPOOL_PLAN", "thread:3 > thread:2")
    assert opened(workers=1, tags="a") == "thread:1?tags=a > thread:2"
    monkeypatch.setenv("ANYPOOL_PLAN", "thread:3")
    assert opened(workers=1) == "thread:1"
    with pytest.raises(
        TypeError, match="launcher 'thread' has no option 'env', which process and multiprocess and parallel-python"
    ):
        get_pool(env={"A": "1"})
    monkeypatch.delenv("ANYPOOL_PLAN")
    write(project / "anypool.toml", 'plan = "thread:2"')
    seen: list[int] = []
    with get_pool(initializer=seen.append, initargs=(1,)) as pool:
        pool.map(abs, range(4))
    assert set(seen) == {1}


def test_options_that_are_of_a_mix_as_a_whole_are_given_to_the_call() -> None:
    given = given_plan(["process:1 + thread:2"], {"min_workers": 2, "tags": "all"}).levels[0]
    assert given == Mixed(groups=(Process(1), Thread(2)), min_workers=2, tags=("all",))
    with pytest.raises(TypeError, match=r"env= belongs to one launcher of process:1 \+ thread:2; say it there"):
        get_pool("process:1 + thread:2", env={"A": "1"})
    with pytest.raises(TypeError, match="workers= belongs to one launcher of process:1/thread:2"):
        get_pool("process:1/thread:2", workers=3)


def test_an_option_is_given_once() -> None:
    with pytest.raises(TypeError, match="workers= is given twice: 2 in 'thread:2', and 3"):
        get_pool("thread:2", workers=3)
    with pytest.raises(TypeError, match="options belong to a name; give them to Thread"):
        get_pool(Thread(2), tags="a")


def test_what_an_option_of_the_call_asks_for_counts_against_the_budget() -> None:
    with plan("process:1"), pytest.raises(Oversubscribed):
        get_pool(workers=3 * usable_cpus() + 1)


def test_the_usual_ways_import_nothing_for_plans() -> None:
    code = """
import sys
from anypool import get_pool
with get_pool() as pool:
    assert pool.map(abs, [-1]) == [1]
assert pool.launcher.name == sys.argv[1]
late = {"anypool._opening", "anypool._building", "anypool._config", "tomllib", "platformdirs", "dataclasses"}
assert not late & set(sys.modules), late & set(sys.modules)
"""
    for text, name in [("", "process"), ("process:1", "process"), ("thread:2", "thread")]:
        environment = {**os.environ, "ANYPOOL_PLAN": text}
        subprocess.run([sys.executable, "-c", code, name], env=environment, check=True, timeout=60)


# Errors say who is wrong.


@pytest.mark.parametrize(
    "text, kind, message",
    [
        ("process:x", PlanError, "expected a number of workers, at least 1, got 'x' at character 9 of 'process:x'"),
        ("thread >", PlanError, "expected the name of a launcher at character 9"),
        ("thread?worker=3", PlanError, "launcher 'thread' has no option 'worker'"),
        ("process?max_memory_per_worker=5", PlanError, "max_memory_per_worker must be at least"),
        ("proces:4", LauncherNotFound, "no launcher 'proces' among .*; did you mean 'process'"),
        ("thread/process", PlanError, "'thread' runs in this process"),
    ],
)
def test_the_source_of_a_wrong_text_is_named(
    text: str, kind: type[Exception], message: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYPOOL_PLAN", text)
    with pytest.raises(kind, match=f"^the environment variable ANYPOOL_PLAN: .*{message}"):
        get_pool()
    monkeypatch.delenv("ANYPOOL_PLAN")
    path = write(project / "anypool.toml", f'plan = "{text}"')
    with pytest.raises(kind, match=f"^{path}: plan: .*{message}"):
        get_pool()


def test_a_file_that_others_may_write_to_stops_get_pool_and_not_what_needs_no_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project / "anypool.toml", 'plan = "serial"').chmod(0o666)
    with pytest.raises(PlanError, match=r"anypool\.toml doesn't count"):
        get_pool()
    assert opened("thread:1") == "thread:1"
    with plan("thread:2"):
        assert opened() == "thread:2"
    monkeypatch.setenv("ANYPOOL_PLAN", "thread:3")
    assert opened() == "thread:3"


def test_a_wrong_file_of_the_users_stops_nothing_that_the_projects_decides(project: Path, user_folder: Path) -> None:
    write(project / "anypool.toml", 'plan = "thread:1"')
    mine = write(user_folder / "anypool.toml", "plans = 3")
    assert opened() == "thread:1"
    with pytest.raises(PlanError, match=f"{mine}: plans: unknown key"):
        get_pool("night")


def test_the_configuration_that_the_readme_shows_is_right(project: Path) -> None:
    readme = (Path(__file__).parents[2] / "packages" / "pools" / "README.md").read_text()
    (shown,) = re.findall(r"^```toml\n(# anypool\.toml.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL)
    write(project / "anypool.toml", shown)
    assert here() == "process:4 > thread:2"
    assert str(Plan.parse("night")) == "process:16 > thread"
    assert list(hosts()) == ["n1"]
    assert [each.text for each in observers()] == ["team.watching:observer"]


# Named pools.

POOLS = """
plan = "night"
[pools.night]
plan = "thread:2 > thread:1"
[pools.late]
plan = "night"
[pools.round]
plan = "about"
[pools.about]
plan = "round"
[pools.wrong]
plan = "thread:x"
"""


@pytest.fixture
def pools(project: Path) -> Path:
    return write(project / "anypool.toml", POOLS)


@pytest.mark.usefixtures("pools")
def test_a_named_pool_is_opened_by_its_name_wherever_a_plan_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened("night") == "thread:2 > thread:1"
    assert opened("late", "serial") == "thread:2 > thread:1 > serial"
    assert opened("serial > night") == "serial > thread:2 > thread:1"
    assert opened("night", workers=3) == "thread:3 > thread:1"
    assert opened() == "thread:2 > thread:1"
    with plan("night"):
        assert opened() == "thread:2 > thread:1"
    monkeypatch.setenv("ANYPOOL_PLAN", "late")
    assert opened() == "thread:2 > thread:1"
    assert str(Plan.parse("night")) == "thread:2 > thread:1"


def test_a_named_pool_that_is_wrong_says_which_file_and_key(pools: Path) -> None:
    with pytest.raises(PlanError, match=f"^{pools}: pools.wrong.plan: after 'thread': expected a number of workers"):
        get_pool("wrong")
    with pytest.raises(
        PlanError, match=f"{pools}: pools.round.plan: the pool is its own plan, by way of round and about"
    ):
        get_pool("round")


@pytest.mark.usefixtures("pools")
@pytest.mark.parametrize("text", ["night:4", "night?workers=2", "night + thread", "process:1/night"])
def test_a_named_pool_is_a_whole_level(text: str) -> None:
    with pytest.raises(PlanError, match=r"'night' is a named pool: expected it alone, .* at character "):
        get_pool(text)


@pytest.mark.usefixtures("pools")
def test_a_misspelt_pool_is_told_what_is_alike() -> None:
    with pytest.raises(LauncherNotFound, match=r"no launcher 'nigth' among .*; did you mean the pool 'night'"):
        get_pool("nigth")
    with pytest.raises(LauncherNotFound, match="; pools are night, late, round, about, wrong"):
        get_pool("something")


class Mpi(Launcher):
    """A launcher of somebody's."""

    name: ClassVar[str] = "mpi"


class Plugin:
    """What gives it."""

    @hookimpl
    def anypool_launchers(self) -> list[type[Launcher]]:
        return [Mpi]


def test_a_pool_may_not_be_named_like_a_launcher(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project / "anypool.toml", '[pools.mpi]\nplan = "thread:2"')
    assert opened("mpi") == "thread:2"
    plugin = Plugin()
    plugins.register(plugin)
    try:
        with pytest.raises(PlanError, match=f"{path}: pools.mpi.plan: 'mpi' is the name of a launcher; give the pool"):
            get_pool("mpi")
    finally:
        plugins.unregister(plugin)

    def not_installed(name: str) -> type[Launcher]:
        raise LauncherUnavailable(f"launcher {name!r} is not installed")

    monkeypatch.setattr("anypool._building.find", not_installed)
    with pytest.raises(PlanError, match="'mpi' is the name of a launcher"):
        get_pool("mpi")
