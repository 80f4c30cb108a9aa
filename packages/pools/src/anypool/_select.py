"""From a launcher's name to a pool."""

from __future__ import annotations

# Nothing of weight: the agent is to start before the rest is imported, so that both take place at the same time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from anypool._launcher import Launcher
    from anypool._pool import Pool

__all__: list[str] = []

BUILT_IN = {
    "serial": "anypool.launchers.serial:Serial",
    "thread": "anypool.launchers.thread:Thread",
    "process": "anypool.launchers.process:Process",
    "multiprocess": "anypool.launchers.multiprocess:Multiprocess",
}
_DEFAULT = "process"


def get_pool(launcher: str | Launcher | None = None, /, **options: Any) -> Pool:
    """A pool of the launcher's workers, started: `get_pool("process:4")`.

    `launcher` is a name with an optional number of workers, or a launcher; None is `process`. `options` are the
    launcher's: `workers=` (default: `usable_cpus()`), `initializer=`, `initargs=`; for worker processes also
    `max_tasks_per_worker=`, `env=`, `cwd=`; for `process` `max_memory_per_worker=` (bytes); for `multiprocess`
    `start_method=`. Serial is one worker, the caller, whatever is said; it runs the initializer before its first task.

    Raises `LauncherNotFound`, `LauncherUnavailable` (with what to install), `PlanError` for a text that names nothing,
    `TypeError` or `ValueError` for options; all before any worker starts.
    """
    launcher = _DEFAULT if launcher is None else launcher
    if not _is_process(launcher) or options.get("env"):
        return _open(launcher, options)
    from anypool._agents import Ahead

    with Ahead():
        return _open(launcher, options)


def _is_process(launcher: object) -> bool:
    return isinstance(launcher, str) and launcher.partition(":")[0].strip() == "process"


def _open(launcher: str | Launcher, options: dict[str, Any]) -> Pool:
    from anypool._pool import Pool

    return Pool(_recipe(launcher, options))


def _recipe(launcher: str | Launcher, options: dict[str, Any]) -> Launcher:
    from anypool._errors import PlanError
    from anypool._launcher import Launcher

    if isinstance(launcher, Launcher):
        if options:
            raise TypeError(f"options belong to a name; give them to {type(launcher).__name__}(...) instead")
        return launcher
    if not isinstance(launcher, str):
        raise TypeError(f"a pool is named by text or a launcher, got {launcher!r}")
    name, colon, count = launcher.partition(":")
    name = name.strip()
    if not name:
        raise PlanError(f"{launcher!r} names no launcher; expected one of {', '.join(sorted(BUILT_IN))}")
    kind = _find(name)
    if colon:
        if not (count.strip().isascii() and count.strip().isdecimal() and int(count)):
            text = f"after {name!r}: expected a number of workers, at least 1, got {count!r} in {launcher!r}"
            raise PlanError(text)
        if "workers" in options:
            raise TypeError(f"workers= is given twice: {launcher!r} and {options['workers']!r}")
        options = {**options, "workers": int(count)}
    for option in options:
        if option not in kind.option_names():
            raise TypeError(_no_option(kind, option))
    return kind(**options)


def _no_option(kind: type[Launcher], option: str) -> str:
    text = f"launcher {kind.name!r} has no option {option!r}"
    having = [name for name in BUILT_IN if option in _find(name).option_names()]
    known = kind.option_names()
    if having:
        return f"{text}, which {' and '.join(having)} can honour; it has {', '.join(known)}"
    close = _similar(option, known)
    return f"{text}; did you mean {close[0]!r}?" if close else f"{text}; it has {', '.join(known)}"


def _find(name: str) -> type[Launcher]:
    place = BUILT_IN.get(name)
    if place is None:
        from anypool._errors import LauncherNotFound

        close = _similar(name, BUILT_IN)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise LauncherNotFound(f"no launcher {name!r} among {', '.join(sorted(BUILT_IN))}{hint}")
    module, _, attribute = place.partition(":")
    found: type[Launcher] = getattr(__import__(module, fromlist=[attribute]), attribute)
    return found


def _similar(word: str, known: Iterable[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(word, known, 1)
