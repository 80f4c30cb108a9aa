"""What a plugin may implement: functions of these names and arguments, marked with `anypool.hookimpl`.

A plugin is a module or any other object; it implements what it likes, and takes of the arguments what it needs.
`anypool_launchers` is for plugins that an entry point names. The others are for observers, which are told what
happens in pools: those of a launcher's plugin in the pools of that launcher, others in all pools of the process, once
they are given to `anypool.register` or named in the configuration.

Observers are told on a thread that is only for them, in the order in which things happen in a pool, a moment after; all
of it has been told when the pool is left, unless that takes longer than 10 s. They disturb nothing: the first exception
of each is logged, others are dropped. All of them share that thread, so one that takes long passes things on to a
thread of its own. Nothing of this costs anything while nobody observes.

`pool` names a pool, as `process-1`; `worker` is a name as in `pool.workers()`. `map_number` numbers the maps of this
process from 1; single calls (`submit`, `pipe`, `apipe`) are map 0, and their items are the calls of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anypool._hooks import hookspec

if TYPE_CHECKING:
    from anypool._launcher import Launcher

__all__ = [
    "anypool_chunk_done",
    "anypool_item_failed",
    "anypool_item_retried",
    "anypool_launchers",
    "anypool_map_finished",
    "anypool_worker_lost",
    "anypool_worker_started",
]


@hookspec
def anypool_launchers() -> Sequence[type[Launcher]]:  # type: ignore[empty-body]
    """Return the launchers of this plugin; the entry point that names it has the launcher's name."""


@hookspec
def anypool_worker_started(pool: str, worker: str, host: str, pid: int | None) -> None:
    """A worker takes tasks from now on, also one that takes the place and the name of a lost one.

    `pid` is None where it isn't known which process serves. Workers that a pool has when an observer is registered are
    not told again. A serial pool has one worker, the caller.
    """


@hookspec
def anypool_worker_lost(pool: str, worker: str, host: str, cause: str) -> None:
    """A worker has ended before its time, and how: a signal, an exit code, a lost connection.

    `timeout: ` or `cancelled: ` comes first where the pool ended it for the sake of its task.
    """


@hookspec
def anypool_chunk_done(
    pool: str, map_number: int, first: int, count: int, errors: int, seconds: float, worker: str
) -> None:
    """Outcomes of `count` items from the `first` on have come, `errors` of them exceptions, after `seconds` of work.

    A chunk may come in several parts, and an item more than once if it is retried. What a map that is over still runs
    is not told.
    """


@hookspec
def anypool_item_failed(pool: str, map_number: int, item: int, worker: str) -> None:
    """An item's outcome is an exception, and it will not run again; who maps gets the exception itself.

    `worker` is empty for an item that was not sent, as one that can't be serialised. Told before the chunk that it
    came with.
    """


@hookspec
def anypool_item_retried(pool: str, map_number: int, item: int, worker: str) -> None:
    """An item that has begun runs again: after an exception that is to be retried, or as what a lost worker ran.

    Of a lost chunk of several items nobody knows which one ran; that all of it runs again is not told here.
    """


@hookspec
def anypool_map_finished(pool: str, map_number: int, count: int, errors: int, seconds: float) -> None:
    """A map is over, be it done, failed, dropped or given up: told once, after its chunks, and not of single calls.

    `count` items have an outcome, `errors` of them an exception, after `seconds` since it was called.
    """
