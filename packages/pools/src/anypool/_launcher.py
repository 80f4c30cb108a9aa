"""The plugin contract: a launcher is a recipe for workers, without live resources."""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from anypool._context import scope
from anypool._crew import Crew
from anypool._errors import LauncherUnavailable
from anypool._options import names_of, whole
from anypool._recipe import field_names, recipe

# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    from anypool._plan import Mixed, Nested

    class _Traits(NamedTuple):
        crosses: Literal["bytes", "references"] = "bytes"
        reruns: bool = True
        isolates: bool = False
        secure: bool | None = False

else:
    _Traits = namedtuple("_Traits", ("crosses", "reruns", "isolates", "secure"), defaults=("bytes", True, False, False))

__all__: list[str] = []

# A message has two bytes for whose it is.
_MOST_WORKERS = (1 << 16) - 1

LAUNCHER_API = 1


class Traits(_Traits):
    """What is so where a launcher's tasks run: claims that the kit tests. What is left out takes the cautious value.

    `crosses`: whether tasks get their arguments as `"bytes"` or by `"references"`, as threads do. `reruns`: the engine
    may run a task again by itself. `isolates`: the end of one worker leaves the others alone. `secure`: what crosses a
    network is authenticated and encrypted; None where there is no network.
    """

    __slots__ = ()


def cpus() -> float:
    """CPUs for a pool that is opened here: a task's share, else all that this process may use."""
    from anypool._cpus import usable_cpus

    here, usable = scope(), usable_cpus()
    # What a task may use can have become less than its share, by a mask or a quota of its own.
    return usable if here is None or here.cpus is None else min(here.cpus, usable)


@recipe
class Launcher:
    """What to start, as a picklable recipe: frozen, without live resources. Subclasses have a `name` and `launch()`.

    `workers`: how many, at least 1 (`ValueError`); None for what is left of the budget where the pool is opened.
    `oversubscribe`: more than three times as many workers as CPUs are meant. `tags`: by which maps ask for these
    workers among others, see `needs=`.

    A class says in `api` which contract it was written for (`anypool.LAUNCHER_API`), and in `traits` what is so.
    `argument` is the field that text after a colon fills (`process:4`); a field that is a tuple takes several.
    `on_this_machine`: its workers use this machine's CPUs, and count against the budget.
    """

    name: ClassVar[str] = ""
    api: ClassVar[int] = LAUNCHER_API
    traits: ClassVar[Traits] = Traits()
    argument: ClassVar[str] = "workers"
    on_this_machine: ClassVar[bool] = False
    starts_workers: ClassVar[bool] = True

    workers: int | None = None
    oversubscribe: bool = False
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None:
            object.__setattr__(self, "workers", whole("workers", self.workers, 1))
            if self.workers > _MOST_WORKERS:
                raise ValueError(f"a pool has at most {_MOST_WORKERS:,} workers, got workers={self.workers}")
        if self.tags:
            object.__setattr__(self, "tags", names_of("tags", self.tags))

    @property
    def size(self) -> int:
        """How many workers it will be, resolved now."""
        return self.workers if self.workers is not None else max(1, int(cpus()))

    @property
    def all_tags(self) -> frozenset[str]:
        """The tags of its workers, its parts' included."""
        return frozenset(self.tags)

    def launch(self) -> Executor | Crew:
        """Start the workers: a standard `Executor`, or a crew. Each call starts others.

        Raises `LauncherUnavailable` with what is missing where it can't run.
        """
        raise NotImplementedError(f"{type(self).__name__}.launch")

    @classmethod
    def missing(cls) -> str | None:
        """Why it can't run here, with the line that would mend it; None if it can. Starts nothing."""
        return None

    @classmethod
    def option_names(cls) -> list[str]:
        """What `get_pool` accepts for this launcher."""
        return list(field_names(cls))

    def __truediv__(self, inner: Launcher) -> Nested:
        """One flat pool of the `inner` workers of every worker of this: `Ssh("n1", "n2") / Process(8)`."""
        from anypool._plan import nested

        return nested(self, inner)

    def __add__(self, other: Launcher) -> Mixed:
        """One pool, and one queue, of both: `Process(4) + Thread(2)`."""
        from anypool._plan import mixed

        return mixed(self, other)

    def __str__(self) -> str:
        from anypool._wording import written

        return written(self)


def launched_here(launcher: Launcher) -> Executor | Crew:
    """Start a launcher's workers; where it can't run, `LauncherUnavailable` in the words of `anypool backends`."""
    if (why := launcher.missing()) is not None:
        raise LauncherUnavailable(why)
    launched = launcher.launch()
    # By what it has, for a crew is of no class in particular.
    if not (isinstance(launched, Executor) or hasattr(launched, "renew")):
        expected = "a concurrent.futures.Executor or a Crew"
        raise LauncherUnavailable(f"launch() of launcher {launcher.name!r} returns {expected}, got {launched!r}")
    return launched


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
        if self.cwd is not None:
            # As text, which a plan's text gives back.
            object.__setattr__(self, "cwd", os.fspath(self.cwd))
        if self.env is not None and not isinstance(self.env, Mapping):
            raise TypeError(f"env is a mapping of strings to strings, got {self.env!r}")
        for key, value in (self.env or {}).items():
            if not isinstance(key, str) or not isinstance(value, str):  # type: ignore[redundant-expr]
                raise TypeError(f"env maps strings to strings, got {key!r}: {value!r}")
            if not key or set(key) & {"=", "\0"} or "\0" in value:
                raise ValueError(f"env has names without '=', and no null characters, got {key!r}: {value!r}")


for _public in (Launcher, Traits):
    _public.__module__ = "anypool"
del _public
