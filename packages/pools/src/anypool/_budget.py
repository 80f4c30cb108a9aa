"""What a pool may take of the CPUs that are left where it is opened.

What counts is the path of plans above a pool: each level leaves a worker its share, whatever pools there are beside it.
Serial pools and threads don't count, for one interpreter's lock lets one of them compute at a time; nor do workers on
other machines, which are counted there.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from anypool._context import Scope, entered
from anypool._errors import Oversubscribed, OversubscribedWarning
from anypool._launcher import Launcher, cpus
from anypool._serve import loading

if TYPE_CHECKING:
    from types import FrameType

    from anypool._plan import Plan

__all__: list[str] = []

_MOST = 3.0
_MEANT = "oversubscribe=True says that this is meant"


def check_plan(plan: Plan) -> None:
    """`check` for each level with what the levels above leave, so that nothing is refused only when a task maps."""
    share, whose = cpus(), ""
    for level in plan:
        with entered(Scope((), share)):
            workers = level.size
            check(level, workers, whose)
        if not level.on_this_machine and level.traits.crosses == "bytes":
            return  # Its tasks run where other CPUs are.
        share, whose = share / workers, f"the share of a task of {level}"


def size_within(launcher: Launcher, scope: Scope | None) -> int:
    """How many workers it has where this scope holds, checked."""
    with entered(scope):
        workers = launcher.size
        check(launcher, workers)
    return workers


def check(launcher: Launcher, workers: int, whose: str = "") -> None:
    """Warn of more workers than there are CPUs; `Oversubscribed` beyond three times as many, unless that is meant.

    One worker is always in order. `whose` are the CPUs, by default what limits those of this process.
    """
    workers = _counting(launcher, workers)
    # A pool that a worker makes while it imports a module is counted when it starts, which it perhaps never does there.
    if workers <= 1 or loading():
        return
    share = cpus()
    if workers <= share:
        return
    whose = whose or getattr(share, "reason", "the share of a task")
    many = f"{share:.3g} CPU{'s' * (share != 1)} ({whose})"
    text = f"more workers than CPUs: {launcher} starts {workers} workers on {many}"
    if workers > _MOST * share:
        raise Oversubscribed(f"{text}, more than three times as many; {_MEANT}")
    warnings.warn(f"{text}; {_MEANT}", OversubscribedWarning, stacklevel=_outside())


def _counting(launcher: Launcher, workers: int) -> int:
    """How many of its workers compute on CPUs of this machine, those apart that are meant to be many."""
    if launcher.oversubscribe or not launcher.on_this_machine:
        return 0
    counting: int = getattr(launcher, "on_cpus", workers)
    return counting


def _outside() -> int:
    """How far up from its caller the user's own call is."""
    level, frame = 1, _frame(2)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "anypool":
        level, frame = level + 1, frame.f_back
    return level


def _frame(level: int) -> FrameType | None:
    return sys._getframe(level)  # noqa: SLF001 - it has no other name
