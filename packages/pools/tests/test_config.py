"""Configuration files: which are found, which are refused, and what each key may hold."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

from anypool import PlanError
from anypool._config import hosts, observers, pools, settings
from anypool._files import files, user_file

NOBODY = 12345


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with `project/deep/er` in it, the last of which is the working folder."""
    folder = tmp_path / "home"
    (folder / "project" / "deep" / "er").mkdir(parents=True)
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(folder / "project" / "deep" / "er")
    return folder


def write(path: Path, text: str = 'plan = "serial"') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.write_text(text)
    path.chmod(0o644)
    return path


def found() -> list[str]:
    return [file.path for file in files()]


# Which files are found.


def test_without_a_file_nothing_is_said() -> None:
    assert (settings(), pools(), hosts(), observers()) == ([], {}, {}, ())


def test_the_nearest_file_upwards_is_the_projects(home: Path) -> None:
    write(home / "anypool.toml")
    near = write(home / "project" / "anypool.toml")
    assert found() == [str(near)]


def test_the_file_of_the_working_folder_comes_first(home: Path) -> None:
    write(home / "project" / "anypool.toml")
    here = write(Path.cwd() / "anypool.toml")
    assert found() == [str(here)]


def test_the_home_itself_is_looked_into_and_nothing_above_it(home: Path) -> None:
    write(home.parent / "anypool.toml")
    assert found() == []
    mine = write(home / "anypool.toml")
    assert found() == [str(mine)]


@pytest.mark.parametrize("mark", [".git", ".hg"])
def test_nothing_above_the_root_of_a_project_counts(home: Path, mark: str) -> None:
    write(home / "anypool.toml")
    (home / "project" / mark).mkdir()
    assert found() == []
    root = write(home / "project" / "anypool.toml")
    assert found() == [str(root)]


def test_a_worktree_whose_git_is_a_file_is_a_root_too(home: Path) -> None:
    write(home / "anypool.toml")
    write(home / "project" / ".git", "gitdir: elsewhere")
    assert found() == []


def test_outside_of_the_home_the_search_ends_below_a_folder_that_everybody_may_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    inner = shared / "mine" / "deep"
    inner.mkdir(parents=True)
    shared.chmod(0o1777)
    write(shared / "anypool.toml")
    monkeypatch.chdir(inner)
    assert found() == []
    mine = write(shared / "mine" / "anypool.toml")
    assert found() == [str(mine)]


def test_a_home_behind_a_link_is_the_same_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home.parent / "anypool.toml")
    link = home.parent / "link"
    link.symlink_to(home)
    monkeypatch.setenv("HOME", str(link))
    assert found() == []


