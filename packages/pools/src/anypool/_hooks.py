"""What a plugin may implement: functions of these names and arguments, marked with `anypool.hookimpl`.

A plugin is a module or any other object. It implements what it likes, and takes of the arguments what it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    from anypool._launcher import Launcher

__all__: list[str] = []

PROJECT = "anypool"

F = TypeVar("F", bound="Callable[..., object]")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def anypool_launchers() -> Sequence[type[Launcher]]:  # type: ignore[empty-body]
    """Return the launchers of this plugin; its entry point has the launcher's name."""


@hookspec
def anypool_worker_started(pool: str, worker: str) -> None:
    """A worker of a pool takes tasks from now on. `pool` is the pool's id, `worker` the worker's name."""


@hookspec
def anypool_worker_lost(pool: str, worker: str, cause: str) -> None:
    """A worker is gone that was not told to end, and why."""


@hookspec
def anypool_chunk_done(
    pool: str, map: int, first: int, count: int, seconds: float, worker: str, errors: int  # noqa: A002
) -> None:
    """Outcomes of `count` items from the `first` on have come, `errors` of them exceptions; `seconds` were spent on them.

    `map` numbers the maps of this process; single calls are map 0, and their `first` says nothing. A chunk may come in
    several parts.
    """


@hookspec
def anypool_item_failed(pool: str, map: int, item: int, worker: str) -> None:  # noqa: A002
    """An item's outcome is an exception, and it will not run again. Who maps gets the exception itself."""


@hookspec
def anypool_item_retried(pool: str, map: int, item: int, worker: str) -> None:  # noqa: A002
    """An item runs again, after an exception that is to be retried or after the loss of its worker."""


@hookspec
def anypool_map_finished(pool: str, map: int, count: int, seconds: float) -> None:  # noqa: A002
    """A map is over, be it done, failed or given up: `count` items have an outcome after `seconds` on the wall."""
