"""A process that runs the tasks of a ppserver's worker, and may end in one of them."""

from __future__ import annotations

import io
import os
import pickle
import select
import signal
import sys
import time
from contextlib import suppress
from struct import Struct
from typing import Any, NoReturn

from anypool import _ppft_bodies as bodies
from anypool import _ppft_worker as worker

__all__: list[str] = []

_LOOK_SECONDS = 1.0
_LENGTH = Struct("<Q")


class Guard:
    """The child of a worker, seen from there."""

    def __init__(self, share: float) -> None:
        self._parent = os.getppid()
        (theirs, self._write), (self._read, mine) = os.pipe(), os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write)
            os.close(self._read)
            _work(theirs, mine, share)
        os.close(theirs)
        os.close(mine)
        self._status: int | None = None

    def has_ended(self) -> bool:
        """Whether it ended while it had nothing to do."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = status
                self._close()
        return self._status is not None

    def call(
        self, data: bytes, careful: bool, limit: float | None, place: tuple[int, int] | None
    ) -> tuple[bytes | tuple[str, str], str]:
        """Its reply, or how it ended, and what was printed."""
        until = None if limit is None else time.monotonic() + limit
        why = "ended"
        try:
            _put(self._write, pickle.dumps((data, careful, place), 5))
            while not select.select([self._read], [], [], _LOOK_SECONDS if until is None else _LOOK_SECONDS / 4)[0]:
                if os.getppid() != self._parent:
                    os._exit(1)
                if until is not None and time.monotonic() > until:
                    why = "late"
                    raise EOFError
                if self.has_ended():
                    raise EOFError
            reply: bytes | tuple[str, str]
            reply, printed = pickle.loads(_take(self._read))
        except (EOFError, OSError):
            return (why, self._end()), ""
        return reply, printed

    def _end(self) -> str:
        # What it started ends with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._status = os.waitpid(self._pid, 0)[1]
            self._close()
        return f"process {self._pid} ended with exit code {os.waitstatus_to_exitcode(self._status)}"

    def _close(self) -> None:
        os.close(self._write)
        os.close(self._read)


def _work(reads: int, writes: int, share: float) -> NoReturn:
    # Whatever happens, it may not go on as if it were the worker.
    try:
        os.setsid()
        bodies.let_go()
        worker.begin(share)
        sys.stdout = sys.stderr = printed = io.StringIO()
        while True:
            data, careful, place = pickle.loads(_take(reads))
            printed.seek(0)
            printed.truncate()
            reply: Any = worker.run(data, careful, place)
            _put(writes, pickle.dumps((reply, printed.getvalue()), 5))
    finally:
        os._exit(1)


def _put(fd: int, data: bytes) -> None:
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def _take(fd: int) -> bytes:
    (size,) = _LENGTH.unpack(_exactly(fd, _LENGTH.size))
    return _exactly(fd, size)


def _exactly(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
