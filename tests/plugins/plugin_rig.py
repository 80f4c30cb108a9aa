"""Distributions that exist only on disk, interpreters that find them, and an observer that keeps all it is told."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import anypool

LIMIT = 60  # seconds

# A launcher that is complete, and leaves a note when it is imported.
LAUNCHER = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar
import anypool

@dataclass(frozen=True)
class Own(anypool.Launcher):
    name: ClassVar[str] = "{name}"
    api: ClassVar[int] = {api}

    @classmethod
    def missing(cls):
        return {missing!r}

    def launch(self):
        return ThreadPoolExecutor(self.size)

@anypool.hookimpl
def anypool_launchers():
    return [Own]
"""


def launcher(name: str, *, api: int = 1, missing: str | None = None) -> str:
    """The source of a plugin with one launcher."""
    return LAUNCHER.format(name=name, api=api, missing=missing)


class Site:
    """A folder of distributions, as pip would install them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.folder.mkdir()
        self._cwd = folder / "elsewhere"
        self._cwd.mkdir()

    def add(self, module: str, source: str, *names: str, distribution: str = "", version: str = "1.0", more: str = ""):
        """A distribution of one module, which its entry points name; its own name is that of the module."""
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
        name = distribution or module
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        points = "".join(f"{point} = {module}\n" for point in names)
        (info / "entry_points.txt").write_text(f"[anypool]\n{points}{more}")

    def python(self, code: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run code where these distributions are installed."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH", "")]))
        return subprocess.run(
            [sys.executable, "-W", "error", *(flags or ("-c", textwrap.dedent(code)))],
            env={**os.environ, "PYTHONPATH": path},
            cwd=self._cwd, capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip

    def says(self, code: str) -> str:
        """What code prints, which must succeed."""
        done = self.python(code)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        """A file in the working folder."""
        path = self._cwd / name
        path.write_text(text)
        return path


class Recorder:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _keep(self, hook: str, **arguments: Any) -> None:
        self.events.append((hook, arguments))

    def of(self, hook: str) -> list[dict[str, Any]]:
        """The arguments of all calls of one hook."""
        return [arguments for name, arguments in list(self.events) if name == hook]

    @anypool.hookimpl
    def anypool_worker_started(self, pool, worker, host, pid):
        self._keep("worker_started", pool=pool, worker=worker, host=host, pid=pid)

    @anypool.hookimpl
    def anypool_worker_lost(self, pool, worker, host, cause):
        self._keep("worker_lost", pool=pool, worker=worker, host=host, cause=cause)

    @anypool.hookimpl
    def anypool_chunk_done(self, pool, map_number, first, count, errors, seconds, worker):
        self._keep(
            "chunk_done", pool=pool, map_number=map_number, first=first, count=count, errors=errors, seconds=seconds,
            worker=worker,
        )  # fmt: skip

    @anypool.hookimpl
    def anypool_item_failed(self, pool, map_number, item, worker):
        self._keep("item_failed", pool=pool, map_number=map_number, item=item, worker=worker)

    @anypool.hookimpl
    def anypool_item_retried(self, pool, map_number, item, worker):
        self._keep("item_retried", pool=pool, map_number=map_number, item=item, worker=worker)

    @anypool.hookimpl
    def anypool_map_finished(self, pool, map_number, count, errors, seconds):
        self._keep("map_finished", pool=pool, map_number=map_number, count=count, errors=errors, seconds=seconds)
