"""A ppserver of this machine, for tests: on loopback, with a secret that is on no command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECRET = "a secret of these tests"

_SERVER = """
import os, sys
from ppft.server.__main__ import create_network_server
server = create_network_server(["-i", "127.0.0.1", "-p", sys.argv[1], "-w", sys.argv[2]])
server.secret = os.environ.pop("SECRET")
server.listen()
"""


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)


def where(_: object = None) -> int:
    """The group of processes that this is in: a server's is its own."""
    return os.getpgid(0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PpServer:
    """Starts one, and ends it with its workers."""

    def __init__(self, workers: int = 1, port: int = 0, path: str = "") -> None:
        self.port = port or free_port()
        env = {**os.environ, "SECRET": SECRET, "PYTHONPATH": path or os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(self.port), str(workers)], env=env, start_new_session=True
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

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def secret_file(folder: Path, secret: str = SECRET, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_text(f"{secret}\n")
    path.chmod(mode)
    return str(path)
