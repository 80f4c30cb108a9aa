"""What a worker process of ppft, here or at a ppserver, runs for a pool: ppft's own loop calls `answer`."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
import time
from typing import Any

from anypool import __version__
from anypool._context import become_worker
from anypool._cpus import usable_cpus
from anypool._serve import prepare, serve
from anypool._threads import limit_threads

__all__: list[str] = []

# What both ends must have in common: code goes by value as that of one Python.
VERSIONS = (__version__, *sys.version_info[:2])

_LOOK_SECONDS = 1.0

_begun = False
_running = False


def answer(data: bytes, careful: bool, versions: tuple[Any, ...], share: float | None, neighbours: int) -> bytes:
    """Run one chunk. `share`: CPUs of this worker; None for its part of those that `neighbours` have here."""
    global _begun, _running
    if versions != VERSIONS:
        raise RuntimeError(f"the caller has anypool and Python {_dotted(versions)}, this worker {_dotted(VERSIONS)}")
    if not _begun:
        _begin(usable_cpus() / neighbours if share is None else share)
        _begun = True
    printed = sys.stdout
    if isinstance(printed, io.StringIO):
        # ppft empties it without going back to its start, and what is printed next would come after a gap of zeros.
        printed.seek(0)
    _running = True
    try:
        return prepare(data)() if careful else serve(data)
    finally:
        _running = False


def _dotted(versions: tuple[Any, ...]) -> str:
    return f"{versions[0]} and {'.'.join(map(str, versions[1:]))}"


def _begin(share: float) -> None:
    _keep_pipes()
    signal.signal(signal.SIGINT, _interrupted)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    become_worker(share)
    limit_threads(share)
    # Only if a task has opened any, and before Python waits for the threads that work for them.
    importlib.import_module("multiprocessing.util").Finalize(None, _finish_pools, exitpriority=100)


def _keep_pipes() -> None:
    """At a ppserver, move ppft's conversation away from the standard streams, for a task's children write to those."""
    worker: Any = getattr(sys.modules["__main__"], "wp", None)
    if worker is None:
        return
    transport = worker.t
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
