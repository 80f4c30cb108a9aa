"""How many CPUs this process may use, and who says so."""

from __future__ import annotations

import os

__all__: list[str] = []


class Cpus(int):
    """A number of CPUs, and in `reason` which limit it is."""

    reason: str

    def __new__(cls, number: int, reason: str) -> Cpus:
        made = super().__new__(cls, number)
        made.reason = reason
        return made

    def __getnewargs__(self) -> tuple[int, str]:
        return int(self), self.reason


def usable_cpus() -> Cpus:
    """How many CPUs this process may use: those of its affinity mask, not those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return Cpus(len(os.sched_getaffinity(0)), "affinity")
    return Cpus(os.cpu_count() or 1, "the machine")
