"""What is printed while bars are drawn on the same terminal: whole lines, above them."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__: list[str] = []


class Lines(io.TextIOBase):
    """Stands for stdout until `leave`; who keeps it longer than that writes to stdout."""

    def __init__(self, stream: Any, room: Callable[[], AbstractContextManager[object]]) -> None:
        self._stream, self._room = stream, room
        self._rest = ""
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._left = False

    def write(self, text: str) -> int:
        """Hold back what is no whole line yet: the next drawing would be on top of it."""
        # A child's lines are not held: it may end without a word.
        left, end = os.getpid() != self._pid, ""
        with nullcontext() if left else self._lock:
            if not (left := left or self._left):
                whole, end, self._rest = (self._rest + text).rpartition("\n")
        if left:
            self._stream.write(text)
        elif end:
            with nullcontext() if _room_is_made() else self._room():
                self._stream.write(whole + end)
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """All that can be written is."""
        self._stream.flush()

    def leave(self) -> None:
        """No bar is drawn any more."""
        if sys.stdout is self:
            sys.stdout = self._stream
        if os.getpid() == self._pid:
            with self._lock:
                self._left = True
                rest, self._rest = self._rest, ""
            self._stream.write(rest)
            self._stream.flush()

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """That of stdout."""
        number: int = self._stream.fileno()
        return number

    def isatty(self) -> bool:
        """It is a terminal."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of stdout, as what else one may ask of it."""
        found: str = self._stream.encoding
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _room_is_made() -> bool:
    """Whether this thread is within `tqdm.write`: it has the lock for which who draws a bar waits, with ours held."""
    lock = getattr(getattr(sys.modules.get("tqdm.std"), "tqdm", None), "_lock", None)
    owned = getattr(getattr(lock, "th_lock", lock), "_is_owned", None)
    return owned is not None and owned()


def lines() -> Lines | None:
    """Have stdout written in whole lines, if it is the terminal that bars are drawn on."""
    out: Any = sys.stdout
    if out is None or not out.isatty() or not sys.stderr.isatty():
        return None
    from anypool._progress import around_output

    made = sys.stdout = Lines(out, around_output)
    return made
