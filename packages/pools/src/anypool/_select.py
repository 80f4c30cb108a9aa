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
    "parallel-python": "anypool.launchers.parallel_python:ParallelPython",
}
ALIASES = {"ppft": "parallel-python"}
VARIABLE = "ANYPOOL_PLAN"
# What makes a text more than a name and a number of workers.
_GRAMMAR = frozenset("/+>?,\"'")
# More than any number of workers has, and less than Python refuses to read.
_DIGITS = 20


def get_pool(*levels: str | Launcher | Plan | Executor | None, **options: Any) -> Pool:
    """A pool of the launcher's workers, started: `get_pool("process:4")`.

    Each level is a text such as `process:4`, the name of a pool in a configuration file, a launcher, or a `Plan`; tasks
    that call `get_pool()` get the level after the one they run on, and after the last a serial pool. Without levels:
    what `plan()` says in this context, or inside a task what is left of its plan, or ANYPOOL_PLAN, or the nearest
    configuration file, or `process`; options then go before what that says. A `concurrent.futures.Executor` of your own
    is used as it is, and stays yours to shut down.

    `options` are those of the first level's launcher: `workers=` (default: the CPUs that are left), `initializer=`,
    `initargs=`; for worker processes also `max_tasks_per_worker=`, `env=`, `cwd=`; for `process`
    `max_memory_per_worker=` (bytes); for `multiprocess` `start_method=`; of all `oversubscribe=` and `tags=`; of a mix
    `min_workers=`. Serial is one worker, the caller, whatever is said; it runs the initializer before its first task.

    Raises `LauncherNotFound`, `LauncherUnavailable` (with what to install), `PlanError` for a text that names nothing,
    `Oversubscribed`, `TypeError` or `ValueError` for options; all before any worker starts.
    """
    given: list[Any] = [level for level in levels if level is not None]
    if not given and _plain(said := _said(), options) is not None:
        given = [said]
    if options.get("env") or not (given and _is_process(given[0])):
        return _open(given, options)
    from anypool._agents import Ahead

    with Ahead():
        return _open(given, options)


def _is_process(level: object) -> bool:
    return isinstance(level, str) and level.partition(":")[0].strip() == "process"


def default() -> str:
    """What runs where nobody says anything."""
    from anypool import _linux

    return "process" if _linux.supported() is None else "multiprocess"


def _said() -> str | None:
    """What ANYPOOL_PLAN says, or else the default; None if somebody comes before, who then is to be asked."""
    import os

    from anypool._context import scope

    if scope() is not None:
        return None
    text = os.environ.get(VARIABLE, "").strip()
    if text:
        return text
    from anypool._files import in_project, of_user

    return None if in_project() or of_user() else default()


def _open(given: list[Any], options: dict[str, Any]) -> Pool:
    from anypool._pool import Pool

    if len(given) == 1 and (launcher := _simple(given[0], options)) is not None:
        # The default size is what is left of the CPUs.
        if launcher.workers is not None:
            from anypool._budget import check

            check(launcher, launcher.size)
        return Pool(launcher)
    from anypool._opening import opened

    return opened(given, options)


def _plain(level: object, options: dict[str, Any]) -> tuple[str, str] | None:
    """Name and number, if a text is only a built-in name, and perhaps a number of workers; None for all else."""
    if not isinstance(level, str) or _GRAMMAR.intersection(level):
        return None
    name, colon, count = level.partition(":")
    name, count = name.strip(), count.strip()
    if name not in BUILT_IN or (colon and "workers" in options):
        return None
    return (name, count) if not colon or is_number(count) else None


def is_number(text: str) -> bool:
    """Whether a text is a number of workers, at least 1."""
    return text.isascii() and text.isdecimal() and len(text) < _DIGITS and int(text) > 0


def _simple(level: object, options: dict[str, Any]) -> Launcher | None:
    """The launcher of a plain text; None for all else."""
    plain = _plain(level, options)
    if plain is None:
        return None
    kind = find(plain[0])
    for option in options:
        if option not in kind.option_names():
            raise TypeError(no_option(kind, option))
    return kind(**options, workers=int(plain[1])) if plain[1] else kind(**options)


def find(name: str) -> type[Launcher]:
    """The class of a launcher: a built-in one, else that of the plugin whose entry point has this name."""
    place = BUILT_IN.get(ALIASES.get(name, name))
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
