"""What the tests of pools share: every launcher, waiting for a condition, and a look at other processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

import anypool

# Wrong use is tested too, which a checker would refuse.
get_pool: Any = anypool.get_pool
Map: Any = anypool.Map
Smap: Any = anypool.Smap
Amap: Any = anypool.Amap

LAUNCHERS = ["serial", "thread:2", "process:2", "multiprocess:2"]
PARALLEL = LAUNCHERS[1:]
PROCESSES = LAUNCHERS[2:]
LIMIT = 30  # seconds

everywhere = pytest.mark.parametrize("launcher", LAUNCHERS)
in_parallel = pytest.mark.parametrize("launcher", PARALLEL)
in_processes = pytest.mark.parametrize("launcher", PROCESSES)


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    # Two workers are more than the CPUs of a small machine.
    strict = ["-W", "error", "-W", "ignore:more workers than CPUs"]
    return subprocess.run(
        [sys.executable, *strict, "-c", code, *args], capture_output=True, text=True, timeout=LIMIT, check=False
    )
