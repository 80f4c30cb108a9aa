"""The kit itself: it catches what is broken, can't be talked out of it, and says so in lines and exit codes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from anypool.testing import LauncherTests
from anypool.testing._kit import behaviours

LIMIT = 55  # seconds
BROKEN = {
    "TestDisorderly": "map_returns_a_list_in_order",
    "TestLosing": "imap_streams_in_order",
    "TestSwallowing": "an_exception_keeps_its_type_and_its_attributes",
    "TestHanging": "kwargs_are_the_same_for_every_item",
    "TestLeaking": "a_pool_leaves_nothing_behind",
    "TestSharing": "a_task_that_changes_its_argument_changes_a_copy",
    "TestIsolating": "a_killed_worker_leaves_what_its_neighbours_run_alone",
    "TestRepeating": "without_a_fault_every_item_begins_once",
}
# One that is listed as a deviation, and one launcher that can't be opened.
OTHERS = {"TestPassing": "map_returns_a_list_in_order", "TestUnavailable": "kwargs_are_the_same_for_every_item"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, str], str]:
    """What the kit says of each launcher in broken.py, by class and test."""
    wanted = {**BROKEN, **OTHERS}
    tests = [(kind, f"test_{name}") for kind, name in wanted.items()]
    tests += [("TestHealthy", f"test_{name}") for name in sorted({*BROKEN.values()})]
    tests += [("TestRepeating", "test_the_class_states_which_contract_it_was_written_for")]
    file = str(Path(__file__).with_name("broken.py"))
    done = run(
        "pytest", "-rA", "--noconftest", "-p", "no:cacheprovider", *(f"{file}::{kind}::{test}" for kind, test in tests)
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL|XPASS) \S*::(\w+)::(\w+)(.*)$", done.stdout, flags=re.MULTILINE)
    return {(kind, test): outcome + reason for outcome, kind, test, reason in found}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_launcher_is_caught_by_the_behaviour_that_is_meant_for_it(told, kind: str) -> None:
    assert told[kind, f"test_{BROKEN[kind]}"].startswith("FAILED")


@pytest.mark.parametrize("name", sorted({*BROKEN.values()}))
def test_a_launcher_that_keeps_the_contract_is_not_caught(told, name: str) -> None:
    # Of threads nobody expects that they survive their process, and so on.
    expected = "XFAIL" if "copy" in name or "neighbours" in name else "PASSED"
    assert told["TestHealthy", f"test_{name}"].startswith(expected)


def test_a_class_that_does_not_state_its_contract_is_caught(told) -> None:
    assert told["TestRepeating", "test_the_class_states_which_contract_it_was_written_for"].startswith("FAILED")


def test_a_deviation_that_passes_is_an_error(told) -> None:
    assert told["TestPassing", "test_map_returns_a_list_in_order"].startswith("FAILED")


def test_a_launcher_that_cannot_be_opened_is_an_error_and_not_skipped(told) -> None:
    assert told["TestUnavailable", "test_kwargs_are_the_same_for_every_item"].startswith("ERROR")


def test_a_test_that_is_overridden_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"Softened overrides test_the_recipe_is_frozen; .*`deviations`"):

        class Softened(LauncherTests):
            def test_the_recipe_is_frozen(self) -> None:  # type: ignore[override]
                return


def test_a_test_that_is_overridden_by_another_base_is_an_error() -> None:
    class Soft:
        test_the_recipe_is_frozen = None

    with pytest.raises(TypeError, match="overrides test_the_recipe_is_frozen"):

        class Softened(Soft, LauncherTests):  # type: ignore[misc]
            pass


def test_what_the_tests_stand_on_cannot_be_overridden_either() -> None:
    with pytest.raises(TypeError, match="overrides owed"):

        class Softened(LauncherTests):
            owed = None  # type: ignore[assignment]


def test_a_deviation_that_names_no_test_is_an_error() -> None:
    with pytest.raises(TypeError, match="no test is called test_of_nothing"):

        class Unknown(LauncherTests):
            deviations: ClassVar[dict[str, str]] = {"test_of_nothing": "for no reason"}


def test_a_deviation_without_a_reason_is_an_error() -> None:
    with pytest.raises(TypeError, match="no reason for test_the_recipe_is_frozen"):

        class Silent(LauncherTests):
            deviations: ClassVar[dict[str, str]] = {"test_the_recipe_is_frozen": " "}


def test_there_are_many_behaviours_and_each_is_named_once() -> None:
    names = behaviours()
    assert len(names) >= 40
    assert len({*names}) == len(names)


def test_the_command_prints_a_line_for_each_behaviour_and_succeeds() -> None:
    done = run("anypool.testing", "thread:2", "-k", "kwargs or changes_a_copy")
    lines = done.stdout.splitlines()
    assert lines[0] == "passed    kwargs are the same for every item"
    assert re.match(r"deviates +a task that changes its argument changes a copy: traits: crosses=", lines[1])
    assert re.match(r"thread:2: 2 behaviours: 1 passed, 1 deviates, [\d.]+ s", lines[2])
    assert (len(lines), done.returncode, done.stderr) == (3, 0, "")


def test_the_command_takes_a_deviation_which_then_has_to_fail() -> None:
    done = run("anypool.testing", "serial", "-k", "frozen", "--deviates", "test_the_recipe_is_frozen=it thaws")
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED    the recipe is frozen\n    [XPASS(strict)] it thaws\n")


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["proces:2"], "no launcher 'proces'"),
        (["process:x"], "expected a number of workers"),
        (["serial", "-k", "nothing_of_the_sort"], "no behaviour was run"),
        (["serial", "--deviates", "test_x=y"], "no test is called test_x"),
    ],
    ids=["name", "text", "selection", "deviation"],
)
def test_the_command_refuses_what_it_does_not_know(arguments: list[str], words: str) -> None:
    done = run("anypool.testing", *arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr
