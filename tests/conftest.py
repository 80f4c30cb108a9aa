"""Pools on every launcher, scripts in interpreters of their own, and the proof that neither leaves anything behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anypool import Pool, get_pool

LAUNCHERS = ["serial", "thread:2", "process:2", "multiprocess:2"]
LIMIT_SECONDS = 60
MARKER = "ANYPOOL_TEST_RUN"
# Of scripts, whose stderr is looked at: two workers are more than the CPUs of a small machine.
os.environ.setdefault("PYTHONWARNINGS", "ignore:more workers than CPUs")

# Children that Python's own multiprocessing keeps until its process ends.
_TRACKERS = ("resource_tracker", "multiprocess.forkserver", "multiprocessing.forkserver")
# What a benchmark of other libraries, running beside the tests, has in /dev/shm.
_OTHERS = ("loky", "joblib", "mp-")
# A semaphore of any process on this machine, while it is made.
_NAMELESS = "sem."
# What Python's own multiprocessing keeps open until its process ends: module, its one object, the descriptor there.
_KEPT = (("resource_tracker", "_resource_tracker", "_fd"), ("forkserver", "_forkserver", "_forkserver_alive_fd"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if "soak" not in config.getoption("markexpr"):
        soaks = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in soaks]
        config.hook.pytest_deselected(items=soaks)
    for item in items:
        if here in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_SECONDS))


def pytest_collection_finish() -> None:
    # Garbage is looked for twice in each test, and it takes longer than most of them to go through thousands of tests.
    gc.collect()
    gc.freeze()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _kept_by_python() -> Iterator[int]:
    for module, owner, descriptor in _KEPT:
        found = getattr(sys.modules.get(f"multiprocessing.{module}"), owner, None)
        if (fd := getattr(found, descriptor, None)) is not None:
            yield fd


@dataclass
class Remains:
    """What a process has that a pool may have left: its children, zombies too, and what is open."""

    children: dict[int, str]
    descriptors: dict[int, str]
    threads: set[str]
    shared_memory: set[str]

    @classmethod
    def now(cls) -> Remains:
        gc.collect()
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if fields and int(fields[1]) == os.getpid():
                command = _read(f"/proc/{name}/cmdline").replace(b"\0", b" ").decode(errors="replace")
                if not any(tracker in command for tracker in _TRACKERS):
                    children[int(name)] = f"{fields[0].decode()} {command}"
        descriptors = {}
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                descriptors[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        kept = set(_kept_by_python())
        descriptors = {fd: to for fd, to in descriptors.items() if fd not in kept and not to.startswith("/proc/")}
        threads = {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}
        threads = {name for name in threads if not name.startswith(("MainThread", "anypool-helper"))}
        shared_memory = {
            name
            for name in os.listdir("/dev/shm")
            if not name.startswith(_NAMELESS) and not any(other in name for other in _OTHERS)
        }
        return cls(children, descriptors, threads, shared_memory)

    def beyond(self, before: Remains) -> dict[str, Any]:
        """What is here now and was not before."""
        new_descriptors = {fd: to for fd, to in self.descriptors.items() if fd not in before.descriptors}
        tracker_pipes = 2 if "multiprocess.resource_tracker" in sys.modules else 0
        surplus = len(self.descriptors) - len(before.descriptors) - tracker_pipes
        found = {
            "children": {pid: what for pid, what in self.children.items() if pid not in before.children},
            "descriptors": new_descriptors if surplus > 0 else {},
            "threads": self.threads - before.threads,
            "shared_memory": self.shared_memory - before.shared_memory,
        }
        return {kind: what for kind, what in found.items() if what}


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Fail unless everything that is started inside is gone within 5 s after it."""
    before = Remains.now()
    yield
    limit = time.monotonic() + 5
    while left := Remains.now().beyond(before):
        if time.monotonic() > limit:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    if "pool" in request.fixturenames:
        # The module's pool lives on, and is watched by its own fixture.
        yield
        return
    with leaving_nothing():
        yield


@pytest.fixture(scope="module", params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> str:
    """The text that names a small pool; every test that asks for it, or for a pool, runs on all launchers."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pool(launcher: str) -> Iterator[Pool]:
    """One pool for all tests of a module, which must leave it usable."""
    with leaving_nothing(), get_pool(launcher) as shared:
        yield shared


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition, or fail after some seconds."""

    def wait(condition: Callable[[], object], seconds: float = 5.0, what: str = "the condition") -> None:
        limit = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > limit:
                pytest.fail(f"{what} did not hold within {seconds} s")
            time.sleep(0.005)

    return wait


@pytest.fixture
def within() -> Callable[..., AbstractContextManager[None]]:
    """Fail if the block takes longer than so many seconds."""

    @contextmanager
    def limited(seconds: float) -> Iterator[None]:
        started = time.monotonic()
        yield
        assert time.monotonic() - started < seconds

    return limited


@dataclass
class Script:
    """A script in an interpreter of its own; everything that descends from it can be found by its marker."""

    process: subprocess.Popen[str]
    marker: str
    seen: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        self.seen.append(text)
        if not text:
            pytest.fail(f"the script ended (exit {self.process.wait(10)}):\n{''.join(self.seen)}{self.errors()}")
        return text.rstrip("\n")

    def say(self, text: str) -> None:
        """A line for its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def errors(self) -> str:
        """What it wrote to its stderr, once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def finish(self, seconds: float = 30) -> tuple[int, str, str]:
        """Exit code, output and errors, once it has ended."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def descendants(self) -> dict[int, str]:
        """Processes, however far removed, that inherited this run's environment; zombies apart."""
        needle = f"{MARKER}={self.marker}".encode()
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            pid = int(name)
            if pid != self.process.pid and needle in _read(f"/proc/{name}/environ").split(b"\0"):
                found[pid] = _read(f"/proc/{name}/cmdline").replace(b"\0", b" ").decode(errors="replace")[:80]
        return found


@pytest.fixture
def start_script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Start Python text as a script file, and end it and its descendants after the test."""
    started: list[Script] = []

    def start(text: str, *args: str, flags: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Script:
        file = tmp_path / f"script{len(started)}.py"
        file.write_text(textwrap.dedent(text))
        marker = uuid.uuid4().hex
        environment = {**os.environ, MARKER: marker, "PYTHONUNBUFFERED": "1", **(env or {})}
        process = subprocess.Popen(
            [sys.executable, *flags, str(file), *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=tmp_path, env=environment,
        )  # fmt: skip
        script = Script(process, marker)
        started.append(script)
        return script

    yield start
    for script in started:
        script.process.kill()
        script.process.wait(10)
        for stream in (script.process.stdin, script.process.stdout, script.process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        for pid in script.descendants():
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


@pytest.fixture
def run_script(start_script: Callable[..., Script]) -> Callable[..., str]:
    """The output of Python text run as a script, which must succeed, print no warning and leave no process."""

    def run(text: str, *args: str, seconds: float = 30, **options: Any) -> str:
        script = start_script(text, *args, **options)
        code, out, err = script.finish(seconds)
        assert code == 0, f"exit {code}\n{out}\n{err}"
        limit = time.monotonic() + 3
        while left := script.descendants():
            assert time.monotonic() < limit, f"still alive: {left}"
            time.sleep(0.02)
        return out

    return run
