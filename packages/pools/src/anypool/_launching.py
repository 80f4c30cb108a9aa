"""From a launcher to the crew of its workers: its own, or the one that makes a crew of any standard executor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from anypool._crew import Crew
from anypool._launcher import Launcher, launched_here
from anypool._registry import finish_before_executors

__all__: list[str] = []


def crew_of(launcher: Launcher, size: int, again: Callable[[], Executor | Crew]) -> Crew:
    """Start a launcher's workers, `size` calls at a time if they are an executor's; `again` makes another one of it."""
    launched = launched_here(launcher)
    if not isinstance(launched, Executor):
        return launched
    if launcher.traits.crosses == "references":
        launched.shutdown(wait=False)
        raise TypeError(
            f"launcher {launcher.name!r} claims that its tasks work on the caller's own objects, but launch() gave an "
            f"executor, and what an executor runs gets copies; leave `crosses` out of its traits"
        )
    # Not at the top: most pools have workers of their own.
    from anypool._adapter import ExecutorCrew

    finish_before_executors()

    def anew() -> Executor:
        executor = again()
        assert isinstance(executor, Executor)
        return executor

    return ExecutorCrew(launcher.name, launched, anew, size)
