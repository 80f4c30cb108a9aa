"""Which functions a ppserver was given: each crosses to it once, however many workers it has."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from anypool._buffers import Buffers
from anypool._chunk import Body
from anypool._packing import DROPPED_BODY
from anypool._ppft_wire import Cut, order
from anypool._wire import Kind, Message, Ref, encode

__all__: list[str] = []

_LOOK_SECONDS = 0.5
_MOST = 1 << 10


class Asking(Protocol):
    """Who may have the server do something."""

    @property
    def is_over(self) -> bool: ...

    def ask(self, message: bytes) -> tuple[str, Any]: ...


class Bodies:
    """By digest, the process and the descriptor by which a server's workers find a function."""

    def __init__(self) -> None:
        self._places: dict[bytes, tuple[int, int]] = {}
        # Held while one is on its way: whoever needs it too waits for that, and others hardly ever come then.
        self._lock = threading.Lock()

    def place_of(self, body: Body, seat: Asking) -> tuple[int, int] | None:
        """Where it is; None if the server can't hold it. `Cut` if the seat is not to go on."""
        if (place := self._places.get(body.digest)) is not None:
            return place
        while not self._lock.acquire(timeout=_LOOK_SECONDS):
            if seat.is_over:
                raise Cut
        try:
            if body.digest not in self._places:
                parts = [Buffers.read(part) if type(part) is Ref else part for part in body.parcel.parts]
                data = b"".join(encode(Message(Kind.RUN, digest=body.digest, parts=parts)))
                what, said = seat.ask(order("hold", data, body.digest))
                if what != "held" or not said:
                    return None
                if len(self._places) >= _MOST:
                    self._places.clear()
                process, descriptor = map(int, said.split())
                self._places[body.digest] = process, descriptor
            return self._places[body.digest]
        finally:
            self._lock.release()

    def forget(self, body: Body, place: tuple[int, int] | None) -> None:
        """It is no longer at this place."""
        if self._places.get(body.digest) == place:
            self._places.pop(body.digest, None)

    def release(self, body: Body) -> None:
        """A map has ended; nothing else names a large function by this digest."""
        if body.size > DROPPED_BODY:
            self._places.pop(body.digest, None)

    def clear(self) -> None:
        """It is another server's turn."""
        self._places.clear()