def test_a_working_folder_that_is_gone_has_no_project(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write(home / ".config" / "anypool" / "anypool.toml")
    gone = home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert found() == [str(mine)]


def test_a_table_of_a_pyproject_counts(home: Path) -> None:
    path = write(home / "project" / "pyproject.toml", '[tool.anypool]\nplan = "thread:2"')
    (said,) = settings()
    assert said.path == str(path)
    assert said.plan == ("thread:2", f"{path}: tool.anypool.plan")


@pytest.mark.parametrize(
    "text",
    [
        '[tool.anypool]\nplan = "serial"',
        '  [ tool . anypool ]\nplan = "serial"',
        '["tool"."anypool"]\nplan = "serial"',
        'tool.anypool.plan = "serial"',
        'tool = { anypool = { plan = "serial" } }',
        '[tool]\nanypool.plan = "serial"',
        "[tool]\n'anypool' = { plan = \"serial\" }",
        '[project]\nname = "x"\n[tool.anypool.pools.night]\nplan = "serial"',
    ],
)
def test_a_pyprojects_table_is_seen_however_it_is_written(text: str) -> None:
    write(Path("pyproject.toml").absolute(), text)
    assert len(settings()) == 1


def test_a_pyproject_that_says_nothing_to_us_is_passed_by(home: Path) -> None:
    write(Path.cwd() / "pyproject.toml", '[project]\ndependencies = [\n  "anypool>=0.1",\n]\n[tool.other]\nanypool = 1')
    above = write(home / "project" / "anypool.toml")
    assert found() == [str(above)]


def test_a_pyproject_that_says_nothing_to_us_may_be_broken_and_belong_to_anybody(home: Path) -> None:
    path = write(Path.cwd() / "pyproject.toml", "[tool.other\n")
    path.chmod(0o666)
    assert found() == []


def test_of_a_folder_that_has_both_its_anypool_toml_counts_alone(home: Path) -> None:
    write(Path.cwd() / "pyproject.toml", '[tool.anypool]\nplan = "thread:2"\n[tool.anypool.pools.a]\nplan = "serial"')
    own = write(Path.cwd() / "anypool.toml")
    assert found() == [str(own)]
    assert pools() == {}


def test_the_users_own_file_comes_after_the_projects(home: Path) -> None:
    project = write(home / "project" / "anypool.toml")
    mine = write(home / ".config" / "anypool" / "anypool.toml")
    assert found() == [str(project), str(mine)]


@pytest.mark.parametrize("base", [None, "", "  ", "/elsewhere", "/else/../where"])
def test_the_users_folder_is_the_one_that_platformdirs_names(base: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if base is not None:
        monkeypatch.setenv("XDG_CONFIG_HOME", base)
    assert user_file() == os.path.join(platformdirs.user_config_dir("anypool"), "anypool.toml")


# Whose they are.


def belongs_to_somebody_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)


def refused(path: Path, why: str) -> None:
    with pytest.raises(PlanError) as caught:
        files()
    text = str(caught.value)
    assert text.startswith(f"{path} doesn't count: ")
    assert why in text
    assert "belong to you or root, and nobody else may write there" in text


PLACES: list[Callable[[Path], Path]] = [lambda path: path, lambda path: path.parent]
each_place = pytest.mark.parametrize("place", PLACES, ids=["file", "folder"])


@each_place
def test_what_everybody_may_write_to_is_refused(home: Path, place: Callable[[Path], Path]) -> None:
    path = write(home / "project" / "anypool.toml")
    place(path).chmod(0o757)
    if place(path) == path:
        refused(path, f"{path} may be written by everybody (chmod o-w {path})")
    else:
        os.chdir(path.parent)
        refused(path, f"{path.parent} may be written by everybody (chmod o-w {path.parent})")


@each_place
def test_what_a_group_may_write_to_is_refused(
    home: Path, place: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(home / "project" / "anypool.toml")
    place(path).chmod(0o775)
    group = grp.struct_group(("staff", "x", place(path).stat().st_gid, ["bob"]))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: group)
    refused(path, f"{place(path)} may be written by its group (chmod g-w {place(path)})")


@each_place
def test_a_group_that_is_the_users_alone_may_write(
    home: Path, place: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(home / "project" / "anypool.toml")
    place(path).chmod(0o775)
    gid = place(path).stat().st_gid
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("me", "x", uid, gid, "", "/", "/bin/sh")))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("me", "x", gid, [])))
    assert found() == [str(path)]
    monkeypatch.setattr(os, "listxattr", lambda place: ["system.posix_acl_access"])
    refused(path, "may be written by its group")


