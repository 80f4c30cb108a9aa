"""From what a user writes to a pool: a name, a launcher, a plan, or an executor of the user's own."""

from __future__ import annotations

# Nothing of weight: the agent is to start before the rest is imported, so that both take place at the same time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor
    from typing import Any

    from anypool._launcher import Launcher
    from anypool._plan import Plan
    from anypool._pool import Pool

__all__: list[str] = []

# Built-in launchers are found without their entry points: reading those takes longer than starting a worker.
BUILT_IN = {
    "serial": "anypool.launchers.serial:Serial",
    "thread": "anypool.launchers.thread:Thread",
    "process": "anypool.launchers.process:Process",
    "multiprocess": "anypool.launchers.multiprocess:Multiprocess",
}
# What makes a text more than a name and a number of workers.
_GRAMMAR = frozenset("/+>?,\"'")


def get_pool(*levels: str | Launcher | Plan | Executor | None, **options: Any) -> Pool:
    """A pool of the launcher's workers, started: `get_pool("process:4")`.

    Each level is a text such as `process:4`, a launcher, or a `Plan`; tasks that call `get_pool()` get the level after
    the one they run on, and after the last a serial pool. Without levels: what `plan()` says in this context, or inside
    a task what is left of its plan, or ANYPOOL_PLAN, or the nearest configuration file, or `process`. A
    `concurrent.futures.Executor` of your own is used as it is, and stays yours to shut down.

    `options` are those of the first level's launcher: `workers=` (default: the CPUs that are left), `initializer=`,
    `initargs=`; for worker processes also `max_tasks_per_worker=`, `env=`, `cwd=`; for `process`
    `max_memory_per_worker=` (bytes); for `multiprocess` `start_method=`; of all `oversubscribe=` and `tags=`; of a mix
    `min_workers=`. Serial is one worker, the caller, whatever is said; it runs the initializer before its first task.

    Raises `LauncherNotFound`, `LauncherUnavailable` (with what to install), `PlanError` for a text that names nothing,
    `Oversubscribed`, `TypeError` or `ValueError` for options; all before any worker starts.
    """
    first = levels[0] if levels else None
    if options.get("env") or not (_is_process(first) if first is not None else _may_be_process()):
        return _open(levels, options)
    from anypool._agents import Ahead

    with Ahead():
        return _open(levels, options)


def _is_process(level: object) -> bool:
    return isinstance(level, str) and level.partition(":")[0].strip() == "process"


def _may_be_process() -> bool:
    """Whether the default is likely: nothing is said in this context, nor in the environment."""
    import os

    from anypool._context import scope

    return scope() is None and "ANYPOOL_PLAN" not in os.environ


def _open(levels: tuple[Any, ...], options: dict[str, Any]) -> Pool:
    from anypool._pool import Pool

    given = [level for level in levels if level is not None]
    if len(given) == 1 and (launcher := _simple(given[0], options)) is not None:
        # The default size is what is left of the CPUs.
        if launcher.workers is not None:
            from anypool._budget import check

            check(launcher, launcher.size)
        return Pool(launcher)
    from anypool._opening import opened

    return opened(given, options)


def _simple(level: object, options: dict[str, Any]) -> Launcher | None:
    """The launcher of a text that is only a built-in name, and perhaps a number of workers; None for all else."""
    if not isinstance(level, str) or _GRAMMAR.intersection(level):
        return None
    name, colon, count = level.partition(":")
    name = name.strip()
    if name not in BUILT_IN or (colon and "workers" in options):
        return None
    kind = find(name)
    if colon:
        if not (count.strip().isascii() and count.strip().isdecimal() and int(count)):
            return None
        options = {**options, "workers": int(count)}
    for option in options:
        if option not in kind.option_names():
            raise TypeError(no_option(kind, option))
    return kind(**options)


def find(name: str) -> type[Launcher]:
    """The class of a launcher: a built-in one, else that of the plugin whose entry point has this name."""
    place = BUILT_IN.get(name)
    if place is None:
        from anypool._plugins import plugins

        return plugins.launcher(name)
    module, _, attribute = place.partition(":")
    found: type[Launcher] = getattr(__import__(module, fromlist=[attribute]), attribute)
    return found


def no_option(kind: type[Launcher], option: str) -> str:
    """That a launcher has no such option, and which one may be meant, or which launcher has it."""
    text = f"launcher {kind.name!r} has no option {option!r}"
    having = [name for name in BUILT_IN if option in find(name).option_names()]
    known = kind.option_names()
    if having:
        return f"{text}, which {' and '.join(having)} can honour; it has {', '.join(known)}"
    close = similar(option, known)
    return f"{text}; did you mean {close[0]!r}?" if close else f"{text}; it has {', '.join(known)}"


def similar(word: str, known: Iterable[str]) -> list[str]:
    """The one that is spelt like the word, if any."""
    import difflib

    return difflib.get_close_matches(word, known, 1)
