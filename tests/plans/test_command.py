"""`anypool plan`: what holds, who says so, why others don't, and how many workers that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anypool import Plan, Process, Thread, get_pool, usable_cpus
from anypool.__main__ import main


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o644)
    return path


def printed(capsys: pytest.CaptureFixture[str], *levels: str, code: int = 0) -> tuple[list[str], str]:
    assert main(["plan", *levels]) == code
    out, err = capsys.readouterr()
    return out.splitlines(), err


def test_without_a_word_from_anybody_the_default_holds(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    lines, _ = printed(capsys)
    cpus, nothing = usable_cpus(), "no anypool.toml, and no pyproject.toml with [tool.anypool]"
    assert lines == [
        "process   (from the default)",
        "",
        "  the command line: says nothing",
        "  ANYPOOL_PLAN: is not set",
        f"  no configuration file: {nothing}, in {project} up to {project.parent}",
        f"  no configuration file: {project.parent}/.config/anypool/anypool.toml: not there",
        "* the default: process",
        "",
        f"process    {cpus} worker{'s' * (cpus > 1)}",
        "> serial   past the last level: the task itself",
        "",
        f"{cpus} CPUs ({cpus.reason})",
    ]


def test_each_source_is_shown_with_what_it_says(
    capsys: pytest.CaptureFixture[str], project: Path, user_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = write(project / "anypool.toml", '[pools.night]\nplan = "serial"\n[hosts.n1]')
    mine = write(user_folder / "anypool.toml", 'plan = "thread:3"')
    lines, _ = printed(capsys)
    assert lines[0] == f"thread:3   (from {mine}: plan)"
    assert f"  {ours}: has no plan (and pools night; hosts n1)" in lines
    assert f"* {mine}: plan: thread:3" in lines
    monkeypatch.setenv("ANYPOOL_PLAN", "night")
    lines, _ = printed(capsys)
    assert lines[0] == "night   (from ANYPOOL_PLAN)"
    assert "* ANYPOOL_PLAN: night" in lines
    assert f"  {mine}: plan: thread:3" in lines
    assert "serial   the caller" in lines
    monkeypatch.setenv("ANYPOOL_PLAN", " ")
    assert "  ANYPOOL_PLAN: is empty" in printed(capsys)[0]
    lines, _ = printed(capsys, "thread:1", "serial")
    assert lines[0] == "thread:1 > serial   (from the command line)"


def test_a_file_that_is_wrong_is_shown_and_stops_only_what_needs_it(
    capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(project / "anypool.toml", "plans = 3")
    lines, err = printed(capsys, code=1)
    assert f"* a configuration file: is refused: {path}: plans: unknown key" in "\n".join(lines)
    assert err.startswith(f"anypool: {path}: plans: unknown key")
    monkeypatch.setenv("ANYPOOL_PLAN", "thread:1")
    lines, err = printed(capsys)
    assert f"  a configuration file: is refused: {path}: plans: unknown key" in "\n".join(lines)
    assert not err


@pytest.mark.parametrize(
    "text, message",
    [
        ("thread:x", "the command line: after 'thread': expected a number of workers"),
        ("nothing", "the command line: no launcher 'nothing' among "),
        ("thread?x=1", "the command line: launcher 'thread' has no option 'x'"),
        (f"process:{3 * usable_cpus() + 1}", "more than three times as many"),
    ],
)
def test_a_plan_that_can_not_be_opened_is_an_error(capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    _, err = printed(capsys, text, code=1)
    assert message in err


def test_what_would_be_warned_of_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = printed(capsys, f"process:{usable_cpus() + 1}")
    assert lines[-1].startswith(
        f"warning: more workers than CPUs: process:{usable_cpus() + 1} starts {usable_cpus() + 1} workers on"
    )


def test_the_tree_shows_each_part_and_what_each_level_comes_to() -> None:
    plan = Plan.parse("process:2/thread:3 + thread:1 > thread:2 > process:1")
    assert plan.tree().splitlines() == [
        "process:2/thread:3 + thread:1   7 workers",
        "  process:2/thread:3            6 workers",
        "    process:2                   2 hubs",
        "      thread:3                  3 workers in each",
        "  thread:1                      1 worker",
        "> thread:2                      2 workers in each task, 14 in all",
        "> process:1                     1 worker in each task, 14 in all",
        "> serial                        past the last level: the task itself",
    ]


def test_the_tree_splits_the_cpus_among_the_workers_of_a_level() -> None:
    cpus = usable_cpus()
    lines = Plan((Process(cpus), Process(), Thread())).tree().splitlines()
    assert [line.split(maxsplit=2)[-1].strip() for line in lines[1:3]] == [
        f"1 worker in each task, {cpus} in all",
        f"1 worker in each task, {cpus} in all",
    ]


def test_groups_that_do_not_say_share_what_the_others_leave() -> None:
    cpus = usable_cpus()
    mix = Process(cpus) + Process()
    assert mix.sizes == [cpus, 1]
    # Threads are for waiting, and take none of the CPUs.
    assert (Thread(5) + Process()).sizes == [5, cpus]
    assert (Process() / Thread(2) + Process()).sizes == [2 * max(1, cpus // 2), max(1, cpus // 2)]


def test_what_counts_of_a_path_or_a_mix_are_the_processes_of_this_machine() -> None:
    assert (Process(2) / Thread(4)).on_cpus == 2
    assert (Process(2) / Process(3)).on_cpus == 6
    assert (Process(2) / Process(3) + Process(1) + Thread(9)).on_cpus == 7
    assert (Process(2, oversubscribe=True) + Process(1)).on_cpus == 1
    assert (Process(2, oversubscribe=True) / Process(9)).on_cpus == 0


def test_a_pools_plan_names_the_numbers_that_it_has() -> None:
    with get_pool("thread", "thread") as pool:
        assert str(pool.plan) == f"thread:{usable_cpus()} > thread"
        assert pool.plan.tree().splitlines()[0].endswith(f"{usable_cpus()} workers")


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "anypool", "plan", "thread:2"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("thread:2   (from the command line)")
