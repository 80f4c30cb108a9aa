"""One `map`, from serial to every core of a machine, chosen by one word."""

from __future__ import annotations

# Importing `typing` would take as long as starting a worker, and the agent imports this too.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from anypool._backends import Backend, backends
    from anypool._cpus import usable_cpus
    from anypool._crew import WorkerInfo
    from anypool._errors import (
        AnypoolError,
        InputFailed,
        LauncherNotFound,
        LauncherUnavailable,
        Oversubscribed,
        OversubscribedWarning,
        PlanError,
        PoolClosed,
        RemoteError,
        RemoteTraceback,
        TaskTimeout,
        Unserializable,
        WorkerLost,
    )
    from anypool._hooks import hookimpl
    from anypool._launcher import LAUNCHER_API, Launcher, Traits
    from anypool._maps import Amap, Asmap, Imap, Ismap, Map, Smap, Uimap
    from anypool._names import ProcessPool, SerialPool, ThreadPool
    from anypool._plan import Mixed, Nested, Plan
    from anypool._plugins import register, unregister
    from anypool._pool import Pool
    from anypool._profile import Profile
    from anypool._progress import Progress, progress
    from anypool._result import Result
    from anypool._seeding import rng
    from anypool._select import get_pool
    from anypool._sharing import Shared
    from anypool._sources import plan
    from anypool._task import Task, current_task
    from anypool.launchers.multiprocess import Multiprocess
    from anypool.launchers.parallel_python import ParallelPython
    from anypool.launchers.process import Process
    from anypool.launchers.serial import Serial
    from anypool.launchers.thread import Thread

__version__ = "0.1.0"

_PLACES = {
    "_backends": ["Backend", "backends"],
    "_crew": ["WorkerInfo"],
    "_errors": [
        "AnypoolError", "InputFailed", "LauncherNotFound", "LauncherUnavailable", "Oversubscribed",
        "OversubscribedWarning", "PlanError", "PoolClosed", "RemoteError", "RemoteTraceback", "TaskTimeout",
        "Unserializable", "WorkerLost",
    ],
    "_cpus": ["usable_cpus"],
    "_hooks": ["hookimpl"],
    "_launcher": ["LAUNCHER_API", "Launcher", "Traits"],
    "_maps": ["Amap", "Asmap", "Imap", "Ismap", "Map", "Smap", "Uimap"],
    "_names": ["ProcessPool", "SerialPool", "ThreadPool"],
    "_plan": ["Mixed", "Nested", "Plan"],
    "_plugins": ["register", "unregister"],
    "_pool": ["Pool"],
    "_profile": ["Profile"],
    "_progress": ["Progress", "progress"],
    "_result": ["Result"],
    "_seeding": ["rng"],
    "_select": ["get_pool"],
    "_sharing": ["Shared"],
    "_sources": ["plan"],
    "_task": ["Task", "current_task"],
    "launchers.multiprocess": ["Multiprocess"],
    "launchers.parallel_python": ["ParallelPython"],
    "launchers.process": ["Process"],
    "launchers.serial": ["Serial"],
    "launchers.thread": ["Thread"],
}  # fmt: skip
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "LAUNCHER_API",
    "Amap",
    "AnypoolError",
    "Asmap",
    "Backend",
    "Imap",
    "InputFailed",
    "Ismap",
    "Launcher",
    "LauncherNotFound",
    "LauncherUnavailable",
    "Map",
    "Mixed",
    "Multiprocess",
    "Nested",
    "Oversubscribed",
    "OversubscribedWarning",
    "ParallelPython",
    "Plan",
    "PlanError",
    "Pool",
    "PoolClosed",
    "Process",
    "ProcessPool",
    "Profile",
    "Progress",
    "RemoteError",
    "RemoteTraceback",
    "Result",
    "Serial",
    "SerialPool",
    "Shared",
    "Smap",
    "Task",
    "TaskTimeout",
    "Thread",
    "ThreadPool",
    "Traits",
    "Uimap",
    "Unserializable",
    "WorkerInfo",
    "WorkerLost",
    "backends",
    "current_task",
    "get_pool",
    "hookimpl",
    "plan",
    "progress",
    "register",
    "rng",
    "unregister",
    "usable_cpus",
]


def __getattr__(name: str) -> Any:
    # The agent and its workers import parts of this package that need next to nothing of it.
    if name == "hookspecs":
        return __import__(f"{__name__}.hookspecs", fromlist=[name])
    module = _PLACE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(__import__(f"{__name__}.{module}", fromlist=[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
