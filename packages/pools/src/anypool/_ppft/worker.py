"""What a worker process of ppft, here or at a ppserver, does for a pool: ppft's own loop calls `answer`."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from anypool import __version__, _linux
from anypool._context import become_worker
from anypool._cpus import usable_cpus
from anypool._serve import RUN
from anypool._serving import prepare, serve
from anypool._task import become
from anypool._threads import limit_threads
from anypool._wire import Decoder, Kind, encode
from anypool_serialize import initialize, loads

__all__: list[str] = []

# What both ends must have in common: code goes by value as that of one Python.
VERSIONS = (__version__, *sys.version_info[:2])

# Whether this is a process that runs tasks at a ppserver.
at_server = False
_running = _begun = False
# Functions that workers of one ppserver share: one of them holds each in memory that the others can open. By digest,
# the descriptor and the size of what is held.
_held: dict[bytes, tuple[int, int]] = {}
_MOST, _MOST_BYTES = 256, 64 << 20
# By pool.
_guards: dict[bytes, Any] = {}


def answer(versions: tuple[Any, ...], order: str, data: bytes, options: tuple[Any, ...]) -> bytes | tuple[str, str]:
    """Carry out an order; a pair is what kept it from being done, and the words for it."""
    if tuple(versions) != VERSIONS:
        return "unfit", f"the caller has anypool and Python {_dotted(versions)}, this worker {_dotted(VERSIONS)}"
    if isinstance(sys.stdout, io.StringIO):
        # ppft empties it without going back to its start, and what is printed next would come after a gap of zeros.
        sys.stdout.seek(0)
    return _ORDERS[order](data, *options)


def _begin_here(data: bytes, share: float) -> bytes | tuple[str, str]:
    """A local worker's first act; `share`: its CPUs."""
    begin(share)
    try:
        initializer, initargs = loads(data)
        if initializer is not None:
            initialize(initializer, initargs)
    except BaseException as error:  # noqa: BLE001 - the caller's maps end with it
        return "initializer", f"the initializer raised {type(error).__name__}: {error}"
    return b""


def _run_at_server(
    data: bytes, session: bytes, caller: tuple[str, int], careful: bool, neighbours: int, *more: Any
) -> Any:
    """Have a child run a chunk: ppservers don't notice when a worker of theirs ends.

    Each pool, named by its `session`, has its own; `caller`: the other end of its connection; `neighbours` share the
    CPUs.
    """
    from anypool._ppft.guard import Guard

    _begin_at_server()
    for known in [known for known, guard in _guards.items() if guard.has_ended()]:
        del _guards[known]
    guard = _guards.get(session)
    if guard is None:
        try:
            guard = _guards[session] = Guard(usable_cpus() / neighbours)
        except OSError as error:
            return "unbegun", f"no process could be started: {error}"
    reply, printed = guard.call(data, caller, careful, *more)
    sys.stdout.write(printed)
    return reply


def _hold_at_server(data: bytes, digest: bytes) -> tuple[str, str]:
    """Keep a function for all workers of this server."""
    _begin_at_server()
    return "held", hold(data, digest)


def hold(data: bytes, digest: bytes) -> str:
    """Keep a message that carries a function; returns process and descriptor, nothing where that can't be."""
    if sys.platform != "linux":
        return ""
    if digest not in _held:
        try:
            _held[digest] = _segment_of(data, digest.hex()), len(data)
        except OSError:  # There is no room for it, or no descriptor.
            return ""
        while len(_held) > 1 and (len(_held) > _MOST or sum(size for _, size in _held.values()) > _MOST_BYTES):
            os.close(_held.pop(next(iter(_held)))[0])
    return f"{os.getpid()} {_held[digest][0]}"


def _segment_of(data: bytes, name: str) -> int:
    fd = _linux.new_segment(name)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
    except OSError:
        os.close(fd)
        raise
    return fd


def _begin_at_server() -> None:
    """Move ppft's conversation away from the standard streams, for a task's children write to those."""
    global _begun
    if _begun:
        return
    loop = _loop()
    transport = loop.t
    transport.r = transport.rb = os.fdopen(os.dup(0), "rb")
    transport.w = transport.wb = os.fdopen(os.dup(1), "wb")
    # A protocol that has bytes, unlike ppft's default.
    loop.pickle_proto = max(loop.pickle_proto, 5)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    _begun = True


def let_go() -> None:
    """As the child of a worker, hold nothing, and have no part in what that has with ppft and other children."""
    while _held:
        os.close(_held.popitem()[1][0])
    transport = _loop().t
    for file in (transport.r, transport.w):
        file.close()
    while _guards:
        _guards.popitem()[1].close()


def _loop() -> Any:
    """What ppft runs this process by."""
    return sys.modules["__main__"].wp


def begin(share: float) -> None:
    """Become a worker with so many CPUs, which ends with the process that started it."""
    signal.signal(signal.SIGINT, _interrupted)
    _end_with_parent()
    become_worker(share)
    become("parallel-python")
    limit_threads(share)
    # Only if a task has opened any, and before Python waits for the threads that work for them.
    importlib.import_module("multiprocessing.util").Finalize(None, _finish_pools, exitpriority=100)


def _end_with_parent() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        from anypool._linux import die_with_parent

        die_with_parent(signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    import time

    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def run(data: bytes, careful: bool, place: tuple[int, int] | None = None) -> bytes:
    """Run a chunk in this process; `place`: where its function is held, should it not be known here."""
    global _running
    _running = True
    try:
        reply = _served(data, careful)
        if place is not None and any(each.kind == Kind.NEED for each in Decoder().feed(reply)):
            whole = at_hand(data, place)
            reply = reply if whole is None else _served(whole, careful)
        return reply
    finally:
        _running = False


def at_hand(data: bytes, place: tuple[int, int]) -> bytes | None:
    """A RUN message with the function that it lacks; None if that is no longer held."""
    (message,) = Decoder().feed(data)
    try:
        with open(_linux.open_of(*place, os.O_RDONLY), "rb") as file:
            # Whose number it is may have changed, and what the descriptor is.
            if message.digest.hex() not in os.readlink(f"/proc/self/fd/{file.fileno()}"):
                return None
            (body,) = Decoder().feed(file.read())
    except OSError:
        return None
    mode, stop, careful, _, *more = RUN.unpack_from(message.meta)
    message.meta = RUN.pack(mode, stop, careful, len(body.parts), *more) + bytes(message.meta)[RUN.size :]
    message.parts = [*body.parts, *message.parts]
    return b"".join(encode(message))


def _served(data: bytes, careful: bool) -> bytes:
    return prepare(data)() if careful else serve(data)


def _interrupted(*_: object) -> None:
    # Ctrl-C in a terminal may reach workers too: it ends their task, not them.
    if _running:
        raise KeyboardInterrupt


def _finish_pools() -> None:
    if (module := sys.modules.get("anypool._registry")) is not None:
        module.finish()


def how_ended(code: int) -> str:
    """The words for an exit code."""
    names = [each.name for each in signal.Signals if each == -code]
    return f"killed by signal {-code} ({', '.join(names)})" if code < 0 else f"exit code {code}"


def _dotted(versions: tuple[Any, ...]) -> str:
    return f"{versions[0]} and {'.'.join(map(str, versions[1:]))}"


_ORDERS: dict[str, Callable[..., bytes | tuple[str, str]]] = {
    "begin": _begin_here,
    "run": run,
    "hold": _hold_at_server,
    "run there": _run_at_server,
}