@each_place
def test_what_belongs_to_somebody_else_is_refused(
    home: Path, place: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(home / "project" / "anypool.toml")
    belongs_to_somebody_else(place(path), monkeypatch)
    refused(path, "belongs to user ")


def test_the_table_of_a_pyproject_is_refused_alike(home: Path) -> None:
    path = write(home / "project" / "pyproject.toml", '[tool.anypool]\nplan = "serial"')
    path.chmod(0o646)
    refused(path, "may be written by everybody")


def test_the_users_own_file_is_refused_alike(home: Path) -> None:
    path = write(home / ".config" / "anypool" / "anypool.toml")
    path.parent.chmod(0o777)
    refused(path, f"{path.parent} may be written by everybody")


def test_a_link_counts_as_what_it_leads_to(home: Path) -> None:
    real = write(home / "real" / "some.toml")
    path = home / "project" / "anypool.toml"
    path.symlink_to(real)
    assert found() == [str(path)]
    real.parent.chmod(0o777)
    refused(path, f"{real.parent} may be written by everybody")


# What can't be read.


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def huge(path: Path) -> None:
    write(path, "#" * (1 << 20) + "\n")


def not_text(path: Path) -> None:
    path.write_bytes(b'plan = "serial"\n# caf\xe9\n')
    path.chmod(0o644)


def no_toml(path: Path) -> None:
    write(path, 'plan = "serial"\nplan thread\n')


@pytest.mark.parametrize(
    "make, message",
    [
        (fifo, ": expected a file, got something else of this name"),
        (folder, ": expected a file, got something else of this name"),
        (dangling, " can't be read: No such file or directory"),
        (huge, ": expected a configuration of at most 1 MiB"),
        (not_text, ": line 2: expected UTF-8, got byte 0xe9"),
        (no_toml, ": Expected '=' after a key in a key/value pair (at line 2, column 6)"),
    ],
)
def test_what_can_not_be_read_is_an_error_that_names_it(make: Callable[[Path], None], message: str) -> None:
    path = Path.cwd() / "anypool.toml"
    make(path)
    with pytest.raises(PlanError, match=re.escape(f"{path}{message}")):
        files()


@pytest.mark.parametrize("make", [fifo, folder, dangling, huge])
def test_a_strange_pyproject_is_nobodys_configuration(make: Callable[[Path], None]) -> None:
    make(Path.cwd() / "pyproject.toml")
    assert found() == []


# What they say.

BAD = [
    ('plans = "serial"', "plans: unknown key, expected one of plan, pools, hosts, observers"),
    ("plan = 4", "plan: expected a plan, as text, got 4"),
    ('plan = " "', "plan: expected a plan, as text, got ' '"),
    ('plan = "process:2 >"', "plan: expected the name of a launcher at character 12"),
    ('pools = "night"', "pools: expected tables [pools.NAME], got 'night'"),
    ('pools.night = "serial"', "pools.night: expected a table [pools.night], got 'serial'"),
    ("[pools.night]", "pools.night.plan: expected a plan, as text, got none"),
    ('[pools.night]\nplan = "a:"\nsize = 3', "pools.night.size: unknown key, expected one of plan"),
    ('[pools.night]\nplan = "a&b"', "pools.night.plan: expected one of ':' '?' '/' '+' '>' or the end, after 'a',"),
    ('[pools.thread]\nplan = "serial"', "pools.thread.plan: 'thread' is the name of a launcher; give the pool another"),
    ('[pools."a b"]\nplan = "serial"', "pools.a b: expected a name of letters, digits, '-', '_' and '.', got 'a b'"),
    ("hosts = []", "hosts: expected tables [hosts.NAME], got []"),
    ("[hosts.n1]\nworker = 8", "hosts.n1.worker: unknown key, expected one of address, python, workers, tags"),
    ("[hosts.n1]\naddress = 8", "hosts.n1.address: expected a host as ssh knows it, such as user@node.example.org"),
    ('[hosts.n1]\naddress = "-oProxyCommand=x"', "hosts.n1.address: expected a host as ssh knows it"),
    ('[hosts.n1]\naddress = "n1;reboot"', "hosts.n1.address: expected a host as ssh knows it"),
    ('[hosts.n1]\naddress = "n1 n2"', "hosts.n1.address: expected a host as ssh knows it"),
    ('[hosts.n1]\naddress = "$(x)"', "hosts.n1.address: expected a host as ssh knows it"),
    ("[hosts.-n1]", "hosts.-n1.address: expected a host as ssh knows it"),
    ("[hosts.n1]\npython = 3", "hosts.n1.python: expected the path of a Python there, got 3"),
    ('[hosts.n1]\npython = "-c"', "hosts.n1.python: expected the path of a Python there, got '-c'"),
    ('[hosts.n1]\nworkers = "8"', "hosts.n1.workers: expected a whole number, at least 1, got '8'"),
    ("[hosts.n1]\nworkers = 0", "hosts.n1.workers: expected a whole number, at least 1, got 0"),
    ("[hosts.n1]\nworkers = true", "hosts.n1.workers: expected a whole number, at least 1, got True"),
    ('[hosts.n1]\ntags = "gpu"', "hosts.n1.tags: expected a list of names, got 'gpu'"),
    ("[hosts.n1]\ntags = [1]", "hosts.n1.tags: expected a list of names, got [1]"),
    ('observers = "a:b"', "observers: expected a list of texts, got 'a:b'"),
    ('observers = ["a.b"]', "observers: expected package.module:object, got 'a.b'"),
    ('observers = ["a.b:c()"]', "observers: expected package.module:object, got 'a.b:c()'"),
]


@pytest.mark.parametrize("text, message", BAD, ids=[text for text, _ in BAD])
def test_a_bad_line_says_file_key_and_what_was_expected(text: str, message: str) -> None:
    path = write(Path.cwd() / "anypool.toml", text)
    with pytest.raises(PlanError) as caught:
        settings()
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_key_of_a_pyproject_is_named_by_its_whole_way() -> None:
    path = write(Path.cwd() / "pyproject.toml", "[tool.anypool.hosts.n1]\nworkers = 0")
    with pytest.raises(PlanError, match=re.escape(f"{path}: tool.anypool.hosts.n1.workers: expected")):
        settings()
    write(path, "[tool]\nanypool = 3")
    with pytest.raises(PlanError, match=re.escape(f"{path}: tool.anypool: expected a table, got 3")):
        settings()


def test_a_misspelt_key_is_told_what_is_alike() -> None:
    write(Path.cwd() / "anypool.toml", "[hosts.n1]\nworker = 8")
    with pytest.raises(PlanError, match="did you mean 'workers'"):
        settings()


EVERYTHING = """
plan = "process:2 > thread:2"
observers = ["team.watching:observer", "other:thing.inside"]

[pools.night]
plan = "slurm:4?partition=long&time=12:00:00/process:16"

[hosts.n1]
address = "alice@node1.example.org"
python = "/opt/venv/bin/python"
workers = 8
tags = ["gpu"]

[hosts."n2.example.org"]
"""


def test_everything_that_may_be_said_is_read() -> None:
    path = write(Path.cwd() / "anypool.toml", EVERYTHING)
    (said,) = settings()
    assert said.plan == ("process:2 > thread:2", f"{path}: plan")
    night = "slurm:4?partition=long&time=12:00:00/process:16"
    assert pools() == {"night": (night, f"{path}: pools.night.plan")}
    n1, n2 = hosts().values()
    assert n1[:5] == ("n1", "alice@node1.example.org", "/opt/venv/bin/python", 8, ("gpu",))
    assert n1.source == f"{path}: hosts.n1"
    assert n2[:5] == ("n2.example.org", "n2.example.org", None, None, ())
    assert observers() == ("team.watching:observer", "other:thing.inside")


def test_the_projects_words_count_more_than_the_users(home: Path) -> None:
    project = write(
        home / "project" / "anypool.toml",
        'observers = ["a:b"]\n[pools.night]\nplan = "serial"\n[hosts.n1]\naddress = "one"',
    )
    mine = write(
        home / ".config" / "anypool" / "anypool.toml",
        'plan = "thread"\nobservers = ["c:d"]\n[pools.night]\nplan = "thread"\n[pools.day]\nplan = "thread"\n'
        '[hosts.n1]\naddress = "two"\nworkers = 3\n[hosts.n2]',
    )
    assert [each.plan and each.plan.source for each in settings()] == [None, f"{mine}: plan"]
    assert {name: text.source for name, text in pools().items()} == {
        "night": f"{project}: pools.night.plan",
        "day": f"{mine}: pools.day.plan",
    }
    assert (hosts()["n1"].address, hosts()["n1"].workers) == ("one", None)
    assert observers() == ("c:d", "a:b")


def test_toml_is_read_only_where_there_is_some() -> None:
    write(Path.cwd() / "pyproject.toml", '[project]\ndependencies = ["anypool"]')
    code = """
import sys
before = set(sys.modules)
from anypool._files import files
assert files() == [], files()
assert not {"tomllib", "platformdirs", "re", "typing"} & (set(sys.modules) - before), sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
