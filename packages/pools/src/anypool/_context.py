"""What holds where a pool is opened: the levels of the plan that come next, and a share of the CPUs.

It is set for each chunk in the worker that runs it, and by `plan()` for the code below it. The innermost one holds, so
a plan that is set around a map does not hold again inside the map's own tasks.
"""

from __future__ import annotations

from collections import namedtuple
from contextvars import ContextVar, copy_context

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context, Token
    from typing import NamedTuple

    from anypool._launcher import Launcher

    class Scope(NamedTuple):
        """`levels`: what `get_pool()` opens next, none is serial; `cpus`: how many are left.

        None for what the worker was started with, or all usable ones.
        `source` says who spoke, for people to read.
        """

        levels: tuple[Launcher, ...] = ()
        cpus: float | None = None
        source: str = "task"

else:
    Scope = namedtuple("Scope", ("levels", "cpus", "source"), defaults=((), None, "task"))

__all__: list[str] = []

_here: ContextVar[Scope | None] = ContextVar("anypool_scope", default=None)
# That of a worker process, for its threads as well.
_process: Scope | None = None


def scope() -> Scope | None:
    """What holds here; None outside of tasks and plans."""
    here = _here.get()
    if here is None or here.cpus is not None or _process is None:
        return here or _process
    return here._replace(cpus=_process.cpus)


def hold(scope: Scope | None) -> None:
    """Have a scope hold in this context from now on; None for that of the process."""
    _here.set(scope)


class entered:  # noqa: N801 - read as a phrase: with entered(scope)
    """Have a scope hold within a block; None for that of the process."""

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token: Token[Scope | None] = _here.set(self._scope)

    def __exit__(self, *_: object) -> None:
        _here.reset(self._token)


class unchanged:  # noqa: N801 - read as a phrase: with unchanged()
    """After a block the scope is the one before it, wherever a signal's handler has struck in it."""

    def __enter__(self) -> None:
        self._before = _here.get()

    def __exit__(self, *_: object) -> None:
        _here.set(self._before)


def context_with(scope: Scope | None) -> Context:
    """A copy of the calling context, in which this scope holds."""
    context = copy_context()
    context.run(_here.set, scope)
    return context


def become_worker(cpus: float | None) -> None:
    """From now on this process is a worker, with so many CPUs for what its tasks open."""
    global _process
    _process = Scope((), cpus, "task")


def is_worker() -> bool:
    """Whether this process is a worker."""
    return _process is not None
