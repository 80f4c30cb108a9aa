"""Where a ppserver listens, as a plan says it, and the secret that it asks for."""

from __future__ import annotations

import ipaddress
import os
import stat
from typing import NamedTuple

from anypool._errors import LauncherUnavailable

__all__: list[str] = []

VARIABLE = "ANYPOOL_PPFT_SECRET"

_MOST_PORT = (1 << 16) - 1
_MOST_CHARACTER = 0xFF


class Address(NamedTuple):
    """Where a ppserver listens."""

    host: str
    port: int

    @property
    def is_here(self) -> bool:
        """Whether what goes there stays on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parsed(text: str) -> Address:
    """The address in a text; `ValueError` if it has no port, which ppft would guess."""
    host, _, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() else 0
    if not host or "*" in host or not 0 < number <= _MOST_PORT:
        raise ValueError(f"a ppserver is named by host and port, such as n1:60000, got {text!r}")
    return Address(host, number)


def discovery_port(text: str) -> Address:
    """Where servers say that they are there; the host is `*`, or one that stands for this machine."""
    host, _, port = text.rpartition(":")
    found = parsed(f"{'0.0.0.0' if host == '*' else host}:{port}")  # noqa: S104 - only a name here
    if host != "*" and not found.is_here:
        raise ValueError(f'servers are discovered on "*:port", or on "127.0.0.1:port" for this machine, got {text!r}')
    return Address(host, found.port)


def read_secret(path: str | None) -> str:
    """The secret from a file that is its owner's alone, or from the environment; ppft's own is everybody's."""
    import ppft

    secret = os.environ.get(VARIABLE, "") if path is None else _read(os.path.expanduser(path))
    if not secret:
        raise LauncherUnavailable(f"ppservers need a secret: in a file, secret_file=, or in {VARIABLE}")
    if secret == ppft.Server.default_secret:
        raise LauncherUnavailable("the secret is the one that is printed in ppft's source; give another one")
    if any(ord(character) > _MOST_CHARACTER for character in secret):
        raise LauncherUnavailable("the secret has characters beyond latin-1, which ppft can't send")
    return secret


def _read(path: str) -> str:
    try:
        with open(path, encoding="latin-1", opener=_opened) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise LauncherUnavailable(f"{path} with the secret is no file")
            if state.st_uid != os.getuid() or stat.S_IMODE(state.st_mode) & 0o077:
                raise LauncherUnavailable(f"{path} with the secret has to be yours alone: chown and chmod 600")
            return file.read().strip()
    except OSError as error:
        raise LauncherUnavailable(f"no secret can be read from {path}: {error.strerror}") from error


def _opened(path: str, flags: int) -> int:
    # A pipe would wait for who writes.
    return os.open(path, flags | os.O_NONBLOCK)
