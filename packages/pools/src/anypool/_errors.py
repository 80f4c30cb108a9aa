"""The errors of the pool: each names what failed, what was expected and what to do."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from typing import Any

from anypool_serialize import AnypoolError, Unserializable

__all__ = [
    "AnypoolError",
    "InputFailed",
    "LauncherNotFound",
    "LauncherUnavailable",
    "Oversubscribed",
    "OversubscribedWarning",
    "PlanError",
    "PoolClosed",
    "RemoteError",
    "RemoteTraceback",
    "TaskTimeout",
    "Unserializable",
    "WorkerLost",
]


class LauncherNotFound(AnypoolError, LookupError):
    """No launcher has this name."""


class LauncherUnavailable(AnypoolError, RuntimeError):
    """The launcher exists but can't run here; the message says why and what would mend it."""


class PoolClosed(AnypoolError, ValueError):
    """The pool takes no more work; `restart()` or `clear()` opens it again."""


class Oversubscribed(AnypoolError, RuntimeError):
    """Far more workers were asked for than there are CPUs."""


class OversubscribedWarning(RuntimeWarning):
    """More workers were asked for than there are CPUs."""


class PlanError(AnypoolError, ValueError):
    """The text doesn't name a place to run; the message points at the part that is wrong."""


class TaskTimeout(AnypoolError, TimeoutError):
    """A task ran longer than `timeout=`, and was given up: its worker was replaced, or its thread left behind."""


class WorkerLost(AnypoolError, BrokenExecutor):
    """A worker ended while it ran a task, more often than `retries=` allows.

    Attributes: `item` (index in the input, None for a single call), `worker` (name), `host`, `cause` (signal, exit code
    or other reason), `begun` (whether the task may have had effects) and `stderr` (the last lines).
    """

    def __init__(
        self,
        message: str,
        *,
        item: int | None = None,
        worker: str = "",
        host: str = "",
        cause: str = "",
        begun: bool = True,
        stderr: str = "",
    ) -> None:
        super().__init__(message)
        self.item, self.worker, self.host = item, worker, host
        self.cause, self.begun, self.stderr = cause, begun, stderr

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


class InputFailed(AnypoolError, RuntimeError):
    """A call never began, for a `Result` among its arguments is that of a call that failed or was cancelled.

    Its cause is what that call raised, or if it never began either, what began it. `argument` says which one of the
    arguments: its position, from 0, or its name.
    """

    def __init__(self, message: str, *, argument: int | str = "") -> None:
        super().__init__(message)
        self.argument = argument

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


class RemoteTraceback(Exception):
    """Shows, as the cause of a task's exception, the traceback on the worker."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class RemoteError(AnypoolError, RuntimeError):
    """Stands for a task's exception that can't be rebuilt here, and for its `SystemExit`.

    Attributes: `type_name` and `remote_traceback`, as the worker saw them.
    """

    def __init__(self, message: str, type_name: str = "", remote_traceback: str = "") -> None:
        super().__init__(message)
        self.type_name, self.remote_traceback = type_name, remote_traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.type_name, self.remote_traceback)


for _name in __all__:
    if globals()[_name].__module__ == __name__:
        globals()[_name].__module__ = "anypool"
del _name
