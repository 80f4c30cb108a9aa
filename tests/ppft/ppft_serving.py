"""A ppserver of this machine, for tests: on loopback, with a secret that is on no command line."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from anypool import Pool, get_pool

SECRET = "a secret of these tests"

_SERVER = """
import os, sys
from ppft.server.__main__ import create_network_server
server = create_network_server(["-i", "127.0.0.1", "-p", sys.argv[1], "-w", sys.argv[2], *sys.argv[3:]])
server.secret = os.environ.pop("SECRET")
server.listen()
"""


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def where(_: object = None) -> int:
    """The group of processes that this process' parent is in: a server's workers are in its own."""
    return os.getpgid(os.getppid())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PpServer:
    """Starts one, and ends it with its workers."""

    def __init__(self, workers: int = 1, port: int = 0, path: str = "", options: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        env = {**os.environ, "SECRET": SECRET, "PYTHONPATH": path or os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(self.port), str(workers), *options], env=env, start_new_session=True
        )
        wait_until(self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def secret_file(folder: Path, secret: str = SECRET, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_text(f"{secret}\n")
    path.chmod(mode)
    return str(path)


class Link:
    """What is between a client and a server: counts what goes to the server, and may stop to pass anything on."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.cut = self._ended = False
        self._port = port
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.address = f"127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._sockets[0].accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += near, far
                self._start(self._pass, near, far, True)
                self._start(self._pass, far, near, False)

    def _pass(self, reads: socket.socket, writes: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while data := reads.recv(1 << 16):
                while self.cut and not self._ended:
                    time.sleep(0.05)
                self.sent += len(data) * counts
                writes.sendall(data)
            writes.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        self._ended = True
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()


def remote(secret: str, *servers: PpServer, workers: int = 0) -> Pool:
    addresses = tuple(server.address for server in servers)
    return get_pool("parallel-python", workers=workers, servers=addresses, secret_file=secret)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds
