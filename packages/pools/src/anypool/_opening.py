"""The slow way to a pool: plans of several levels, launchers of plugins, executors, and what is said elsewhere."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from anypool._budget import check_plan
from anypool._building import plan_of, with_options
from anypool._launcher import Launcher
from anypool._plan import Mixed, Nested, Plan
from anypool._pool import Pool
from anypool._sources import plan_here

__all__: list[str] = []


def opened(levels: list[Any], options: dict[str, Any]) -> Pool:
    """A pool of what was given, or of what holds here if nothing was: then the options go before what it says."""
    if levels:
        plan, checked = given_plan(levels, options), False
    else:
        found = plan_here()
        checked = found.checked and not options
        plan = Plan((with_options(found.plan.levels[0], options), *found.plan.levels[1:]))
    if not checked:
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
            found.append(_borrowed(level, given, found))
        elif isinstance(level, (Launcher, Plan)):
            first, *more = (level,) if isinstance(level, Launcher) else level.levels
            found += [_optioned(first, given), *more]
        else:
            raise TypeError(f"a pool is named by text, a launcher, a plan or an executor, got {level!r}")
    return Plan(tuple(found))


def _borrowed(executor: Executor, options: dict[str, Any], above: list[Launcher]) -> Launcher:
    from anypool._borrowed import borrow

    for level in above:
        if level.traits.crosses != "references":
            kind = type(executor).__name__
            raise TypeError(f"your own {kind} stays in this process, where tasks of {level} don't run; put it first")
    return borrow(executor, options)


def _optioned(launcher: Launcher, options: dict[str, Any]) -> Launcher:
    if not options or isinstance(launcher, (Nested, Mixed)):
        return with_options(launcher, options)
    raise TypeError(f"options belong to a name; give them to {type(launcher).__name__}(...) instead")
