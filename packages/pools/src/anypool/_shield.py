"""Put off Ctrl-C while shared state changes, so that it is raised once and between two consistent states."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from anypool._gate import current

__all__: list[str] = []

_SIGINT = 2
# Without the enum conversions of `signal.signal`, which cost ten times as much as the system call.
_signal = importlib.import_module("_signal")
_set_handler: Callable[[int, Any], Any] = _signal.signal
_get_handler: Callable[[int], Any] = _signal.getsignal


class Shield:
    """Reentrant context for the main thread and for those that run tasks; elsewhere nobody is interrupted.

    Entering and leaving costs 0.6 us. An interrupt inside is handed to the user's own handler on leaving; a task that
    was told to end meanwhile ends then.
    """

    def __init__(self) -> None:
        # How often it was entered and not left; for `restore`.
        self.depth = 0
        self._users: Any = None
        self._main = threading.main_thread().ident
        self.pending = False
        self._wake: Callable[[], None] | None = None

    def __enter__(self) -> None:
        if threading.get_ident() != self._main:
            if (gate := current()) is not None:
                gate.__enter__()
            return
        if self.depth == 0:
            self.pending = False
            users = _get_handler(_SIGINT)
            if callable(users):
                self._users = users
                _set_handler(_SIGINT, self._note)
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() != self._main:
            if (gate := current()) is not None:
                gate.__exit__()
            return
        self.depth -= 1
        if self.depth == 0:
            self._leave()

    def _leave(self) -> None:
        users = self._users
        if users is not None:
            _set_handler(_SIGINT, users)
            self._users = None
            if self.pending:
                self.pending = False
                users(_SIGINT, None)

    def restore(self, depth: int) -> None:
        """Be entered so often again, after an exception that may have struck while it was entered or left."""
        if threading.get_ident() == self._main:
            self.depth = depth
            if depth == 0:
                self._leave()

    def after_fork(self) -> None:
        """In a forked child: if another thread forked, the main thread's section never ends here."""
        if threading.get_ident() == self._main:
            return
        users = self._users
        self.__init__()  # type: ignore[misc]
        self._main = threading.get_ident()
        if users is not None:
            _set_handler(_SIGINT, users)

    def wake_by(self, wake: Callable[[], None] | None) -> Callable[[], None] | None:
        """Have an interrupt of the main thread call `wake`, where that waits without noticing; returns what it called.

        Nothing changes if the caller is another thread.
        """
        if threading.get_ident() != self._main:
            return None
        before, self._wake = self._wake, wake
        return before

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.pending = True
        if self._wake is not None:
            self._wake()

    @property
    def interrupted(self) -> bool:
        """Whether the calling thread has an interrupt waiting."""
        return self.pending and threading.get_ident() == self._main


shield = Shield()
os.register_at_fork(after_in_child=shield.after_fork)


def give_back(lock: Any) -> None:
    """Release an `RLock` as often as the calling thread has taken it."""
    while lock._is_owned():  # noqa: SLF001 - as `Condition` asks
        lock.release()


class Section:
    """A lock whose holder isn't interrupted.

    Reentrant: other signals' handlers, and a `__del__` that the collector runs, may use the pool that they interrupt.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Whether the calling thread is in it.
        self.held: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001 - as `Condition` asks

    def abandon(self) -> None:
        """Give the lock back, however often the calling thread has taken it."""
        give_back(self.lock)

    def __enter__(self) -> None:
        shield.__enter__()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()
        shield.__exit__()
