"""Launcher `multiprocess`: a standard process pool over multiprocess' contexts; runs wherever Python does."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing import context as standard
from multiprocessing import process as standard_process
from struct import Struct
from typing import Any, ClassVar, Literal

from anypool._context import become_worker
from anypool._errors import LauncherUnavailable, Unserializable, WorkerLost
from anypool._launcher import Launcher, ProcessOptions, Traits, cpus
from anypool._recipe import recipe
from anypool._task import become
from anypool._threads import limit_threads
from anypool._wire import IN_BAND
from anypool_serialize import dumps, initialize, loads

__all__ = ["Multiprocess"]

_POPEN = {"spawn": "popen_spawn_posix", "forkserver": "popen_forkserver"}
_MISSING = "launcher 'multiprocess' needs the package multiprocess: pip install 'anypool[multiprocess]'"
_LOOK_SECONDS = 1.0
_KILL_SECONDS = 5.0
# Small enough to be written whole or not at all, so that all workers may share one pipe.
_MARK = Struct("<Qd")

_starting = threading.Lock()
_failure: BaseException | None = None
_running = False
_told: Any = None


@recipe
class Multiprocess(ProcessOptions, Launcher):
    """`start_method`: spawn, forkserver or fork, as in the standard library. Workers start with the first tasks.

    The main module isn't imported again in workers, and they end with their owner, except while a task holds the GIL.
    A worker's death breaks the executor, which is then made anew, so it costs all chunks that run at that moment a
    second attempt; so does the end of a task past its `timeout`. With `max_tasks_per_worker` each worker serves one
    chunk of at most so many tasks, and costs an interpreter's start. `env` is set once the interpreter has started.
    """

    name: ClassVar[str] = "multiprocess"
    api: ClassVar[int] = 1
    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=False, secure=None)
    on_this_machine: ClassVar[bool] = True
    start_method: Literal["spawn", "forkserver", "fork"] = "spawn"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        if self.start_method not in ("spawn", "forkserver", "fork"):
            raise ValueError(f"start_method is spawn, forkserver or fork, got {self.start_method!r}")
        if self.start_method == "fork" and self.max_tasks_per_worker is not None:
            raise ValueError("max_tasks_per_worker needs start_method spawn or forkserver: fork can't replace a worker")

    @classmethod
    def missing(cls) -> str | None:
        """The package, if it is not installed."""
        return None if importlib.util.find_spec("multiprocess") is not None else _MISSING

    def launch(self) -> _Executor:
        """A standard executor over a context of multiprocess."""
        try:
            import multiprocess
        except ImportError as error:
            raise LauncherUnavailable(_MISSING) from error
        context = multiprocess.get_context(self.start_method)
        if self.start_method in _POPEN:
            context = _bridged(context, _POPEN[self.start_method])
        setup, key = _packed(self), bytes(standard_process.current_process().authkey)
        once = None if self.max_tasks_per_worker is None else 1
        return _Executor(self.size, context, (setup, key), once)


class _Executor(ProcessPoolExecutor):
    _max_tasks_per_child: int | None
    _result_queue: Any

    def __init__(self, workers: int, context: Any, setup: tuple[bytes, bytes], once: int | None) -> None:
        self._killed = False
        self._marks, told = context.Pipe(duplex=False)
        self._numbers = itertools.count(1)
        self._watched: weakref.WeakValueDictionary[int, Future[Any]] = weakref.WeakValueDictionary()
        super().__init__(workers, context, _begin, (*setup, told), max_tasks_per_child=once)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_run, fn, *args, **kwargs)

    def submit_watched(self, prepare: Callable[..., Callable[[], Any]], /, *args: Any) -> Future[Any]:
        """Call what `prepare(*args)` returns; `begun`, which is to be asked for each, tells when that began."""
        number = next(self._numbers)
        future = self._watched[number] = super().submit(_run, _prepared, number, prepare, *args)
        return future

    def begun(self, future: Future[Any]) -> float | None:
        """When a worker took this call, on the monotonic clock; None if none has. One thread asks at a time."""
        while self._marks.poll():
            number, at = _MARK.unpack(self._marks.recv_bytes())
            if (marked := self._watched.get(number)) is not None:
                marked.began = at  # type: ignore[attr-defined]
        return getattr(future, "began", None)

    def kill_workers(self) -> None:
        """End the workers whatever they do, and wait for that."""
        self._killed = True
        processes, limit = self._processes or {}, time.monotonic() + _KILL_SECONDS
        while (
            left := [process for process in list(processes.values()) if process.is_alive()]
        ) and time.monotonic() < limit:
            for process in left:
                process.kill()
            connection.wait([process.sentinel for process in left], _LOOK_SECONDS)
        # A worker that was killed in the middle of a result would leave who reads it waiting for the rest for ever.
        if self._result_queue is not None:
            self._result_queue._writer.close()  # noqa: SLF001 - it has no other name

    def resize(self, workers: int) -> None:
        """Start up to so many from now on; more than that run on until they are idle at the end."""
        self._max_workers = workers

    def _spawn_process(self) -> None:
        super()._spawn_process()  # type: ignore[misc]  # it is not in typeshed
        # Who watches the workers may have gone to sleep between being told of the call and now, and would not see this
        # one end until another one has done something.
        self._executor_manager_thread_wakeup.wakeup()

    def _adjust_process_count(self) -> None:
        # The standard one counts a worker that ends after its last task as idle, and then starts no other.
        if self._max_tasks_per_child is None:
            super()._adjust_process_count()
        elif not self._killed and len(self._processes) < self._max_workers:
            self._spawn_process()


def _packed(recipe: Multiprocess) -> bytes:
    folder = None if recipe.cwd is None else os.path.abspath(recipe.cwd)
    share = float(cpus()) / recipe.size
    setup = recipe.initializer, recipe.initargs, dict(recipe.env or {}), folder, share
    try:
        return bytes(dumps(setup, oob=IN_BAND).header)
    except Exception as error:
        raise Unserializable(f"the initializer can't be sent to workers: {error}") from error


def _begin(setup: bytes, key: bytes, told: Any) -> None:
    """A worker's first act."""
    global _failure, _told
    _told = told
    # The proxies of the owner's managers ask for it; a new process gets that of multiprocess only.
    standard_process.current_process().authkey = key
    process = importlib.import_module("multiprocess.process")
    threading.Thread(target=_end_with, args=(process.parent_process(),), daemon=True).start()
    # Before the standard way to end a process waits for its children, which are the workers of pools that tasks opened.
    importlib.import_module("multiprocess.util").Finalize(None, _finish_pools, exitpriority=100)
    signal.signal(signal.SIGINT, _interrupted)
    if (legacy := sys.modules.get("numpy.random")) is not None:
        legacy.seed()  # Forked workers would all draw the numbers that the owner draws next.
    try:
        initializer, initargs, env, folder, share = loads(setup)
        become_worker(share)
        become("multiprocess")
        os.environ.update(env)
        limit_threads(share)
        if folder is not None:
            os.chdir(folder)
        if initializer is not None:
            importlib.import_module("anypool._serving").hear_out()
            initialize(initializer, initargs)
    except BaseException as error:  # noqa: BLE001 - raised by each task that comes here
        _failure = error


