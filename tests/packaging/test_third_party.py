"""A stranger's launcher: its own distribution, found by its entry point, written by following the docs literally."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scratch import ROOT, Scratch  # type: ignore[import-not-found]

EXAMPLE = ROOT / "examples" / "third_party_launcher"
DOCS = ROOT / "docs" / "launchers.md"
MOST_LINES = 30
# What the docs show: the name of a file, some words perhaps, and what is in it.
FILES = re.compile(r"^`([\w/.]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
USE = "from anypool import get_pool\nif __name__ == '__main__':\n    print(get_pool('forkserver:2').map(abs, [-1, 2]))"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return Scratch(tmp_path_factory.mktemp("scratch"))


def test_the_example_is_installed_with_pip_and_found_by_its_entry_point(scratch, tmp_path) -> None:
    copy = Path(shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__")))
    scratch.run("python", "-m", "pip", "install", "--quiet", ".", cwd=copy)
    (line,) = [line for line in scratch.run("anypool", "backends").splitlines() if line.startswith("forkserver")]
    assert line.split() == ["forkserver", "0.1.0", "acme-forkserver", "runs", "here"]
    (tmp_path / "use.py").write_text(USE)
    assert scratch.run("python", str(tmp_path / "use.py")) == "[1, 2]\n"
    # Some of them: all are run from the command line for the one of the docs, which is the same.
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "recipe or guard", "tests"]
    assert "1 xfailed" in scratch.run("python", *tests, cwd=copy)


def test_whoever_follows_the_docs_has_a_launcher_that_keeps_the_contract(scratch, tmp_path) -> None:
    text = DOCS.read_text()
    files = dict(FILES.findall(text))
    launcher = files["src/acme_forkserver/__init__.py"]
    assert launcher.count("\n") <= MOST_LINES
    assert (
        f"two files, one of {launcher.count(chr(10))} lines and one of {files['pyproject.toml'].count(chr(10))}" in text
    )
    for name, content in files.items():
        assert content == (EXAMPLE / name).read_text(), f"{name} is another one in the example"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    install, test, command = COMMANDS.findall(text)
    for line in install.splitlines():
        told = scratch.run(*shlex.split(line), cwd=tmp_path)
    assert "forkserver" in told
    assert test == "python -m pytest tests\n"
    told = scratch.run(*shlex.split(command), cwd=tmp_path)
    assert re.search(r"^passed +a dead worker costs only its own items$", told, flags=re.MULTILINE)
    assert re.search(r"^deviates +a script needs no main guard: multiprocessing imports", told, flags=re.MULTILINE)
    assert "FAILED" not in told
