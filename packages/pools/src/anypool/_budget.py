"""What a pool may take of the CPUs that are left where it is opened."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from anypool._context import Scope, entered
from anypool._errors import Oversubscribed, OversubscribedWarning
from anypool._launcher import Launcher, cpus

if TYPE_CHECKING:
    from anypool._plan import Plan

__all__: list[str] = []

_MOST = 3.0


def check_plan(plan: Plan) -> None:
    """The same for each level with what the levels above leave, so that nothing is refused only when a task maps."""
    share = cpus()
    for level in plan:
        with entered(Scope((), share, "task")):
            workers = level.size
            check(level, workers)
        share = share / workers


def check(launcher: Launcher, workers: int) -> None:
    """Warn of more workers than there are CPUs; `Oversubscribed` beyond three times as many, unless that is meant.

    What counts is the path of plans above a pool: its share of the CPUs, not the pools beside it.
    """
    if not launcher.on_this_machine or launcher.oversubscribe:
        return
    share = cpus()
    if workers <= max(1.0, share):
        return
    reason = getattr(share, "reason", "the share of a task")
    text = f"{launcher} starts {workers} workers on {share:.3g} CPUs ({reason})"
    if workers > _MOST * share:
        raise Oversubscribed(f"{text}, more than three times as many; oversubscribe=True says that this is meant")
    warnings.warn(f"{text}; oversubscribe=True says that this is meant", OversubscribedWarning, stacklevel=_outside())


def _outside() -> int:
    """How far up the user's own call is."""
    import sys

    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - it has no other name
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "anypool":
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level
