"""What is to be known of ppservers before ppft is told of them: it says nothing of one that can't be used."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct

import ppft

from anypool._errors import LauncherUnavailable
from anypool._ppft_address import Address

__all__: list[str] = []

VARIABLE = "ANYPOOL_PPFT_SECRET"
_ANSWER_SECONDS = 5.0
_SIZE = struct.Struct("!Q")
# Of what a ppserver says of itself.
_MOST_BYTES = 1 << 10


def read_secret(path: str | None) -> str:
    """The secret from a file that is its owner's alone, or from the environment; ppft's own is everybody's."""
    secret = os.environ.get(VARIABLE, "") if path is None else _read(os.path.expanduser(path))
    if not secret:
        raise LauncherUnavailable(f"ppservers need a secret: in a file, secret_file=, or in {VARIABLE}")
    if secret == ppft.Server.default_secret:
        raise LauncherUnavailable("the secret is the one that is printed in ppft's source; give another one")
    return secret


def _read(path: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            state = os.fstat(file.fileno())
            if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o077:
                raise LauncherUnavailable(f"{path} with the secret can be read by others: chmod 600 {path}")
            return file.read().strip()
    except OSError as error:
        raise LauncherUnavailable(f"no secret can be read from {path}: {error.strerror}") from error


def ask(address: Address, secret: str) -> int:
    """How many workers a ppserver has. `LauncherUnavailable` if it can't be reached, or refuses the secret."""
    try:
        with socket.create_connection(address, _ANSWER_SECONDS) as connection:
            version = _receive(connection).decode("latin-1")
            if version != ppft.__version__:
                text = f"the ppserver at {address} is of ppft {version[:20]}, this is {ppft.__version__}"
                raise LauncherUnavailable(f"{text}; ppft needs the same on both ends")
            challenge = _receive(connection)
            _send(connection, hashlib.sha1(challenge + secret.encode("latin-1")).hexdigest())  # noqa: S324 - ppft's
            if _receive(connection) != b"OK":
                raise LauncherUnavailable(f"the ppserver at {address} refuses the secret")
            _send(connection, "STAT")
            return int(_receive(connection))
    except (OSError, ValueError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or error
        raise LauncherUnavailable(f"no ppserver can be used at {address}: {why}") from error


def _send(connection: socket.socket, text: str) -> None:
    data = text.encode("latin-1")
    connection.sendall(_SIZE.pack(len(data)) + data)


def _receive(connection: socket.socket) -> bytes:
    (size,) = _SIZE.unpack(_exactly(connection, _SIZE.size))
    if size > _MOST_BYTES:
        raise ValueError("what answers there is no ppserver")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionAbortedError("it ended the connection")
        data += part
    return data
