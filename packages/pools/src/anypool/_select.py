"""From a launcher's name to a pool."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from anypool._errors import LauncherNotFound, PlanError
from anypool._launcher import Launcher
from anypool._pool import Pool

__all__: list[str] = []

_BUILT_IN = {
    "serial": "anypool.launchers.serial:Serial",
    "thread": "anypool.launchers.thread:Thread",
    "process": "anypool.launchers.process:Process",
    "multiprocess": "anypool.launchers.multiprocess:Multiprocess",
}
_DEFAULT = "process"


def get_pool(launcher: str | Launcher | None = None, **options: Any) -> Pool:
    """A pool of the launcher's workers, started: `get_pool("process:4")`.

    `launcher` is a name with an optional number of workers, or a launcher; None is `process`. `options` are the
    launcher's: `workers=`, and for processes `initializer=`, `initargs=`, `max_tasks_per_worker=`,
    `max_memory_per_worker=`, `env=`, `cwd=`.

    Raises `LauncherNotFound`, `LauncherUnavailable`, `PlanError` for a text that is no launcher, and `TypeError` or
    `ValueError` for options; all before any worker starts.
    """
    return Pool(_recipe(launcher if launcher is not None else _DEFAULT, options))


def _recipe(launcher: str | Launcher, options: dict[str, Any]) -> Launcher:
    if isinstance(launcher, Launcher):
        if options:
            raise TypeError(f"options belong to a name; give them to {type(launcher).__name__}(…) instead")
        return launcher
    if not isinstance(launcher, str):
        raise TypeError(f"a pool is named by text or a launcher, got {launcher!r}")
    name, colon, count = launcher.partition(":")
    name = name.strip()
    if colon:
        if not count.strip().isdecimal():
            raise PlanError(f"after {name!r}: expected a number of workers, got {count!r} in {launcher!r}")
        if "workers" in options:
            raise TypeError(f"workers= is given twice: {launcher!r} and {options['workers']!r}")
        options = {**options, "workers": int(count)}
    kind = _find(name)
    known = kind.option_names()
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(known)}"
            raise TypeError(f"launcher {name!r} has no option {option!r}{hint}")
    return kind(**options)


def _find(name: str) -> type[Launcher]:
    place = _BUILT_IN.get(name)
    if place is None:
        close = difflib.get_close_matches(name, _BUILT_IN, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise LauncherNotFound(f"no launcher {name!r} among {', '.join(sorted(_BUILT_IN))}{hint}")
    module, _, attribute = place.partition(":")
    found: type[Launcher] = getattr(importlib.import_module(module), attribute)
    return found
