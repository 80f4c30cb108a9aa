"""The plugin contract: a launcher is a recipe for workers, without live resources."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, ClassVar

from anypool._crew import Crew
from anypool._options import whole
from anypool._recipe import field_names, recipe

__all__: list[str] = []

LAUNCHER_API = 1


def usable_cpus() -> int:
    """How many CPUs this process may use: those of its affinity mask, not those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@recipe
class Launcher:
    """What to start, as a picklable recipe: frozen, without live resources. Subclasses have a `name` and `launch()`.

    `workers`: how many, at least 1 (`ValueError`); None for as many as there are usable CPUs where the pool is opened.
    """

    name: ClassVar[str] = ""
    starts_workers: ClassVar[bool] = True

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            object.__setattr__(self, "workers", whole("workers", self.workers, 1))

    @property
    def size(self) -> int:
        """How many workers it will be, resolved now."""
        return self.workers if self.workers is not None else usable_cpus()

    def launch(self) -> Executor | Crew:
        """Start the workers: a standard `Executor`, or a crew. Each call starts others.

        Raises `LauncherUnavailable` with what is missing where it can't run.
        """
        raise NotImplementedError(f"{type(self).__name__}.launch")

    @classmethod
    def option_names(cls) -> list[str]:
        """What `get_pool` accepts for this launcher."""
        return list(field_names(cls))

    def __str__(self) -> str:
        return self.name if self.workers is None else f"{self.name}:{self.workers}"


@recipe
class WorkerOptions:
    """What every worker starts with.

    `initializer(*initargs)` runs in each worker before its first task, for a serial pool once in the caller. What it
    raises ends the pool's maps with `WorkerLost`.
    """

    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()

    def check(self) -> None:
        """Raise `TypeError` for what can't be called."""
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError(f"initializer is a function or None, got {self.initializer!r}")
        if not isinstance(self.initargs, (tuple, list)):
            raise TypeError(f"initargs is a tuple of arguments, got {self.initargs!r}")


@recipe
class ProcessOptions(WorkerOptions):
    """What worker processes have beyond that.

    After `max_tasks_per_worker` tasks a fresh worker takes a worker's place; `env` is added to their environment; `cwd`
    is the folder they work in.
    """

    max_tasks_per_worker: int | None = None
    env: Mapping[str, str] | None = None
    cwd: str | os.PathLike[str] | None = None

    def check(self) -> None:
        """Raise `TypeError` or `ValueError` for what no worker could start with."""
        super().check()
        if self.max_tasks_per_worker is not None:
            tasks = whole("max_tasks_per_worker", self.max_tasks_per_worker, 1)
            object.__setattr__(self, "max_tasks_per_worker", tasks)
        if not isinstance(self.cwd, (str, os.PathLike, type(None))):
            raise TypeError(f"cwd is a folder's path or None, got {self.cwd!r}")
        if self.cwd is not None and not os.path.isdir(self.cwd):
            raise ValueError(f"cwd is a folder that exists, got {os.fspath(self.cwd)!r}")
        if self.env is not None and not isinstance(self.env, Mapping):
            raise TypeError(f"env is a mapping of strings to strings, got {self.env!r}")
        for key, value in (self.env or {}).items():
            if not isinstance(key, str) or not isinstance(value, str):  # type: ignore[redundant-expr]
                raise TypeError(f"env maps strings to strings, got {key!r}: {value!r}")
            if not key or set(key) & {"=", "\0"} or "\0" in value:
                raise ValueError(f"env has names without '=', and no null characters, got {key!r}: {value!r}")


Launcher.__module__ = "anypool"
