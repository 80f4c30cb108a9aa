"""What is asked before ppservers are used: the secret, and how many workers they have."""

from __future__ import annotations

import os
import stat

import ppft

from anypool._errors import LauncherUnavailable
from anypool._ppft_address import Address
from anypool._ppft_wire import connected, workers_of

__all__: list[str] = []

VARIABLE = "ANYPOOL_PPFT_SECRET"

_MOST_CHARACTER = 0xFF

# As they were last told, for a server that is lost at the moment.
_known: dict[Address, int] = {}


def read_secret(path: str | None) -> str:
    """The secret from a file that is its owner's alone, or from the environment; ppft's own is everybody's."""
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
