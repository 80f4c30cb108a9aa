"""Threads that there is one of in a process: `helper` moves work on while nobody waits, and runs callbacks."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__: list[str] = []

# How long work may lie still before the helper looks after it; a caller that waits never needs it.
_TICK = 0.002
# Ticks without work after which the helper sleeps until it is called.
_IDLE_TICKS = 25
_PARKED = 5.0
_LOOK_SECONDS = 1.0


class Watched(Protocol):
    """Has work that moves on only while somebody drives."""

    def look_after(self, patience: float, wanted: Callable[[], bool]) -> bool:
        """Drive for up to `patience` seconds if nobody else does, until `wanted()`; true if there is work in flight."""


class Helper:
    """Looks after engines that have work in flight and no driver; holds them weakly."""

    def __init__(self, name: str = "anypool-helper") -> None:
        self._name = name
        self._reset()
        # Its locks may be held by threads that are no more.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._engines: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._callbacks: deque[Callable[[], object]] = deque()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.parked = self._calling = False

    def start(self) -> None:
        """Have the thread running; costs nothing when it does."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                # If no thread can be had now, perhaps the next time.
                thread.start()
                self._thread = thread

    def watch(self, engine: Watched) -> None:
        """Look after this engine from now on, for as long as it lives."""
        if engine in self._engines and not self.parked:
            return
        with self._lock:
            self._engines.add(engine)
        self.start()
        self.wake()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def call(self, callback: Callable[[], object]) -> None:
        """Run a callback on the thread."""
        self._callbacks.append(callback)
        self.start()
        self._wake.set()

    def finish_callbacks(self, seconds: float = float("inf")) -> bool:
        """Wait until the callbacks given so far have returned, unless this is one; whether they have in time."""
        thread = self._thread
        if thread is None or thread is threading.current_thread() or not (self._callbacks or self._calling):
            return True
        done = threading.Event()
        self.call(done.set)
        limit = time.monotonic() + seconds
        while not done.wait(min(_LOOK_SECONDS, max(0.0, limit - time.monotonic()))) and thread.is_alive():
            if time.monotonic() >= limit:
                return False
        return True

    def _work(self) -> None:
        idle = 0
        while True:
            # Between the moment when it says that it is parked and its long sleep it looks once more.
            self.parked = idle >= _IDLE_TICKS
            if self._wake.wait(_PARKED if idle > _IDLE_TICKS else _TICK):
                self._wake.clear()
                idle = 0
            busy = self._run_callbacks()
            with self._lock:
                engines = list(self._engines)
            for engine in engines:
                busy |= self._look_after(engine, alone=len(engines) == 1)
            del engines
            engine = None  # type: ignore[assignment]  # or the last engine would live until the next tick
            idle = 0 if busy else idle + 1

    def _run_callbacks(self) -> bool:
        ran = False
        while self._callbacks:
            ran = True
            self._calling = True
            try:
                self._callbacks.popleft()()
            except BaseException:  # or a sys.exit() would end the one thread that moves work on
                logging.getLogger("anypool").exception("a callback raised")
            finally:
                self._calling = False
        return ran

    def _look_after(self, engine: Watched, alone: bool) -> bool:
        try:
            return engine.look_after(0.05 if alone else 0.0, lambda: bool(self._callbacks))
        except BaseException:  # the same
            logging.getLogger("anypool").exception("looking after %r", engine)
            time.sleep(_TICK)
            return False


helper = Helper()
