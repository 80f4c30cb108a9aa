"""A process that runs the tasks of a ppserver's worker, and may end in one of them."""

from __future__ import annotations

import io
import os
import pickle
import select
import signal
import socket
import sys
from contextlib import suppress
from functools import lru_cache
from math import inf
from struct import Struct
from time import monotonic
from typing import Any, NoReturn

from anypool._ppft import worker

__all__: list[str] = []

_LOOK_SECONDS = 0.5
# Of a pool that does nothing, and may be no more.
_IDLE_SECONDS = 60.0
_LENGTH = Struct("<Q")
_ESTABLISHED = b"01"


class Guard:
    """The child of a worker, seen from there."""

    def __init__(self, share: float) -> None:
        self._parent = os.getppid()
        fds: list[int] = []
        try:
            fds += os.pipe()
            fds += os.pipe()
            self._pid = os.fork()
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        theirs, self._write, self._read, mine = fds
        self._status: int | None = None
        self._open = [self._write, self._read]
        if self._pid == 0:
            self.close()
            _work(theirs, mine, share, self._parent)
        os.close(theirs)
        os.close(mine)

    def has_ended(self) -> bool:
        """Whether it ended while it had nothing to do."""
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = status
                self.close()
        return self._status is not None

    def call(
        self, data: bytes, caller: tuple[str, int], careful: bool, limit: float | None, place: tuple[int, int] | None
    ) -> tuple[bytes | tuple[str, str], str]:
        """Its reply, or how it ended, and what was printed.

        `limit`: seconds after which it is ended, as it is soon after its caller has closed the connection; `place`:
        where the function is held.
        """
        until = inf if limit is None else monotonic() + limit
        shown = _is_shown(self._parent, caller)
        if shown and not is_open(self._parent, caller):
            # It gave up while this was queued: the server itself looks at no connection meanwhile.
            return ("unbegun", "its caller had gone before it began"), ""
        why = "ended"
        try:
            _put(self._write, pickle.dumps((data, careful, place, caller if shown else None), 5))
            while not self._answers(min(_LOOK_SECONDS, max(0.0, until - monotonic()))):
                if os.getppid() != self._parent:
                    os._exit(1)
                if monotonic() > until or (shown and not is_open(self._parent, caller)):
                    why = "gone"
                    raise EOFError
                if self.has_ended():
                    raise EOFError
            reply: bytes | tuple[str, str]
            reply, printed = pickle.loads(_take(self._read))
        except (EOFError, OSError):
            return (why, self._end()), ""
        return reply, printed

    def _answers(self, seconds: float) -> bool:
        return bool(select.select([self._read], [], [], seconds)[0])

    def _end(self) -> str:
        # What it started ends with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._status = os.waitpid(self._pid, 0)[1]
            self.close()
        return f"process {self._pid} has ended: {worker.how_ended(os.waitstatus_to_exitcode(self._status))}"

    def close(self) -> None:
        """Close its pipes; if no other process has them, it ends by that."""
        while self._open:
            os.close(self._open.pop())


def _work(reads: int, writes: int, share: float, server: int) -> NoReturn:
    caller: tuple[str, int] | None = None
    # Whatever happens, it may not go on as if it were the worker.
    try:
        os.setsid()
        worker.let_go()
        worker.at_server = True
        worker.begin(share)
        sys.stdout = sys.stderr = printed = io.StringIO()
        while _is_asked(reads, server, caller):
            data, careful, place, caller = pickle.loads(_take(reads))
            printed.seek(0)
            printed.truncate()
            reply: Any = worker.run(data, careful, place)
            _put(writes, pickle.dumps((reply, printed.getvalue()), 5))
        _end_all()
    except (EOFError, OSError):  # Its worker is no more.
        _end_all()
    finally:
        # Its worker ends what tasks have started, and tells by the code that nobody has ended this.
        os._exit(1)


def _end_all() -> None:
    """End this process and what its tasks have started; until it has a group of its own, it is in the server's."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)


def _is_asked(reads: int, server: int, caller: tuple[str, int] | None) -> bool:
    """Wait for the next chunk; false if there seems to be nobody who would send any."""
    until = monotonic() + _IDLE_SECONDS
    while monotonic() < until:
        if select.select([reads], [], [], _LOOK_SECONDS * 4)[0]:
            return True
        if caller is not None and not is_open(server, caller):
            return False
    return False


def is_open(server: int, caller: tuple[str, int]) -> bool:
    """Whether a process' machine knows a connection with this other end, which that has not closed."""
    return _ESTABLISHED in _states(server, caller)


@lru_cache(256)
def _is_shown(server: int, caller: tuple[str, int]) -> bool:
    """Whether that can be told: not if something on the way, as a tunnel, has connections of its own.

    One that its other end has closed already is known as well.
    """
    return bool(_states(server, caller))


def _states(server: int, caller: tuple[str, int]) -> set[bytes]:
    """Of the connections with this other end that a process' machine knows, as the kernel writes them."""
    host, port = caller
    try:
        wanted = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}".encode()
        with open(f"/proc/{server}/net/tcp", "rb") as file:
            fields = (line.split(None, 4) for line in file)
            return {state for _, _, other, state, *_ in fields if other == wanted}
    except (OSError, OverflowError):
        return set()


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
