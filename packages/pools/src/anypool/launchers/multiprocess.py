"""Launcher `multiprocess`: a standard process pool over multiprocess' contexts; runs wherever Python does."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing import context as standard
from types import ModuleType
from typing import Any, ClassVar, Literal

from anypool_serialize import dumps, loads

from anypool._errors import LauncherUnavailable
from anypool._launcher import Launcher, WorkerOptions

__all__ = ["Multiprocess"]

_POPEN = {"spawn": "popen_spawn_posix", "forkserver": "popen_forkserver"}
_starting = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Multiprocess(WorkerOptions, Launcher):
    """`start_method`: spawn, forkserver or fork, as in the standard library; workers start with the first tasks.

    The main module isn't imported again in workers. A worker's death breaks the executor, which is then made anew, so
    it costs all chunks that run at that moment a second attempt. A task past its `timeout` can't be ended here.
    """

    name: ClassVar[str] = "multiprocess"
    start_method: Literal["spawn", "forkserver", "fork"] = "spawn"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        if self.start_method not in ("spawn", "forkserver", "fork"):
            raise ValueError(f"start_method is spawn, forkserver or fork, got {self.start_method!r}")

    def launch(self) -> _Executor:
        """A standard executor over a context of multiprocess."""
        try:
            import multiprocess
        except ImportError as error:
            raise LauncherUnavailable(
                "launcher 'multiprocess' needs the package multiprocess: pip install 'anypool[multiprocess]'"
            ) from error
        context = multiprocess.get_context(self.start_method)
        if self.start_method in _POPEN:
            context = _bridged(context, _POPEN[self.start_method])
        if self.initializer is None:
            return _Executor(self.size, context)
        setup = dumps((self.initializer, self.initargs), oob=1 << 62).header
        return _Executor(self.size, context, _initialize, (setup,))


class _Executor(ProcessPoolExecutor):
    def kill_workers(self) -> None:
        """End the workers whatever they do; the standard executor has this from Python 3.14 on."""
        for process in list((self._processes or {}).values()):
            process.kill()


def _initialize(setup: bytes) -> None:
    initializer, initargs = loads(setup)
    initializer(*initargs)


def _bridged(base: Any, module: str) -> Any:
    """A context in which the standard executor's queues, which are multiprocessing's, can be handed to a new process."""
    importlib.import_module("multiprocess.reduction").register(connection.Connection, connection.reduce_connection)
    plain = importlib.import_module(f"multiprocess.{module}").Popen

    class Popen(plain):  # type: ignore[misc]
        def _launch(self, process: Any) -> None:
            with _starting, _no_main():
                standard.set_spawning_popen(self)
                try:
                    super()._launch(process)
                finally:
                    standard.set_spawning_popen(None)

    class Process(base.Process):  # type: ignore[misc]
        _Popen = staticmethod(Popen)

    context = type(base)()
    context.Process = Process
    return context


@contextmanager
def _no_main() -> Iterator[None]:
    # A new process imports the main module that it is told of; what is defined there comes by value instead.
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
