"""Configuration files: which are found, and which are refused because others may write to them, or as no files."""

from __future__ import annotations

import grp
import os
import pwd
import re
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
