"""The pool: every method is one way into the stream."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from anypool._chunk import Mode
from anypool._crew import Crew, WorkerInfo
from anypool._engine import Engine
from anypool._errors import PoolClosed
from anypool._launcher import Launcher
from anypool._local import SerialCrew, ThreadCrew
from anypool._options import AsyncMapOptions, MapOptions, Options
from anypool._result import Result
from anypool._work import call, gather_later, iterate, open_stream, run_map

if TYPE_CHECKING:
    from anypool._executor import PoolExecutor

__all__: list[str] = []

R = TypeVar("R")

# Pools that came as arguments live on between tasks, but not all of them for ever.
_arrived: deque[Pool] = deque(maxlen=4)
_pools: weakref.WeakValueDictionary[str, Pool] = weakref.WeakValueDictionary()


class Pool:
    """Workers behind one set of methods, the same for every launcher; made by `get_pool`.

    Leaving a `with` block waits for what was started asynchronously, then ends the workers; leaving it by an exception
    cancels and ends them at once. Several threads may use one pool. It can be pickled: it arrives as an equivalent pool,
    started when first used, and back in its own process as itself.
    """

    def __init__(self, launcher: Launcher, *, start: bool = True) -> None:
        self.launcher = launcher
        self._id = uuid.uuid4().hex
        self._size: int | None = None
        self._engine_made: Engine | None = None
        self._state = "open"
        self._lock = threading.Lock()
        _pools[self._id] = self
        if start:
            self._engine()

    # Maps.

    def map(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Unpack[MapOptions]) -> list[R]:
        """`[f(*row) for row in zip(*iterables)]`, in order. Raises the exception of the lowest item that has one.

        After an exception nothing further is started. Memory: the input is read as workers need it; the results are kept.
        """
        return self._map(Mode.MAP, f, iterables, Options("map", dict(options), lazy=False))

    def starmap(self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Unpack[MapOptions]) -> list[R]:
        """`map` over one iterable of argument tuples."""
        return self._map(Mode.STAR, f, (rows,), Options("starmap", dict(options), lazy=False))

    def imap(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Unpack[MapOptions]) -> Iterator[R]:
        """Results in order, as they come. An exception is raised in its item's place; the next item can be taken after it.

        Input is read as results are taken: two chunks per worker ahead, or `buffersize` items. A slow item holds back the
        finished ones behind it, up to 64 MiB of them.
        """
        return self._imap(Mode.MAP, f, iterables, Options("imap", dict(options), lazy=True), ordered=True)

    def istarmap(
        self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Unpack[MapOptions]
    ) -> Iterator[R]:
        """`imap` over one iterable of argument tuples."""
        return self._imap(Mode.STAR, f, (rows,), Options("istarmap", dict(options), lazy=True), ordered=True)

    def uimap(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Unpack[MapOptions]) -> Iterator[R]:
        """Results as completed; otherwise like `imap`."""
        return self._imap(Mode.MAP, f, iterables, Options("uimap", dict(options), lazy=True), ordered=False)

    def uistarmap(
        self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Unpack[MapOptions]
    ) -> Iterator[R]:
        """`uimap` over one iterable of argument tuples."""
        return self._imap(Mode.STAR, f, (rows,), Options("uistarmap", dict(options), lazy=True), ordered=False)

    def amap(
        self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Unpack[AsyncMapOptions]
    ) -> Result[list[R]]:
        """`map` as a `Result`. All of the input is read and serialised before this returns."""
        return self._amap(Mode.MAP, f, iterables, Options("amap", dict(options), lazy=False))

    def astarmap(
        self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Unpack[AsyncMapOptions]
    ) -> Result[list[R]]:
        """`amap` over one iterable of argument tuples."""
        return self._amap(Mode.STAR, f, (rows,), Options("astarmap", dict(options), lazy=False))

    # Calls.

    def pipe(self, f: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """`f(*args, **kwargs)` on a worker."""
        return self._call(f, args, kwargs).result()

    def apipe(self, f: Callable[..., R], /, *args: Any, **kwargs: Any) -> Result[R]:
        """`pipe` as a `Result`. Raises `Unserializable` for f itself; a bad argument is the result's exception."""
        result = self._call(f, args, kwargs)
        if not result.ready():
            self._engine().watch()
        return result

    submit = apipe

    # The names of the standard library's pool.

    def apply(self, f: Callable[..., R], /, args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> R:
        """`pipe`, with the arguments as a tuple and a dict."""
        return self.pipe(f, *args, **(kwds or {}))

    def apply_async(
        self,
        f: Callable[..., R],
        /,
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> Result[R]:
        """`apipe`, with the arguments as a tuple and a dict."""
        result = self.apipe(f, *args, **(kwds or {}))
        _call_back(result, callback, error_callback)
        return result

    map_async = amap
    starmap_async = astarmap
    imap_unordered = uimap

    def as_executor(self) -> PoolExecutor:
        """This pool as a standard `Executor`, for asyncio and every library that takes one; its shutdown closes the pool."""
        from anypool._executor import PoolExecutor

        return PoolExecutor(self)

    # Life.

    def close(self) -> None:
        """Take no more work; what was started goes on. `join` waits for it."""
        if self._state == "open":
            self._state = "closing"

    def join(self) -> None:
        """After `close`: wait until everything started asynchronously is done, then end the workers."""
        if self._state == "open":
            raise ValueError("join() waits for a pool that is closed; call close() first")
        if self._state == "closing":
            engine = self._engine_made
            if engine is not None:
                engine.drain()
            self._end()

    def terminate(self) -> None:
        """Cancel what waits, kill what runs, end the workers; within 10 s."""
        if self._state == "closed":
            return
        self._state = "closing"
        if self._engine_made is not None:
            self._engine_made.cancel_all()
        self._end()

    def _end(self) -> None:
        engine, self._engine_made = self._engine_made, None
        self._state = "closed"
        if engine is not None:
            engine.close()

    def restart(self) -> Self:
        """Close the pool if it is open, and open it again with fresh workers."""
        self.clear()
        self._engine()
        return self

    def clear(self) -> None:
        """Close, wait, and be ready for use again; workers start with the next map."""
        self.close()
        self.join()
        self._state = "open"

    def resize(self, workers: int) -> None:
        """Have so many workers from now on; one that is busy ends after its chunk."""
        self._size = dataclasses.replace(self.launcher, workers=workers).size
        if self._engine_made is not None:
            self._engine_made.resize(self._size)

    def __enter__(self) -> Self:
        self._engine()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            try:
                self.join()
            except BaseException:
                self.terminate()
                raise
        else:
            self.terminate()

    # Looking.

    def __len__(self) -> int:
        """How many workers it has, or will have when it starts."""
        if self._size is None:
            self._size = self.launcher.size
        return self._size

    def workers(self) -> list[WorkerInfo]:
        """Each worker: name, host, pid, tasks done, busy seconds, state."""
        return [] if self._state == "closed" else self._engine().workers()

    def stats(self) -> dict[str, Any]:
        """Totals: workers, tasks done, busy seconds, chunks in flight, calls waiting."""
        workers = self.workers()
        engine = self._engine_made
        return {
            "launcher": self.launcher.name,
            "workers": len(workers),
            "tasks": sum(worker.tasks for worker in workers) + (engine.past_tasks if engine else 0),
            "busy": sum(worker.busy for worker in workers),
            "in_flight": engine.desk.in_flight if engine else 0,
            "waiting": engine.calls.unsettled if engine else 0,
        }

    def __repr__(self) -> str:
        engine = self._engine_made
        flying = f", {engine.desk.in_flight} chunks in flight" if engine is not None else ""
        return f"<Pool {self.launcher.name}:{len(self)}, {self._state}{flying}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self._id, self.launcher)

    # Within.

    def _engine(self, timeout: float | None = None) -> Engine:
        if self._state != "open":
            raise PoolClosed(f"{self.launcher.name} pool is {self._state}; restart() or clear() opens it again")
        if self.launcher.name == "serial":
            # Each call has its own, so that tasks may use the pool they run in.
            return Engine(SerialCrew() if timeout is None else ThreadCrew(1, None, ()))
        engine = self._engine_made
        if engine is None or engine.owner != os.getpid():
            with self._lock:
                engine = self._engine_made
                if engine is None or engine.owner != os.getpid():
                    quota = getattr(self.launcher, "max_tasks_per_worker", None)
                    engine = self._engine_made = Engine(self._crew(), quota)
        return engine

    def _crew(self) -> Crew:
        launcher = self.launcher if self._size is None else dataclasses.replace(self.launcher, workers=self._size)
        launched = launcher.launch()
        if not isinstance(launched, Executor):
            return launched
        from anypool._adapter import ExecutorCrew

        return ExecutorCrew(launcher.name, launched, launcher.launch, len(self))

    def _map(self, mode: Mode, f: Callable[..., R], iterables: tuple[Any, ...], options: Options) -> list[R]:
        engine = self._engine(options.timeout)
        return run_map(engine, open_stream(engine, mode, f, iterables, options, ordered=True), options)

    def _imap(
        self, mode: Mode, f: Callable[..., R], iterables: tuple[Any, ...], options: Options, *, ordered: bool
    ) -> Iterator[R]:
        engine = self._engine(options.timeout)
        stream = open_stream(engine, mode, f, iterables, options, ordered=ordered)
        return iterate(engine, stream, options, lambda: self._state != "open" or engine.closed)

    def _amap(
        self, mode: Mode, f: Callable[..., R], iterables: tuple[Any, ...], options: Options
    ) -> Result[list[R]]:
        engine = self._engine(options.timeout)
        result = gather_later(engine, open_stream(engine, mode, f, iterables, options, ordered=True), options)
        _call_back(result, options.callback, options.error_callback)
        return result

    def _call(self, f: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result[R]:
        if not callable(f):
            raise TypeError(f"the first argument is what to call, got {f!r}")
        engine = self._engine()
        result = call(engine, f, args, kwargs)
        if engine.crew.runs_here:
            engine.drive(result.ready)
        return result


def _call_back(
    result: Result[Any],
    callback: Callable[[Any], object] | None,
    error_callback: Callable[[BaseException], object] | None,
) -> None:
    if callback is None and error_callback is None:
        return

    def ended(future: Any) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None and callback is not None:
            callback(future.result())
        elif error is not None and error_callback is not None:
            error_callback(error)

    result.add_done_callback(ended)


def _arrive(identity: str, launcher: Launcher) -> Pool:
    """A pickled pool: the original where it lives, one and the same equivalent elsewhere."""
    pool = _pools.get(identity)
    if pool is None:
        pool = Pool(launcher, start=False)
        del _pools[pool._id]  # noqa: SLF001 - our own
        pool._id = identity  # noqa: SLF001
        _pools[identity] = pool
        _arrived.append(pool)
    return pool


@atexit.register
def _finish() -> None:
    """What leaving `with` does, for pools that were never closed."""
    for pool in list(_pools.values()):
        if pool._engine_made is not None and pool._engine_made.owner == os.getpid():  # noqa: SLF001
            with contextlib.suppress(PoolClosed):
                pool.close()
                pool.join()
