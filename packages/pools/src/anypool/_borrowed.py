"""A pool over an executor that the user made, and will shut down."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ClassVar, NoReturn

from anypool._cpus import usable_cpus
from anypool._launcher import Launcher, Traits
from anypool._recipe import recipe

__all__: list[str] = []


@recipe
class Borrowed(Launcher):
    """An executor as a launcher. It can't be pickled, nor made anew when it breaks, and is not shut down."""

    name: ClassVar[str] = "executor"
    api: ClassVar[int] = 1
    traits: ClassVar[Traits] = Traits("bytes", reruns=True, isolates=False, secure=None)

    executor: Executor | None = None

    def launch(self) -> Executor:
        """The executor itself, behind a face that is used once."""
        assert self.executor is not None
        return Lent(self.executor)

    def __reduce__(self) -> NoReturn:
        kind = type(self.executor).__name__
        raise TypeError(f"a pool over your own {kind} can't be sent: the executor stays in its process")

    def __str__(self) -> str:
        return f"executor:{self.workers}"


class Lent(Executor):
    """What a pool has of an executor that isn't its own: all but the end."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The executor's own."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Its owner does that."""


def borrow(executor: Executor, options: dict[str, Any]) -> Borrowed:
    """The launcher for an executor; the only options are `workers=`, how many calls it gets at a time, and `tags=`."""
    for name in options:
        if name not in ("workers", "tags"):
            raise TypeError(f"a pool over an executor has the options workers and tags, got {name!r}")
    workers = options.get("workers")
    return Borrowed(
        workers if workers is not None else _size_of(executor), tags=options.get("tags", ()), executor=executor
    )


def _size_of(executor: Executor) -> int:
    """Calls that an executor runs at a time, where it tells; else as many as there are usable CPUs."""
    for told in (_standard, _executorlib, _dask):
        try:
            if (size := told(executor)) > 0:
                return int(size)
        except Exception:  # noqa: BLE001, S112 - a stranger's attribute; the next one may be there
            continue
    return usable_cpus()


def _standard(executor: Any) -> int:
    # Of the standard pools, loky, mpi4py.futures and many that are like them.
    return executor._max_workers  # type: ignore[no-any-return]  # noqa: SLF001 - it has no other name


def _executorlib(executor: Any) -> int:
    return executor.max_workers  # type: ignore[no-any-return]


def _dask(executor: Any) -> int:
    return sum(executor._client.ncores().values())  # noqa: SLF001 - it has no other name
