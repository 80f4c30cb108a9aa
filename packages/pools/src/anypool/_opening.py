"""The slow way to a pool: plans of several levels, launchers of plugins, executors, and what is said elsewhere."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from anypool._budget import check_plan
from anypool._building import plan_of, with_options
from anypool._launcher import Launcher
from anypool._plan import Plan
from anypool._pool import Pool
from anypool._sources import plan_here

__all__: list[str] = []


def opened(levels: list[Any], options: dict[str, Any]) -> Pool:
    """A pool of what was given, or of what holds here if nothing was."""
    if not levels:
        found = plan_here()
        plan = Plan((_optioned(found.plan.levels[0], options), *found.plan.levels[1:]))
        if not found.checked:
            check_plan(plan)
    else:
        plan = given_plan(levels, options)
        check_plan(plan)
    return Pool(plan.levels[0], below=plan.levels[1:])


def given_plan(levels: list[Any], options: dict[str, Any]) -> Plan:
    """The plan of what was given; `options` are for the first level's launcher."""
    found: list[Launcher] = []
    for level in levels:
        given = options if not found else {}
        if isinstance(level, str):
            found += plan_of(level, given).levels
        elif isinstance(level, Executor):
            from anypool._borrowed import borrow

            found.append(borrow(level, given))
        elif isinstance(level, (Launcher, Plan)):
            first, *more = (level,) if isinstance(level, Launcher) else level.levels
            found += [_optioned(first, given), *more]
        else:
            raise TypeError(f"a pool is named by text, a launcher, a plan or an executor, got {level!r}")
    return Plan(tuple(found))


def _optioned(launcher: Launcher, options: dict[str, Any]) -> Launcher:
    if not options:
        return launcher
    if launcher.name in ("nested", "mixed"):
        return with_options(launcher, options)
    raise TypeError(f"options belong to a name; give them to {type(launcher).__name__}(...) instead")
