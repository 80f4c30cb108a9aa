"""A ppserver as it should be: a secret of its own, on loopback, and with workers that are replaced when they end."""

from __future__ import annotations

import hmac
import os
import pickle
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from time import monotonic
from typing import Any

from ppft import __version__ as version
from ppft.auto import Discover
from ppft.common import start_thread
from ppft.server.__main__ import _NetworkServer

from anypool._cpus import usable_cpus
from anypool._errors import LauncherUnavailable
from anypool._ppft.address import Address, read_secret
from anypool._ppft.wire import Line, answer_to

__all__: list[str] = []

_LOOK_SECONDS = 0.5
_MOST_PORT = (1 << 16) - 1
# At a time, and to say that it knows the secret: until then it may be anybody.
_MOST_STRANGERS, _GREET_SECONDS = 32, 10.0
_ENDED = pickle.dumps((("ended", "a worker of the ppserver ended"), ""), 2)


def serve(given: Any) -> int:
    """What the command `anypool ppserver` does, until Ctrl-C, SIGTERM, or the end of its patience."""
    _check(given)
    address = Address(given.host, given.port)
    if not address.is_here and not given.trust_network:
        raise LauncherUnavailable(
            f"what goes to {address} is not encrypted by ppft: serve on 127.0.0.1, for an ssh tunnel, or say "
            "--trust-network"
        )
    secret = read_secret(given.secret_file)
    workers = given.workers or max(1, int(usable_cpus()))
    try:
        # Before workers are started; of a port that is taken ppft says nothing, and tries for ever.
        listening = socket.create_server(address)
    except OSError as error:
        raise LauncherUnavailable(f"no ppserver can listen at {address}: {error.strerror}") from error
    with listening:
        address = Address(given.host, listening.getsockname()[1])
        server = Server(workers, given.host, None, address.port, secret, given.exit_after, pid_file=given.pid_file)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGUSR1, lambda *_: _print_stats(server))
        if given.discover:
            server.tell_where(address)
        print(f"ppserver at {address}, {workers} workers", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                _accept(listening, server.crun)
    server.destroy()
    return 0


def _print_stats(server: Server) -> None:
    server.print_stats()
    # Nobody would see it in a file or a pipe before the server ends.
    sys.stdout.flush()


def _check(given: Any) -> None:
    if not 0 <= given.port <= _MOST_PORT:
        raise LauncherUnavailable(f"--port is from 0 to {_MOST_PORT}, got {given.port}")
    if given.workers is not None and given.workers < 1:
        raise LauncherUnavailable(f"--workers is at least 1, got {given.workers}")


def _accept(listening: socket.socket, serve_one: Callable[[socket.socket], None]) -> None:
    """Serve the next client in a thread; where that can't be now, go on a little later."""
    try:
        connection, _ = listening.accept()
    except OSError:  # It has gone again, or there is no descriptor for it.
        time.sleep(_LOOK_SECONDS)
        return
    try:
        start_thread("anypool-ppserver", serve_one, (connection,))
    except RuntimeError:  # There is no thread for it.
        connection.close()
        time.sleep(_LOOK_SECONDS)


class Server(_NetworkServer):  # type: ignore[misc]  # ppft has no types
    """ppft's own, whose clients are told when a worker has ended, and who costs little until it is a client."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._strangers = threading.BoundedSemaphore(_MOST_STRANGERS)

    def crun(self, csocket: socket.socket) -> None:
        """Serve one client until it goes."""
        with suppress(Exception), closing(Line(csocket)) as line:
            if not self._strangers.acquire(blocking=False):
                return
            try:
                purpose = self._greet(line)
            finally:
                self._strangers.release()
            if (serve := {b"STAT": self._tell, b"EXEC": self._run}.get(purpose)) is not None:
                self.ncon_add(1)
                try:
                    serve(line)
                finally:
                    self.ncon_add(-1)

    def _greet(self, line: Line) -> bytes:
        """What a client is there for, once it has shown that it knows the secret."""
        until = monotonic() + _GREET_SECONDS
        challenge = secrets.token_hex(8).encode()
        line.send(version.encode())
        line.send(challenge)
        if not hmac.compare_digest(line.told(until - monotonic()), answer_to(challenge, self.secret)):
            line.send(b"FAILED")
            return b""
        line.send(b"OK")
        return line.told(until - monotonic())

    def _tell(self, line: Line) -> None:
        """Say how many workers there are, and for how long they have worked whenever that is asked."""
        self.get_stats()["local"].time = 0.0
        line.send(str(self.get_ncpus()).encode())
        while True:
            line.receive()
            line.send(str(self.get_stats()["local"].time).encode())

    def _run(self, line: Line) -> None:
        """Run what comes, one after the other."""
        while True:
            function = line.creceive()
            line.send(self.insert(function, line.receive())(True))

    def _run_local(self, job: Any, function: bytes, call: bytes, worker: Any) -> None:
        super()._run_local(job, function, call, _Watched(worker))

    def tell_where(self, address: Address) -> None:
        """Say, and answer whoever asks, that it is there."""
        everywhere = "127.255.255.255" if address.is_here else "255.255.255.255"
        heard = everywhere if address.is_here else self.host
        start_thread("anypool-discovery", Discover(self).run, ((heard, address.port), (everywhere, address.port)))

    def check_timeout(self) -> None:
        """End it when nobody has been connected for so long; ppft's own would leave the file with the process id."""
        while self.ncon or time.time() - self.last_con_time < self.timeout:
            time.sleep(_LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)


class _Watched:
    """A worker as ppft's loop sees it, which swallows what goes wrong between them."""

    def __init__(self, worker: Any) -> None:
        self._worker, self._ended = worker, False
        self.t = self

    def csend(self, function: bytes) -> None:
        """Send the function, unless the worker has it."""
        self._try(self._worker.t.csend, function)

    def send(self, call: bytes) -> None:
        """Send the call."""
        self._try(self._worker.t.send, call)

    def receive(self) -> bytes:
        """The reply, or that there will be none."""
        reply: bytes | None = self._try(self._worker.t.receive)
        return _ENDED if reply is None else reply

    def free(self) -> None:
        """It may have the next one; another process if it has ended."""
        if not self._ended:
            self._worker.free()
            return
        for leave in (
            self._worker.t.close,
            partial(os.kill, self._worker.pid, signal.SIGKILL),
            partial(os.waitpid, self._worker.pid, 0),
        ):
            with suppress(OSError):
                leave()
        # ppft would go on with fewer, and in the end with none.
        while not self._starts():
            time.sleep(_LOOK_SECONDS)

    def _starts(self) -> bool:
        try:
            self._worker.start()
        except (OSError, RuntimeError, ValueError):
            with suppress(OSError):
                self._worker.t.close()
            return False
        return True

    def _try(self, act: Any, *args: bytes) -> Any:
        if self._ended:
            return None
        try:
            return act(*args)
        except (OSError, RuntimeError, ValueError):
            self._ended = True
            return None
