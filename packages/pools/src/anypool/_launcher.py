"""The plugin contract: a launcher is a recipe for workers, without live resources."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from anypool._crew import Crew
from anypool._errors import PlanError

__all__: list[str] = []

LAUNCHER_API = 1


def usable_cpus() -> int:
    """How many CPUs this process may use: those of its affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """What to start, as a picklable recipe. `launch()` starts it, as a standard `Executor` or as a crew.

    `workers`: how many; None for as many as there are usable CPUs where the pool is opened.
    """

    name: ClassVar[str] = ""

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            if isinstance(self.workers, bool) or not isinstance(self.workers, int):
                raise TypeError(f"workers is a whole number or None, got {self.workers!r}")
            if self.workers < 1:
                raise ValueError(f"workers must be at least 1, got {self.workers}")

    @property
    def size(self) -> int:
        """How many workers it will be, resolved now."""
        return self.workers if self.workers is not None else usable_cpus()

    def launch(self) -> Executor | Crew:
        """Start the workers."""
        raise NotImplementedError(f"{type(self).__name__}.launch")

    @classmethod
    def option_names(cls) -> list[str]:
        """What `get_pool` accepts for this launcher."""
        return [field.name for field in fields(cls)]

    def __str__(self) -> str:
        return self.name if self.workers is None else f"{self.name}:{self.workers}"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What worker processes and threads start with.

    `initializer(*initargs)` runs in each worker before its first task; what it raises ends the pool's maps with
    `WorkerLost`.
    """

    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()

    def check(self) -> None:
        """Raise `TypeError` for what can't be called."""
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError(f"initializer is a function or None, got {self.initializer!r}")


@dataclass(frozen=True, kw_only=True)
class ProcessOptions(WorkerOptions):
    """`max_tasks_per_worker` tasks, then a fresh worker takes its place; `max_memory_per_worker` bytes resident, then it is
    killed; `env` is added to the workers' environment; `cwd` is where they start."""

    max_tasks_per_worker: int | None = None
    max_memory_per_worker: int | None = None
    env: Mapping[str, str] | None = None
    cwd: str | os.PathLike[str] | None = None

    def check(self) -> None:
        """Raise `TypeError` or `ValueError` for what no worker could start with."""
        super().check()
        for name in ("max_tasks_per_worker", "max_memory_per_worker"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} is a whole number or None, got {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.cwd is not None and not os.path.isdir(self.cwd):
            raise PlanError(f"cwd is a folder that exists, got {os.fspath(self.cwd)!r}")
        for key, value in (self.env or {}).items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(f"env maps strings to strings, got {key!r}: {value!r}")
