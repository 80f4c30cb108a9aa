"""What this process has that a pool may have left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

__all__: list[str] = []

# Seconds for the last of it to go: a system may reap slowly.
_SECONDS = 5.0
# In each process one that drives pools while nobody waits, and one that tells observers; they stay.
_HELPER = "anypool-helper"
# In /dev/shm, where nobody can tell whose they are, and other programs come and go.
_ANYBODYS = ("sem.", "loky", "joblib")


class Remains(NamedTuple):
    """Children (zombies too), threads, open descriptors, files in /dev/shm; only threads where there is no /proc."""

    children: dict[int, str]
    threads: set[str]
    descriptors: dict[int, str]
    shared_memory: set[str]

    @classmethod
    def now(cls) -> Remains:
        """What is there, garbage apart."""
        gc.collect()
        threads = {f"{each.name} {each.ident}" for each in threading.enumerate() if not each.name.startswith(_HELPER)}
        return cls(dict(_children()), threads, dict(_descriptors()), _shared_memory())

    def beyond(self, before: Remains) -> dict[str, Any]:
        """What is here now and was not before; of descriptors only if there are more, for numbers are used again."""
        more = len(self.descriptors) > len(before.descriptors)
        found: dict[str, Any] = {
            "children": {pid: what for pid, what in self.children.items() if pid not in before.children},
            "threads": self.threads - before.threads,
            "descriptors": {fd: to for fd, to in self.descriptors.items() if fd not in before.descriptors}
            if more
            else {},
            "shared memory": self.shared_memory - before.shared_memory,
        }
        return {kind: what for kind, what in found.items() if what}


def _children() -> Iterator[tuple[int, str]]:
    for pid in _numbers("/proc"):
        with suppress(OSError, ValueError):
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                name, _, rest = file.read().partition("(")[2].rpartition(")")
            state, parent = rest.split()[:2]
            if int(parent) == os.getpid():
                yield pid, f"{name} {state}"


def _descriptors() -> Iterator[tuple[int, str]]:
    for descriptor in _numbers("/proc/self/fd"):
        with suppress(OSError):
            to = os.readlink(f"/proc/self/fd/{descriptor}")
            if not to.startswith("/proc/"):
                yield descriptor, to


def _shared_memory() -> set[str]:
    with suppress(OSError):
        return {name for name in os.listdir("/dev/shm") if not name.startswith(_ANYBODYS)}  # noqa: S108
    return set()


def _numbers(folder: str) -> list[int]:
    with suppress(OSError):
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    return []


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def until(condition: Any, seconds: float, what: str) -> None:
    """Wait for a condition, or fail with what it was."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {seconds:g} s"
        time.sleep(0.01)


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Fail unless what is started inside is gone soon after."""
    before = Remains.now()
    yield
    limit = time.monotonic() + _SECONDS
    while left := Remains.now().beyond(before):
        assert time.monotonic() < limit, f"left behind: {left}"
        time.sleep(0.02)
