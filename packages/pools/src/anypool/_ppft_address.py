"""Where a ppserver listens, as a plan says it."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

__all__: list[str] = []

_MOST_PORT = (1 << 16) - 1


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
