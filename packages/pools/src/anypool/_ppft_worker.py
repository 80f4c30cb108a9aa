"""What a worker process of ppft, here or at a ppserver, runs for a pool: ppft's own loop calls `answer`."""

from __future__ import annotations

import importlib
import io
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from struct import Struct
from typing import Any, NoReturn

from anypool import __version__
from anypool._context import become_worker
from anypool._cpus import usable_cpus
from anypool._serve import prepare, serve
from anypool._threads import limit_threads

__all__: list[str] = []

# What both ends must have in common: code goes by value as that of one Python.
VERSIONS = (__version__, *sys.version_info[:2])

_LOOK_SECONDS = 1.0

_LENGTH = Struct("<?Q")

_begun = False
_running = False
_child: _Child | None = None


def answer(data: bytes, careful: bool, versions: tuple[Any, ...], share: float | None, neighbours: int) -> bytes | str:
    """Run one chunk; text says that it can't be answered. `share`: CPUs of this worker; None at a ppserver.

    There it's a part of those that `neighbours` have. ppservers don't notice when a worker of theirs ends: a child runs
    the tasks there.
    """
    global _begun, _child
    if versions != VERSIONS:
        raise RuntimeError(f"the caller has anypool and Python {_dotted(versions)}, this worker {_dotted(VERSIONS)}")
    if not _begun:
        if share is None:
            _keep_pipes()
        _begin(usable_cpus() / neighbours if share is None else share, watched=share is not None)
        _begun = True
    if isinstance(sys.stdout, io.StringIO):
        # ppft empties it without going back to its start, and what is printed next would come after a gap of zeros.
        sys.stdout.seek(0)
    if share is not None:
        return _run(data, careful)
    if _child is None or _child.has_ended():
        _child = _Child()
    reply, printed = _child.call(data, careful)
    sys.stdout.write(printed)
    if isinstance(reply, str):
        _child = None
    return reply


def _run(data: bytes, careful: bool) -> bytes:
    global _running
    _running = True
    try:
        return prepare(data)() if careful else serve(data)
    finally:
        _running = False


class _Child:
    """A process that runs tasks, and may end in one of them."""

    def __init__(self) -> None:
        # No thread watches for it here, for a process that has any is better not forked.
        self._parent = os.getppid()
        (theirs, self._write), (self._read, mine) = os.pipe(), os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write)
            os.close(self._read)
            _work(theirs, mine)
        os.close(theirs)
        os.close(mine)

    def has_ended(self) -> bool:
        """Whether it ended while it had nothing to do."""
        ended = os.waitpid(self._pid, os.WNOHANG)[0] != 0
        if ended:
            self._close()
        return ended

    def call(self, data: bytes, careful: bool) -> tuple[bytes | str, str]:
        """Its reply, or how it ended, and what was printed."""
        try:
            _put(self._write, careful, data)
            while not select.select([self._read], [], [], _LOOK_SECONDS)[0]:
                if os.getppid() != self._parent:
                    os._exit(1)
                if os.waitpid(self._pid, os.WNOHANG)[0] != 0:
                    raise EOFError
            _, reply = _take(self._read)
            _, printed = _take(self._read)
            return reply, printed.decode("utf-8", "surrogatepass")
        except (EOFError, OSError):
            with suppress(ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._close()
            return f"process {self._pid} ended", ""

    def _close(self) -> None:
        os.close(self._write)
        os.close(self._read)


def _work(reads: int, writes: int) -> NoReturn:
    # Whatever happens, it may not go on as if it were the worker.
    try:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        sys.stdout = sys.stderr = printed = io.StringIO()
        while True:
            careful, data = _take(reads)
            printed.seek(0)
            printed.truncate()
            _put(writes, False, _run(data, careful))
            _put(writes, False, printed.getvalue().encode("utf-8", "surrogatepass"))
    finally:
        os._exit(1)


def _put(fd: int, careful: bool, data: bytes) -> None:
    view = memoryview(_LENGTH.pack(careful, len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def _take(fd: int) -> tuple[bool, bytes]:
    careful, size = _LENGTH.unpack(_exactly(fd, _LENGTH.size))
    return careful, _exactly(fd, size)


def _exactly(fd: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _dotted(versions: tuple[Any, ...]) -> str:
    return f"{versions[0]} and {'.'.join(map(str, versions[1:]))}"


def _begin(share: float, watched: bool) -> None:
    signal.signal(signal.SIGINT, _interrupted)
    if watched:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    become_worker(share)
    limit_threads(share)
    # Only if a task has opened any, and before Python waits for the threads that work for them.
    importlib.import_module("multiprocessing.util").Finalize(None, _finish_pools, exitpriority=100)


def _keep_pipes() -> None:
    """At a ppserver, move ppft's conversation away from the standard streams, for a task's children write to those."""
    transport = sys.modules["__main__"].wp.t
    transport.r = transport.rb = os.fdopen(os.dup(0), "rb")
    transport.w = transport.wb = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    os.close(nowhere)


def _interrupted(*_: object) -> None:
    # Ctrl-C in a terminal reaches workers too: it ends their task, not them.
    if _running:
        raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


def _finish_pools() -> None:
    if (module := sys.modules.get("anypool._registry")) is not None:
        module.finish()
