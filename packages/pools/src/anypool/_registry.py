"""The pools of this process: found again by their id, ended at exit, and when idle if nobody here will close them."""

# ruff: noqa: SLF001 - what a pool shows to its registry is nobody else's business

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from anypool._context import is_worker
from anypool._select import BUILT_IN

if TYPE_CHECKING:
    from anypool._engine import Engine

__all__: list[str] = []

_IDLE_SECONDS = 10.0
_LOOK_SECONDS = 2.0
# Pools that came as arguments are kept between tasks, but not all of them for ever.
_MOST_GUESTS = 8


class Working(Protocol):
    """What an engine shows."""

    def drain(self) -> None: ...

    def close(self) -> None: ...


class Known(Protocol):
    """What a pool shows to its registry; `_on_executor`: it needs one of the standard library's to work."""

    _on_executor: bool

    def _live(self) -> Working | None: ...

    def close(self) -> None: ...

    def join(self) -> None: ...

    def terminate(self) -> None: ...

    def _rest(self, seconds: float) -> None: ...

    def _forked(self) -> None: ...


pools: weakref.WeakValueDictionary[str, Known] = weakref.WeakValueDictionary()


class Attention:
    """Whether anybody observes all pools, and whether those that are configured have been looked for."""

    everywhere = False
    settled = False

    def settle(self) -> None:
        """Register what the configuration names; raises `PlanError` each time as long as something is wrong with it."""
        if not is_worker():
            from anypool._files import mention

            if mention(b"observers"):
                from anypool._plugins import plugins

                plugins.register_configured()
        self.settled = True


attention = Attention()


def strangers(launcher: Any) -> list[str]:
    """The names of those launchers in a launcher that are of other distributions."""
    if launcher.name in ("nested", "mixed"):
        inner = launcher.parts if launcher.name == "nested" else launcher.groups
        return [name for each in inner for name in strangers(each)]
    return [] if type(launcher).__module__.partition(".")[0] == "anypool" else [launcher.name]


def observed(pool: Any, make: Callable[[], Engine]) -> Engine:
    """The engine that `make` makes for a pool, with observers told of what happens in it, if there are any."""
    if not attention.settled:
        attention.settle()
    # First, for an observer may be registered while workers start.
    engine = make()
    if attention.everywhere or (pool.launcher.name not in BUILT_IN and strangers(pool.launcher)):
        from anypool import _observing

        _observing.observe(pool, engine)
    return engine


def left(pool: Any) -> None:
    """A pool has ended: its observers, if there are any, have been told of all of it when this returns."""
    pool._release_shared()
    if (observing := sys.modules.get("anypool._observing")) is not None:
        observing.leave(pool)


class Guests:
    """Pools that came as arguments from the process that owns them."""

    def __init__(self) -> None:
        self._pools: deque[Known] = deque(maxlen=_MOST_GUESTS)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        # Held while one arrives: it is one pool, however many threads unpickle it.
        self.arriving = threading.RLock()

    def add(self, pool: Known) -> None:
        """Keep a pool for the tasks to come."""
        with self._lock:
            self._pools.append(pool)

    def watch(self) -> None:
        """A guest has workers: look after it until none has any."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._look, name="anypool-guests", daemon=True)
                thread.start()
                self._thread = thread

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            for pool in list(self._pools):
                try:
                    pool._rest(_IDLE_SECONDS)
                except Exception:
                    logging.getLogger("anypool").exception("resting %r", pool)
            with self._lock:
                if not any(pool._live() is not None for pool in self._pools):
                    self._thread = None
                    return


guests = Guests()


def finish(executors_only: bool = False) -> None:
    """Do what leaving `with` does, for pools that were never closed; an interrupt ends them at once."""
    left = [
        pool for pool in list(pools.values()) if pool._live() is not None and (pool._on_executor or not executors_only)
    ]
    try:
        for pool in left:
            pool.close()
            with contextlib.suppress(ValueError):
                pool.join()
        for engine in _orphans():
            engine.drain()
            engine.close()
        if (observing := sys.modules.get("anypool._observing")) is not None:
            observing.finish()
    except BaseException:
        for pool in left:
            pool.terminate()
        for engine in _orphans():
            engine.close()
        raise


def _orphans() -> list[Working]:
    """What works for results that outlive their pools; `_driver` is there if any pool has ever worked."""
    driver = sys.modules.get("anypool._driver")
    owned = [pool._live() for pool in list(pools.values())]
    return [engine for engine in driver.at_work() if engine not in owned] if driver is not None else []


class _Exit:
    """What happens to Ctrl-C between the end of the script and the wait for its pools: Python drops it there.

    Whatever it interrupts, threads that are joined or other exit functions, goes on with the next one. So it's noted
    from the moment when the exit begins, which `threading` tells; if it was not told, an interrupt was faster.
    """

    def __init__(self) -> None:
        self.begun = self.interrupted = False
        register = getattr(threading, "_register_atexit", None)
        self.told = register is not None
        if register is not None:
            with contextlib.suppress(RuntimeError):
                register(self._begin)

    def _begin(self) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            signal.signal(signal.SIGINT, partial(self._note, handler))
        # Last, for an interrupt may strike in between.
        self.begun = True

    def _note(self, handler: Callable[[int, Any], object], number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        handler(number, frame)

    @property
    def cut_short(self) -> bool:
        """Whether Ctrl-C ended the script, or came later."""
        agents = sys.modules.get("anypool._agents")
        # A worker ends without `threading` being told.
        missed = self.told and not self.begun and not (agents is not None and agents.inside())
        return self.interrupted or missed or _interrupted_script()


_exit = _Exit()


def _finish_at_exit() -> None:
    if _exit.cut_short:
        _terminate()
    else:
        finish()


@cache
def finish_before_executors() -> None:
    """At exit finish pools over standard executors before those refuse further work, which is before `atexit`."""
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        # A RuntimeError says that the exit has begun.
        with contextlib.suppress(RuntimeError):
            register(_finish_executors)
    standard = sys.modules.get("multiprocessing.process")
    if standard is not None and standard.parent_process() is not None:
        # A worker of a standard pool first waits for its children, which are the workers of the pools of its tasks.
        from multiprocessing.util import Finalize

        Finalize(None, _finish_executors, exitpriority=100)


def _finish_executors() -> None:
    if _interrupted_script():
        _terminate(executors_only=True)
    else:
        finish(executors_only=True)


def _terminate(executors_only: bool = False) -> None:
    for pool in list(pools.values()):
        if pool._live() is not None and (pool._on_executor or not executors_only):
            pool.terminate()


def _interrupted_script() -> bool:
    # At a prompt it was some earlier line that Ctrl-C ended.
    last = getattr(sys, "last_type", None) or Exception
    return not hasattr(sys, "ps1") and issubclass(last, KeyboardInterrupt)


def _after_fork() -> None:
    # The threads that held the locks are no more, and the workers are the parent's.
    guests.__init__()  # type: ignore[misc]
    for pool in list(pools.values()):
        pool._forked()


atexit.register(_finish_at_exit)
os.register_at_fork(after_in_child=_after_fork)
