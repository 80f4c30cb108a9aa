"""The pool: its life, its single calls, and the way of each method into the stream."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from anypool._budget import size_within
from anypool._calling import SingleCalls
from anypool._chunk import Mode
from anypool._context import Scope, entered, scope
from anypool._crew import Crew, WorkerInfo
from anypool._engine import Engine
from anypool._errors import PoolClosed
from anypool._gate import current
from anypool._helper import helper
from anypool._joining import Joins
from anypool._launcher import Launcher, cpus
from anypool._launching import crew_of
from anypool._mapping import Many, Maps
from anypool._options import Options, whole
from anypool._reducing import Reduces
from anypool._registry import guests, left, observed, pools
from anypool._result import Result, call_back
from anypool._serve import loading
from anypool._work import gather_later, iterate, open_stream, run_map

if TYPE_CHECKING:
    from anypool._executor import PoolExecutor
    from anypool._plan import Plan
    from anypool.launchers.serial import Caller

__all__: list[str] = []

# Seconds that a thread waits for another one that is ending the pool.
_END_SECONDS = 15.0
# Ends the name of a pool that stands for another of the same process, in a thread that can take no work of that one.
_WITHIN = " within"

P = ParamSpec("P")
R = TypeVar("R")


class Pool(Maps, Reduces, SingleCalls, Joins):
    """Workers behind one set of methods, the same for every launcher; made by `get_pool`.

    Leaving a `with` block waits for what was started asynchronously, then ends the workers; leaving it by an exception
    cancels and ends them at once. A pool that is never closed ends when it is collected, or as with `with` when the
    interpreter exits. Several threads may use one pool, and tasks may use the pool that runs them.

    It can be pickled: it arrives as an equivalent pool, one for however many copies, started when first used and ended
    when idle for 10 s, of the size that was asked for (a default one is that of the place it arrives at). Back in its
    own process it is itself. `launcher` is the recipe that it was made from, `below` are the levels for its tasks.
    """

    def __init__(self, launcher: Launcher, *, below: tuple[Launcher, ...] = (), start: bool = True) -> None:
        if not hasattr(launcher, "starts_workers"):
            raise TypeError(f'a Pool is made of a launcher, got {launcher!r}; get_pool("process:4") makes one by name')
        self.launcher, self.below = launcher, below
        # The share of the CPUs that it has, whoever starts its workers when.
        self._opened_in = scope()
        self._id = os.urandom(16).hex()
        self._size: int | None = None
        self._made: Engine | None = None
        self._caller: Caller | None = None
        self._state = "open"
        self._used = 0.0
        # Tasks and busy seconds of workers that have ended.
        self._past = 0, 0.0
        self._gone = threading.Event()
        self._on_executor = False
        self._lock = threading.Lock()
        pools[self._id] = self
        # One that a worker makes while it imports a module is perhaps never used there, and not counted before it is.
        self._counted = start and not loading()
        if self._counted and launcher.starts_workers:
            self._engine()

    def as_executor(self) -> PoolExecutor:
        """This pool as a standard `Executor`, for asyncio and every library that takes one.

        Its `shutdown` closes the pool, and after that its `submit` raises `RuntimeError` as the standard says.
        """
        from anypool._executor import PoolExecutor

        return PoolExecutor(self)

    # Life.

    def close(self) -> None:
        """Take no more work: further calls raise `PoolClosed`. What was started goes on, see `join`."""
        if self._state == "open":
            self._state = "closing"

    def join(self) -> None:
        """After `close`: wait until everything started asynchronously is done, then end the workers.

        Raises `ValueError` on an open pool. Of an `imap` that is still being read, what is finished can be taken; a
        `map` that another thread waits for raises `PoolClosed` there, unless it ends within a second.
        """
        if self._state == "open":
            raise ValueError("join() waits for a pool that is closed; call close() first")
        if self._state == "closing":
            if (engine := self._live()) is not None:
                engine.drain()
            self._end()
            helper.finish_callbacks()
        else:  # Another thread may be ending it right now.
            self._gone.wait(_END_SECONDS)

    def terminate(self) -> None:
        """Cancel what waits, kill what runs, end the workers; within 10 s. Results that don't come are cancelled."""
        if self._state == "closed":
            return
        self._state = "closing"
        if (engine := self._live()) is not None:
            engine.cancel_all()
        self._end()

    def _end(self) -> None:
        totals = self.stats()
        if self._state == "closed":  # By another thread: without a call, none comes between here and the next line.
            self._gone.wait(_END_SECONDS)
            return
        engine, self._made, self._caller, self._state = self._made, None, None, "closed"
        self._past = totals["tasks"], totals["busy"]
        try:
            if isinstance(within := pools.get(self._id + _WITHIN), Pool):
                within.terminate()
            if engine is not None and not engine.forked:
                engine.close()
            left(self)
        finally:
            self._gone.set()

    def restart(self) -> Self:
        """Open the pool, whatever its state, with fresh workers; started work is waited for. Returns the pool."""
        self.clear()
        if self.launcher.starts_workers:
            self._size = size_within(self.launcher, self._opened_in)
            self._engine()
        return self

    def clear(self) -> None:
        """`restart`, but for the workers: they start with the next map."""
        shared, self._shared = self._shared, None
        self.close()
        self.join()
        self._past, self._size, self._shared = (0, 0.0), None, shared
        self._gone.clear()
        self._state = "open"

    def resize(self, workers: int) -> None:
        """Have so many workers from now on, at least 1; one that is busy ends after its chunk. Serial stays one.

        The groups of a mix grow in proportion to their sizes.
        """
        from dataclasses import replace

        launcher = replace(self.launcher, workers=whole("workers", workers, 1))
        self._check_open()
        self.launcher, self._size = launcher, size_within(launcher, self._opened_in)
        if self._made is not None:
            self._engine().resize(len(self))

    def __enter__(self) -> Self:
        self._check_open()
        if self.launcher.starts_workers and not loading():
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

    def _cancel_waiting(self) -> None:
        if (engine := self._made) is not None:
            engine.cancel_waiting()

    # Looking.

    def __len__(self) -> int:
        """How many workers it has, or will have when it starts."""
        if self._size is None:
            with entered(self._opened_in):
                self._size = self.launcher.size
        return self._size + getattr(getattr(self._made, "crew", None), "joined", 0)

    @property
    def plan(self) -> Plan:
        """Where it and its tasks run, with the number of workers that it has: prints as what `get_pool` takes."""
        from anypool._plan import Plan, counted

        with entered(self._opened_in):
            return Plan((counted(self.launcher, len(self)), *self.below))

    def workers(self) -> list[WorkerInfo]:
        """Each worker: name, host, pid, tasks done, busy seconds, state. Empty while there are none."""
        if self._caller is not None:
            return [self._caller.info()]
        engine = self._live()
        return engine.workers() if engine is not None else []

    def stats(self) -> dict[str, Any]:
        """Totals since the pool was opened; they are kept after its end, until `restart` or `clear`.

        `launcher` (its name), `workers` (how many there are), `tasks` done and `busy` seconds in them, `in_flight`
        (chunks with workers), `waiting` (calls without an outcome), `inline` (large buffers that went through pipes,
        not shared memory), `lost` (groups of a mix that are gone: why), `nodes` (tasks by ppserver, while it is open).
        """
        engine = self._made if self._made is not None and not self._made.forked else None
        tasks, busy = self._past
        doer = self._caller if engine is None else engine.desk
        return {
            "launcher": self.launcher.name,
            "workers": len(self.workers()),
            "tasks": tasks + (doer.tasks if doer else 0),
            "busy": busy + (doer.busy if doer else 0.0),
            "in_flight": engine.desk.in_flight if engine else 0,
            "waiting": engine.calls.unsettled if engine else 0,
            "inline": engine.crew.inline if engine else 0,
            "lost": getattr(engine.crew, "lost", {}) if engine else {},
            "nodes": dict(getattr(engine.crew, "nodes", {})) if engine else {},
        }

    def __repr__(self) -> str:
        engine = self._live()
        flying = f", {engine.desk.in_flight} chunks in flight" if engine is not None else ""
        return f"<anypool.Pool {self.launcher.name}:{len(self)}, {self._state}{flying}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self._id, self.launcher, self.below)

    # Within.

    def _live(self) -> Engine | None:
        engine = self._made
        return engine if engine is not None and not engine.over else None

    def _check_open(self) -> None:
        if self._state != "open":
            raise PoolClosed(f"{self.launcher.name} pool is {self._state}; restart() or clear() opens it again")

    def _engine(self, timeout: float | None = None) -> Engine:
        engine = self._made
        if engine is not None and self._state == "open" and not self._used and not engine.over:
            return engine
        return self._wake(timeout)

    def _wake(self, timeout: float | None) -> Engine:
        self._check_open()
        if not self.launcher.starts_workers:
            crew = self._here().crew(aside=timeout is not None)
            crew.scope = self._serial_scope
            return observed(self, lambda: Engine(crew, tags=self.launcher.all_tags))
        if self._used:
            # Before it is asked for: who ends the pool for being idle looks at this once more after taking it away.
            self._used = time.monotonic()
        engine = self._live()
        if engine is None:
            with self._lock:
                engine = self._live()
                if engine is None:
                    if not self._counted:
                        self._size = size_within(self.launcher, self._opened_in)
                    totals = self.stats()  # There may be one that gave up.
                    self._past = totals["tasks"], totals["busy"]
                    quota = getattr(self.launcher, "max_tasks_per_worker", None)
                    engine = self._made = observed(self, lambda: Engine(self._crew(), quota, self.launcher.all_tags))
                    if self.launcher.name == "mixed" and self.launcher.workers is not None:
                        # Its groups begin with the sizes that they have in the plan.
                        engine.resize(len(self))
        if self._used:
            guests.watch()
        return engine

    @property
    def _serial_scope(self) -> Scope:
        # The caller does it itself, with all that it has.
        share = None if self._opened_in is None else self._opened_in.cpus
        return Scope(self.below, share, "the plan of the task")

    def _here(self) -> Caller:
        if self._caller is None:
            from anypool.launchers.serial import Caller, Serial

            with self._lock:
                if self._caller is None:
                    assert isinstance(self.launcher, Serial)
                    self._caller = Caller(self.launcher)
        return self._caller

    def _crew(self) -> Crew:
        pool, first, opened_in = weakref.ref(self), self.launcher, self._opened_in

        def again() -> Executor | Crew:
            # Of the size that the pool has then; a strong reference would keep a forgotten pool alive.
            live = pool()
            with entered(opened_in):
                return (live.launcher if live is not None else first).launch()

        with entered(opened_in):
            crew = crew_of(first, len(self), again)
            if self.below or not crew.tells_cpus:
                crew.scope = Scope(self.below, float(cpus()) / len(self), "the plan of the task")
        self._on_executor = getattr(crew, "on_executor", False)
        return crew

    def _map(self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options) -> list[R]:
        engine = self._engine_for(options)
        return run_map(engine, open_stream(engine, mode, f, iterables, options, ordered=True), options)

    def _imap(
        self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options, *, ordered: bool
    ) -> Iterator[R]:
        engine = self._engine_for(options)
        stream = open_stream(engine, mode, f, iterables, options, ordered=ordered)
        return iterate(engine, stream, options, lambda: self._state != "open" or engine.closed)

    def _amap(self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options) -> Result[list[R]]:
        engine = self._engine_for(options)
        result = gather_later(engine, open_stream(engine, mode, f, iterables, options, ordered=True), options)
        if not self.launcher.starts_workers:
            engine.drive(result.ready)
        call_back(result, options.callback, options.error_callback)
        return result

    def _come_again(self, launcher: Launcher) -> None:
        if self._state == "closed":
            # The task that it came to before has closed it.
            self.clear()
        if launcher.workers not in (None, self.launcher.workers) and self._state == "open":
            self.resize(launcher.size)

    def _become_guest(self, identity: str) -> None:
        del pools[self._id]
        self._id, self._used = identity, time.monotonic()
        pools[identity] = self
        guests.add(self)

    def _forked(self) -> None:
        """This is a copy in a forked child: the workers stay with the parent."""
        self._lock = threading.Lock()
        self._gone = threading.Event()
        self._caller = None

    def _rest(self, seconds: float) -> None:
        """End the workers if they have had nothing to do for so long; they start again with the next map."""
        engine, used = self._live(), self._used
        if engine is None or time.monotonic() - used < seconds:
            return
        if engine.desk.in_flight or not engine.idle or len(engine.desk.lanes) > 1 + len(engine.forgotten):
            self._used = time.monotonic()
            return
        totals = self.stats()
        with self._lock:
            self._made = None
            if self._used != used:
                # A task has asked for it, and may have it.
                self._made = engine
                return
        self._past = totals["tasks"], totals["busy"]
        engine.close()


def _arrive(identity: str, launcher: Launcher, below: tuple[Launcher, ...]) -> Pool:
    """A pickled pool: the original where it lives, one and the same equivalent elsewhere.

    Elsewhere is also a thread of somebody's executor here: it can't take work of the pool that it waits for.
    """
    with guests.arriving:
        identity = identity.removesuffix(_WITHIN)
        pool = pools.get(identity)
        if isinstance(pool, Pool) and not pool._used and loading() and current() is None:  # noqa: SLF001 - our own
            identity += _WITHIN
            pool = pools.get(identity)
        if not isinstance(pool, Pool):
            pool = Pool(launcher, below=below, start=False)
            pool._become_guest(identity)  # noqa: SLF001 - our own
        elif pool._used:  # noqa: SLF001
            pool._come_again(launcher)  # noqa: SLF001
        return pool


Pool.__module__ = Result.__module__ = WorkerInfo.__module__ = "anypool"
