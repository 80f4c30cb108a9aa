"""Launcher `serial`: tasks run in the calling thread, one after the other."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import ClassVar

from anypool._crew import Crew, Event, Replied, WorkerInfo
from anypool._errors import WorkerLost
from anypool._launcher import Launcher, Traits, WorkerOptions
from anypool._local import SerialCrew, ThreadCrew
from anypool._recipe import recipe

__all__ = ["Serial"]


@recipe
class Serial(WorkerOptions, Launcher):
    """The caller does everything itself; `imap` computes each item when it is asked for.

    Arguments and results pass by reference. With `timeout=` each item runs in a helper thread, as nothing else can
    give up on it.
    """

    name: ClassVar[str] = "serial"
    api: ClassVar[int] = 1
    traits: ClassVar[Traits] = Traits("references", reruns=False, isolates=False, secure=None)
    starts_workers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()

    @property
    def size(self) -> int:
        """One caller, whatever was asked."""
        return 1

    def launch(self) -> Crew:
        """Nothing to start."""
        return Caller(self).crew(aside=False)


class Caller:
    """The one worker of a serial pool. Each map and call has a crew of its own, so that tasks may use their pool."""

    def __init__(self, recipe: Serial) -> None:
        self._recipe = recipe
        self._initialized = recipe.initializer is None
        self._initializing = False
        # Reentrant, for the initializer may use its pool.
        self._lock = threading.RLock()
        self.tasks = 0
        self.busy = 0.0

    def crew(self, *, aside: bool) -> Crew:
        """A crew that works in the thread that asks for results, or `aside` in a thread that can be left behind."""
        if not self._initialized:
            self._initialize()
        return _Aside(self) if aside else _Here(self)

    def _initialize(self) -> None:
        with self._lock:
            if self._initialized or self._initializing or self._recipe.initializer is None:
                return
            self._initializing = True
            try:
                self._recipe.initializer(*self._recipe.initargs)
                self._initialized = True
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                text = f"the initializer raised {type(error).__name__}: {error}"
                raise WorkerLost(text, cause="initializer") from error
            finally:
                self._initializing = False

    def count(self, events: list[Event]) -> None:
        """Add up what was done."""
        for event in events:
            if isinstance(event, Replied):
                self.tasks += event.outcomes.count
                self.busy += event.outcomes.seconds

    def info(self) -> WorkerInfo:
        """The caller as a worker."""
        return WorkerInfo("caller", socket.gethostname(), os.getpid(), self.tasks, self.busy, "idle")


class _Here(SerialCrew):
    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller

    def poll(self, timeout: float) -> list[Event]:
        events = super().poll(timeout)
        self._caller.count(events)
        return events


class _Aside(ThreadCrew):
    def __init__(self, caller: Caller) -> None:
        super().__init__(1, None, ())
        self._caller = caller

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        def counted(events: list[Event]) -> None:
            self._caller.count(events)
            deliver(events)

        return super().start(counted)


Serial.__module__ = "anypool"
