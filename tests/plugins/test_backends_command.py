"""`anypool backends`, `python -m anypool backends` and `anypool.backends()` say the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from plugin_rig import launcher  # type: ignore[import-not-found]

import anypool


def rows(text: str) -> dict[str, str]:
    return {line.split()[0]: line for line in text.splitlines()}


def test_the_command_prints_name_version_distribution_and_whether_it_runs(site):
    site.add("plug_one", launcher("one"), "one", distribution="plug-one", version="3.1")
    done = site.python("", "-m", "anypool", "backends")
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout)["one"].split() == ["one", "3.1", "plug-one", "runs", "here"]
    assert rows(done.stdout)["serial"].split()[2:] == ["anypool", "runs", "here"]


def test_what_can_not_run_here_is_printed_with_the_reason_in_one_line(site):
    site.add("plug_one", launcher("one", missing="no engine;\npip install engine"), "one")
    done = site.python("", "-m", "anypool", "backends")
    assert rows(done.stdout)["one"].endswith("no: no engine; pip install engine")


def test_nothing_is_imported_from_the_working_folder_to_ask_a_plugin(site):
    site.add("plug_one", launcher("one"), "one")
    site.write("json.py", "raise SystemExit('not the one of the standard library')")
    command = str(Path(sys.executable).with_name("anypool"))
    assert rows(site.python("", command, "backends").stdout)["one"].endswith("runs here")


def test_an_entry_of_the_path_that_is_no_text_is_passed_over_as_imports_do(site):
    site.add("plug_one", launcher("one"), "one")
    said = site.says("""
        import pathlib, sys
        sys.path.append(pathlib.Path("/nowhere"))
        import anypool
        print(*[each.runs for each in anypool.backends() if each.name == "one"])
    """)
    assert said == "True"


def test_what_the_terminal_can_not_show_is_written_with_backslashes(site):
    site.add("plug_one", launcher("one", missing="no \u2603, and no \udcff"), "one")
    done = site.python("", "-X", "utf8=0", "-c", "import os, sys; os.environ['PYTHONIOENCODING'] = 'ascii'\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'anypool', 'backends'])")  # fmt: skip
    assert rows(done.stdout)["one"].endswith(r"no: no \u2603, and no \udcff"), done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(site):
    done = site.python("", "-c", "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'anypool', 'backends'], stdout=subprocess.PIPE)\n"
        "child.stdout.close(); child.wait(60)")  # fmt: skip
    assert done.stderr == ""


def test_without_its_package_multiprocess_is_listed_with_the_line_that_installs_it_and_raises_the_same(site):
    said = site.says("""
        import importlib.util, sys
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "multiprocess" else find(name, *rest)
        import anypool
        print({each.name: each.why for each in anypool.backends()}["multiprocess"])
        try:
            anypool.get_pool("multiprocess")
        except anypool.LauncherUnavailable as error:
            print(error)
    """)
    listed, raised = said.splitlines()
    assert listed == raised
    assert listed.endswith("pip install 'anypool[multiprocess]'")


def test_the_installed_command_is_the_module(site):
    command = Path(sys.executable).with_name("anypool")
    done, other = site.python("", str(command), "backends"), site.python("", "-m", "anypool", "backends")
    assert done.returncode == other.returncode == 0, done.stderr
    assert done.stdout == other.stdout


@pytest.mark.parametrize("arguments", [[], ["bakends"]], ids=str)
def test_a_command_that_does_not_exist_is_refused_with_those_that_do(site, arguments):
    done = site.python("", "-m", "anypool", *arguments)
    assert done.returncode == 2
    assert "COMMAND" in done.stderr or "backends" in done.stderr


def test_backends_are_sorted_and_tell_whether_they_run():
    found = anypool.backends()
    assert [each.name for each in found] == sorted(each.name for each in found)
    runs = {each.name for each in found if each.runs}
    assert {"serial", "thread", "process"} <= runs
    assert all(each.runs == (each.why is None) for each in found)
