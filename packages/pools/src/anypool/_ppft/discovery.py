"""Finding ppservers that say on a UDP port that they are there, as `ppserver -a` does."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from time import monotonic

from anypool._errors import LauncherUnavailable
from anypool._ppft.address import Address

__all__: list[str] = []

_LOOK_SECONDS = 1.0
# Servers say so every 10 s by themselves, and at once when they are asked.
_ASK_SECONDS = 10.0
# What could not be used is tried again after so long.
_AGAIN_SECONDS = 30.0


class Discovery:
    """Listens and asks from a thread of its own; calls `found` with each address, which may raise."""

    def __init__(self, port: Address, ending: threading.Event, found: Callable[[Address], None]) -> None:
        self._port, self._ending, self._found = port, ending, found
        self._refused: dict[Address, float] = {}
        # To what is sent to all of a network listens who is bound to all addresses, or to just that one.
        everywhere = "127.255.255.255" if port.is_here else "255.255.255.255"
        self._everywhere = everywhere, port.port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            for option in (socket.SO_REUSEADDR, socket.SO_BROADCAST):
                self._socket.setsockopt(socket.SOL_SOCKET, option, 1)
            self._socket.bind((everywhere if port.is_here else "0.0.0.0", port.port))  # noqa: S104 - it is asked for
            self._socket.settimeout(_LOOK_SECONDS)
        except OSError as error:
            self._socket.close()
            text = f"ppservers can't be discovered on UDP port {port.port}: {error.strerror}"
            raise LauncherUnavailable(text) from error
        self._thread = threading.Thread(target=self._listen, name="anypool-ppft-discovery", daemon=True)

    def begin(self) -> None:
        """Start listening."""
        self._thread.start()

    def end(self) -> Callable[[float], None]:
        """Stop listening, as its event says; what waits for that is returned."""
        if self._thread.ident is None:
            self._socket.close()
        return self._join

    def _join(self, seconds: float) -> None:
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, seconds))

    def _listen(self) -> None:
        due = 0.0
        with self._socket:
            while not self._ending.is_set():
                if monotonic() >= due:
                    self._ask()
                    due = monotonic() + _ASK_SECONDS
                try:
                    said, (host, _) = self._socket.recvfrom(1 << 10)
                except TimeoutError:
                    continue
                except OSError:
                    self._ending.wait(_LOOK_SECONDS)
                    continue
                if said[:1] == b"S":
                    self._try(Address(host, self._port.port))

    def _ask(self) -> None:
        try:
            self._socket.sendto(b"C", self._everywhere)
        except OSError as error:
            logging.getLogger("anypool").warning("ppservers can't be asked for: %s", error)

    def _try(self, address: Address) -> None:
        if (self._port.is_here and not address.is_here) or self._refused.get(address, 0.0) > monotonic():
            return
        try:
            self._found(address)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs that server only
            self._refused[address] = monotonic() + _AGAIN_SECONDS
            logging.getLogger("anypool").warning("a ppserver that was discovered is not used: %s", error)
