"""A ppserver as it should be: a secret of its own, on loopback, and with workers that are replaced when they end."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from ppft.auto import Discover
from ppft.common import start_thread
from ppft.server.__main__ import _NetworkServer

from anypool._cpus import usable_cpus
from anypool._errors import LauncherUnavailable
from anypool._ppft_address import Address
from anypool._ppft_asking import read_secret

__all__: list[str] = []

_LOOK_SECONDS = 0.5
_ENDED = pickle.dumps((("ended", "a worker of the ppserver ended"), ""), 2)


def serve(given: Any) -> int:
    """What the command `anypool ppserver` does, until Ctrl-C, SIGTERM, or the end of its patience."""
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
        signal.signal(signal.SIGUSR1, lambda *_: server.print_stats())
        if given.discover:
            server.tell_where(address)
        print(f"ppserver at {address}, {workers} workers", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                connection, _ = listening.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                start_thread("anypool-ppserver", server.crun, (connection,))
    server.destroy()
    return 0


class Server(_NetworkServer):  # type: ignore[misc]  # ppft has no types
    """ppft's own, whose clients are told when a worker has ended."""

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
        if self._ended:
            with suppress(OSError):
                self._worker.t.close()
            with suppress(OSError):
                os.kill(self._worker.pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(self._worker.pid, 0)
            self._worker.start()
        else:
            self._worker.free()

    def _try(self, act: Any, *args: bytes) -> Any:
        if self._ended:
            return None
        try:
            return act(*args)
        except (OSError, RuntimeError, ValueError):
            self._ended = True
            return None
