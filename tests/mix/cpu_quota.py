"""A control group of the system's, made for a test, that slows processes down."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
# Short, so that a task of some milliseconds is slowed evenly; in microseconds.
_PERIOD = 10_000


class Quota:
    """What is added goes before all else on this machine, but gets no more than `share` CPUs, all together."""

    def __init__(self, share: float) -> None:
        self._v1 = (_V1 / "cpu.cfs_quota_us").exists()
        self.folder = (_V1 if self._v1 else _V2) / f"anypool-test-{os.getpid()}-{time.monotonic_ns()}"
        self.folder.mkdir()
        quota = int(share * _PERIOD)
        if self._v1:
            (self.folder / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))
            (self.folder / "cpu.shares").write_text("262144")
        else:
            (self.folder / "cpu.max").write_text(f"{quota} {_PERIOD}")
            (self.folder / "cpu.weight").write_text("10000")

    def add(self, pid: int) -> None:
        """Slow a process down from now on."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Let all go, and the group with it."""
        root = self.folder.parent / "cgroup.procs"
        for pid in (self.folder / "cgroup.procs").read_text().split():
            try:
                root.write_text(pid)
            except ProcessLookupError:
                continue
        limit = time.monotonic() + 5
        while self.folder.exists():
            try:
                self.folder.rmdir()
            except OSError:  # A process that has just ended is still counted.
                if time.monotonic() > limit:
                    raise
                time.sleep(0.01)


@contextmanager
def quota(share: float) -> Iterator[Quota]:
    """A group that is gone afterwards."""
    made = Quota(share)
    try:
        yield made
    finally:
        made.remove()
