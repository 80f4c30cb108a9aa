"""What imports what: one way between packages, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 60  # seconds
# Who may import whom; a package that is not named here fails.
BELOW: dict[str, set[str]] = {
    "anypool_serialize": set(),
    "anypool": {"anypool_serialize"},
    "anypool_secure": {"anypool_serialize", "anypool"},
    "anypool_mpi": {"anypool_serialize", "anypool"},
    "anypool_dask": {"anypool_serialize", "anypool"},
    "anypool_cache": {"anypool_serialize"},
}
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/src/*/__init__.py"))
HEAVY = ["cloudpickle", "dill", "matplotlib", "multiprocess", "numpy", "pathos", "pluggy", "ppft", "rich", "tqdm"]
# Of the standard library: each takes as long as forking a worker, or longer.
SLOW = {"contextlib", "dataclasses", "enum", "inspect", "json", "logging", "re", "traceback", "typing"}
UP_TO_THE_AGENT = """
import anypool, anypool._start
def spawn(*_):
    raise SystemExit
anypool._start.spawn = spawn
try:
    anypool.get_pool("process")
except SystemExit:
    assert "anypool._agents" in sys.modules and "anypool._pool" not in sys.modules
else:
    raise AssertionError("no agent was started first")
"""
# Written `module.name`, as the code would say it.
LINUX_ONLY = {
    *("os.eventfd", "os.memfd_create", "os.pidfd_open", "os.posix_fallocate"),
    *("mmap.MADV_REMOVE", "signal.pidfd_send_signal"),
}

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_package
def test_imports_point_one_way(package):
    ours = {other.name for other in PACKAGES}
    found = {
        (str(path.relative_to(package)), name)
        for path in package.rglob("*.py")
        for name in imported_by(path)
        if name.partition(".")[0] in ours - {package.name}
    }
    assert {(where, name) for where, name in found if name.partition(".")[0] not in BELOW[package.name]} == set()


@each_package
def test_a_package_uses_only_the_public_names_of_another(package):
    private = {
        (str(path.relative_to(package)), name)
        for path in package.rglob("*.py")
        for name in imported_by(path)
        if name.partition(".")[0] in BELOW[package.name] and "._" in name
    }
    assert private == set()


def test_importing_anypool_imports_nothing_heavy():
    loaded = run(f"import sys, anypool; print(*(name for name in {HEAVY} if name in sys.modules))")
    assert loaded.split() == []


@pytest.mark.parametrize("code", ["import anypool", "import anypool._agent, anypool._worker", UP_TO_THE_AGENT])
def test_nothing_slow_is_imported_before_workers_can_be_forked(code):
    loaded = run(f"import sys\nbare = set(sys.modules)\n{code}\nprint(*{SLOW} & (sys.modules.keys() - bare))")
    assert loaded.split() == []


def test_importing_anypool_starts_no_thread_and_opens_no_file():
    code = """
import os, threading
before = os.listdir("/proc/self/fd")
import anypool
assert os.listdir("/proc/self/fd") == before, os.listdir("/proc/self/fd")
assert threading.active_count() == 1, threading.enumerate()
"""
    run(code)


@each_package
def test_importing_a_package_leaves_the_standard_pickle_as_it_was(package):
    code = f"""
import copyreg, pickle, typing  # typing itself registers two of its classes
before = dict(vars(pickle)), dict(copyreg.dispatch_table), dict(pickle._Pickler.dispatch)
import {package.name}
assert before == (dict(vars(pickle)), dict(copyreg.dispatch_table), dict(pickle._Pickler.dispatch))
"""
    run(code)


def test_calls_that_exist_on_linux_only_are_in_one_module():
    found = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            if path.name == "_linux.py":
                continue
            names = {
                ast.unparse(node) for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Attribute)
            }
            if names & LINUX_ONLY:
                found[path.name] = names & LINUX_ONLY
    assert found == {}
