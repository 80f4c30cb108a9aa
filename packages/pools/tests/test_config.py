"""What configuration files say: what each key may hold, and the words for what it may not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from anypool import PlanError
from anypool._config import hosts, observers, pools, settings


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
    ("plan = " + "9" * 5000, "Exceeds the limit"),
    ("plan = 0x" + "f" * 5000, "plan: expected a plan, as text, got a number of more digits than can be shown"),
    ("plan = " + "[" * 5000 + "]" * 5000, ""),
]


@pytest.mark.parametrize("text, message", BAD, ids=[text[:80] for text, _ in BAD])
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
    here = f"{path}: observers"
    assert observers() == (("team.watching:observer", here), ("other:thing.inside", here))


def test_the_projects_words_count_more_than_the_users(home: Path) -> None:
    project = write(
        home / "project" / "anypool.toml",
        'observers = ["a:b", "e:f"]\n[pools.night]\nplan = "serial"\n[hosts.n1]\naddress = "one"',
    )
    mine = write(
        home / ".config" / "anypool" / "anypool.toml",
        'plan = "thread"\nobservers = ["c:d", "a:b"]\n[pools.night]\nplan = "thread"\n[pools.day]\nplan = "thread"\n'
        '[hosts.n1]\naddress = "two"\nworkers = 3\n[hosts.n2]',
    )
    assert [each.plan and each.plan.source for each in settings()] == [None, f"{mine}: plan"]
    assert {name: text.source for name, text in pools().items()} == {
        "night": f"{project}: pools.night.plan",
        "day": f"{mine}: pools.day.plan",
    }
    assert (hosts()["n1"].address, hosts()["n1"].workers) == ("one", None)
    assert observers() == (
        ("c:d", f"{mine}: observers"), ("a:b", f"{mine}: observers"), ("e:f", f"{project}: observers")
    )  # fmt: skip


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
