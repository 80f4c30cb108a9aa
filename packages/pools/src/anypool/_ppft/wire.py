"""ppft's protocol as a client speaks it, with a limit to every wait: what it is said to be is in ppft's transport."""

from __future__ import annotations

import hashlib
import pickle
import select
import socket
import struct
import sys
from contextlib import suppress
from time import monotonic
from typing import Any

import ppft
from ppft.transport import CTransport

from anypool._errors import LauncherUnavailable
from anypool._ppft.address import Address
from anypool._ppft.worker import VERSIONS

__all__: list[str] = []

ANSWER_SECONDS = 5.0
_SIZE = struct.Struct("!Q")
# Of what a ppserver says of itself, and of the workers that it says it has.
_MOST_BYTES, _MOST_WORKERS = 1 << 10, (1 << 16) - 1
# Of a connection that is cut one hears soon even while nothing is sent.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}
# Of one to a server that takes nothing any more; a client may well be stopped for a while.
_IMPATIENT = {"TCP_USER_TIMEOUT": 15_000}
# How many workers servers have, as they were last told, for one that is lost at the moment.
_known: dict[Address, int] = {}
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
# ppft compiles the source of what it runs, once in each worker; this is all that it ever gets. What raised there would
# end the worker, and its ppserver would not notice.
_SOURCE = """\
try:
    from anypool._ppft.worker import answer
except Exception as error:
    def answer(*_, why=f"{type(error).__name__}: {error}"):
        return "unfit", why
"""
FUNCTION = pickle.dumps(("answer", [_SOURCE], ()), 2)


def order(name: str, data: bytes = b"", *options: Any) -> bytes:
    """What has `answer` do something."""
    return pickle.dumps((VERSIONS, name, data, options), 5)


def outcome(reply: bytes) -> tuple[str, Any]:
    """What `answer` has said: "done" and bytes, or what kept it from that and the words for it."""
    result, printed = pickle.loads(reply)
    if isinstance(result, bytes):
        show(printed)
        return "done", result
    if isinstance(result, tuple):
        return result
    return "unfit", printed.strip("\0 \n").rpartition("\n")[2]


def show(printed: str) -> None:
    """What tasks have printed."""
    # Whatever stands in for it, or nothing: the results are to come all the same.
    with suppress(Exception):
        if printed and sys.stdout is not None:
            sys.stdout.write(printed)


class Cut(Exception):
    """A connection is not to be used any more."""


class Line(CTransport):  # type: ignore[misc]  # ppft has no types
    """One end of a connection; ppft's own copies a big message many times, and has no limit to what strangers send."""

    def __init__(self, connection: socket.socket) -> None:
        self.scache: dict[str, bool] = {}
        self.socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._set(_KEEPALIVE)

    def _set(self, options: dict[str, int]) -> None:
        for name, value in options.items():
            if (option := getattr(socket, name, None)) is not None:
                self.socket.setsockopt(socket.IPPROTO_TCP, option, value)

    def send(self, data: bytes) -> None:
        """Write one message."""
        self.socket.sendall(_SIZE.pack(len(data)))
        self.socket.sendall(data)

    def told(self, seconds: float = ANSWER_SECONDS) -> bytes:
        """A short message of the ppserver itself, which takes no longer than that."""
        return self._message(_MOST_BYTES, monotonic() + seconds)

    def receive(self, _: object = None) -> bytes:
        """A message that has begun to arrive, or is waited for until the connection is cut."""
        return self._message(None, None)

    def _message(self, most: int | None, until: float | None) -> bytes:
        (size,) = _SIZE.unpack(self._exactly(_SIZE.size, until))
        if most is not None and size > most:
            raise ValueError("what answers there is no ppserver")
        return self._exactly(size, until)

    def _exactly(self, size: int, until: float | None) -> bytes:
        data = bytearray()
        while len(data) < size:
            if until is not None and not ready(until - monotonic(), self.socket):
                raise TimeoutError("no answer")
            if not data and _QUICKACK is not None:
                # A ppserver waits for that between a message's size and the message; it may else be put off for 40 ms.
                self.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            part = self.socket.recv(min(size - len(data), 1 << 20))
            if not part:
                raise ConnectionAbortedError("it ended the connection")
            data += part
        return bytes(data)

    def fileno(self) -> int:
        """Readable when a reply has come, or the connection is cut."""
        return self.socket.fileno()

    def cut(self) -> None:
        """Have whoever waits for it be told that it is over."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give it back."""
        self.cut()
        self.socket.close()


class Connection(Line):
    """With a ppserver that has accepted the secret."""

    def __init__(self, address: Address, secret: str, purpose: str) -> None:
        super().__init__(socket.create_connection(address, ANSWER_SECONDS))
        try:
            self._introduce(address, secret)
            self.send(purpose.encode())
            self._set(_IMPATIENT)
            self.socket.settimeout(None)
            self.peer: tuple[str, int] = self.socket.getpeername()[:2]
        except BaseException:
            self.socket.close()
            raise

    def _introduce(self, address: Address, secret: str) -> None:
        version = self.told().decode("latin-1")
        if version != ppft.__version__:
            text = f"the ppserver at {address} is of ppft {version[:20]}, this is {ppft.__version__}"
            raise LauncherUnavailable(f"{text}; ppft needs the same on both ends")
        self.send(answer_to(self.told(), secret))
        if self.told() != b"OK":
            raise LauncherUnavailable(f"the ppserver at {address} refuses the secret")

    @property
    def names(self) -> tuple[str, int]:
        """By what the server knows it, if nobody on the way is in between."""
        host, port, *_ = self.socket.getsockname()
        return host, port

    def end_sending(self) -> None:
        """Tell that nothing more will be sent; the last reply can still be received."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)


def answer_to(challenge: bytes, secret: str) -> bytes:
    """What shows that one knows the secret."""
    return hashlib.sha1(challenge + secret.encode("latin-1")).hexdigest().encode()  # noqa: S324 - ppft's


def ready(seconds: float | None, *fds: Any) -> bool:
    """Whether any of these is readable, cut off included, within so many seconds."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))


def connected(address: Address, secret: str, purpose: str) -> Connection:
    """A connection; `LauncherUnavailable` says why there is none."""
    try:
        return Connection(address, secret, purpose)
    except (OSError, ValueError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or error
        raise LauncherUnavailable(f"no ppserver can be used at {address}: {why}") from error


def workers_of(watch: Connection, address: Address) -> int:
    """How many workers a ppserver has, by a connection that is there to ask about it."""
    try:
        count = int(watch.told())
        if not 0 < count <= _MOST_WORKERS:
            raise ValueError(f"it says that it has {count} workers")
    except (OSError, ValueError) as error:
        raise LauncherUnavailable(f"no ppserver can be used at {address}: {error}") from error
    return count


def workers_at(address: Address, secret: str) -> int:
    """How many workers a ppserver has, or had. `LauncherUnavailable` if that was never known."""
    try:
        watch = connected(address, secret, "STAT")
        try:
            _known[address] = workers_of(watch, address)
        finally:
            watch.close()
    except LauncherUnavailable:
        if address not in _known:
            raise
    return _known[address]
