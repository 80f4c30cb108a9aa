"""The pools of this process: found again by their id, ended at exit, and when idle if nobody here will close them."""

# ruff: noqa: SLF001 - what a pool shows to its registry is nobody else's business

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anypool._pool import Pool

__all__: list[str] = []

_IDLE_SECONDS = 10.0
_LOOK_SECONDS = 2.0
# Pools that came as arguments are kept between tasks, but not all of them for ever.
_MOST_GUESTS = 8

pools: weakref.WeakValueDictionary[str, Pool] = weakref.WeakValueDictionary()


class Guests:
    """Pools that came as arguments from the process that owns them."""

    def __init__(self) -> None:
        self._pools: deque[Pool] = deque(maxlen=_MOST_GUESTS)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def add(self, pool: Pool) -> None:
        """Keep a pool for the tasks to come."""
        self._pools.append(pool)

    def watch(self) -> None:
        """A guest has workers: look after it until none has any."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="anypool-guests", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            for pool in list(self._pools):
                pool._rest(_IDLE_SECONDS)
            with self._lock:
                if not any(pool._awake for pool in self._pools):
                    self._thread = None
                    return


guests = Guests()


def finish(executors_only: bool = False) -> None:
    """Do what leaving `with` does, for pools that were never closed; an interrupt ends them at once."""
    left = [pool for pool in list(pools.values()) if pool._awake and (pool._on_executor or not executors_only)]
    try:
        for pool in left:
            pool.close()
            with contextlib.suppress(ValueError):
                pool.join()
    except BaseException:
        for pool in left:
            pool.terminate()
        raise


@cache
def finish_before_executors() -> None:
    """At exit finish pools over standard executors before those refuse further work, which is before `atexit`."""
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        # A RuntimeError says that the exit has begun.
        with contextlib.suppress(RuntimeError):
            register(finish, True)


def _after_fork() -> None:
    # The threads that held the locks are no more, and the workers are the parent's.
    guests.__init__()  # type: ignore[misc]
    for pool in list(pools.values()):
        pool._forked()


atexit.register(finish)
os.register_at_fork(after_in_child=_after_fork)
