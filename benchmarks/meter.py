"""One measurement: seconds, processor time of the process and all below it, and what else a workload saw."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn, Self


@dataclass
class Sample:
    """`value` is in the unit of the workload; `cpu` in seconds, None where it cannot be known."""

    value: float = 0.0
    cpu: float | None = None
    extras: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        return cls(**plain)


@contextlib.contextmanager
def timed() -> Iterator[Sample]:
    """Measure what is inside; garbage of earlier measurements is collected before."""
    gc.collect()
    sample = Sample()
    before = _cpu_of_tree()
    start = time.perf_counter()
    yield sample
    sample.value = time.perf_counter() - start
    after = _cpu_of_tree()
    if before is not None and after is not None:
        # A process that ended in between takes its share along, which would make the sum too small.
        sample.cpu = None if set(before) - set(after) else sum(after.values()) - sum(before.values())


def tree() -> list[int]:
    """This process and all of its descendants."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def end_at_once(status: int) -> NoReturn:
    """End this process and all below it, whatever they wait for."""
    for pid in tree()[1:]:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(status)


def _cpu_of_tree() -> dict[int, float] | None:
    """Seconds on a processor, in nanoseconds' precision; None on systems that do not tell."""
    try:
        return {pid: spent for pid in tree() if (spent := _cpu(pid)) is not None}
    except OSError:
        return None


def _cpu(pid: int) -> float | None:
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as file:
                total += int(file.read().split()[0])
    except (OSError, IndexError):
        return None
    return total / 1e9


def memory_in_use() -> int:
    """Bytes on the whole machine that processes hold for themselves or share, each page once."""
    with open("/proc/meminfo", "rb") as file:
        fields = dict(line.split(b":", 1) for line in file)
    return sum(int(fields[name].split()[0]) for name in (b"AnonPages", b"Shmem")) << 10