def _run(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    global _running
    if _failure is not None:
        text = f"the initializer raised {type(_failure).__name__}: {_failure}"
        raise WorkerLost(text, cause="initializer") from _failure
    _running = True
    try:
        return fn(*args, **kwargs)
    except KeyboardInterrupt as error:
        raise WorkerLost("the task was interrupted", cause="SIGINT") from error
    finally:
        _running = False


def _prepared(number: int, prepare: Callable[..., Callable[[], Any]], *args: Any) -> Any:
    call = prepare(*args)
    _told.send_bytes(_MARK.pack(number, time.monotonic()))
    return call()


def _interrupted(*_: object) -> None:
    # Ctrl-C in a terminal reaches workers too: it ends their task, not them.
    if _running:
        raise KeyboardInterrupt


def _end_with(owner: Any) -> None:
    # A child of the owner's that holds its pipes would hide its death, but not from `getppid`.
    parent = os.getppid()
    while owner.is_alive() and os.getppid() == parent:
        owner.join(_LOOK_SECONDS)
    os._exit(1)


def _finish_pools() -> None:
    if (module := sys.modules.get("anypool._registry")) is not None:
        module.finish()


def _bridged(base: Any, module: str) -> Any:
    """A context that can hand the standard executor's queues, which are multiprocessing's, to a new process."""
    reduction = importlib.import_module("multiprocess.reduction")
    reduction.register(connection.Connection, connection.reduce_connection)  # type: ignore[attr-defined]
    plain: Any = importlib.import_module(f"multiprocess.{module}").Popen

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
    spawn: Any = importlib.import_module("multiprocess.spawn")
    prepare, here = spawn.get_preparation_data, threading.get_ident()

    def without_main(name: str) -> dict[str, Any]:
        data: dict[str, Any] = prepare(name)
        if threading.get_ident() == here:
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = prepare


Multiprocess.__module__ = "anypool"
