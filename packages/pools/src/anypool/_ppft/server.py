"""A ppserver whose workers a pool uses: joined, watched, and joined again after it was lost."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

from anypool._buffers import Buffers
from anypool._chunk import Body
from anypool._errors import LauncherUnavailable
from anypool._packing import DROPPED_BODY
from anypool._ppft.address import Address
from anypool._ppft.there import RemoteSeat
from anypool._ppft.wire import Connection, Cut, connected, order, workers_of
from anypool._wire import Kind, Message, Ref, encode

if TYPE_CHECKING:
    from anypool._ppft.crew import PpftCrew

__all__: list[str] = []

# A server is asked so often whether it is there, and has so long to say so: it runs no tasks itself.
_LOOK_SECONDS, _ANSWER_SECONDS = 2.0, 8.0
# Seconds before each attempt to join a lost server again. After the last of them it is hopeless, and the pool fails if
# all are; as long as the pool goes on it is tried again.
_BACK_OFF = (0.1, 0.5, 1.0, 2.0, 4.0)
ATTEMPTS = len(_BACK_OFF)
_PATIENCE = 10.0
# Between looks whether a seat that waits for its turn is to go on, and functions of which it is known where they are.
_TURN_SECONDS, _MOST = 0.5, 1 << 10


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
        while not self._lock.acquire(timeout=_TURN_SECONDS):
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


class Server:
    """One server; a thread looks after it."""

    def __init__(self, crew: PpftCrew, address: Address, secret: str) -> None:
        self.address, self.why = address, ""
        self.workers = 0
        # Where it is, by whatever name it was given.
        self.peer: tuple[str, int] | None = None
        self.seats: list[RemoteSeat] = []
        self.bodies = Bodies()
        self._crew, self._secret = crew, secret
        self._failures = 0
        self._refused = False
        self._looking = threading.Event()
        self._watch: Connection | None = None
        self._thread = threading.Thread(target=self._keep, name=f"anypool-ppserver-{address}", daemon=True)

    def is_hopeless(self, attempts: int = ATTEMPTS) -> bool:
        """Whether it is lost, and so many attempts to join it again were in vain."""
        return self._refused or self._failures >= attempts

    def join(self) -> None:
        """Connect all its workers, whose seats are made. Raises `LauncherUnavailable`."""
        connections = self._connect()
        try:
            for connection in connections:
                self.seats.append(RemoteSeat(self._crew, self._crew.new_number(), self))
                self.seats[-1].connection = connection
        except OSError as error:
            for connection in connections:
                connection.close()
            self.abandon()
            text = f"the ppserver at {self.address} has more workers than this process can use: {error.strerror}"
            raise LauncherUnavailable(text) from error

    def begin(self) -> None:
        """Have all threads start, once the crew knows the seats."""
        for seat in self.seats:
            seat.begin()
        self._thread.start()

    def look(self) -> None:
        """Something was lost."""
        self._looking.set()

    def refuse(self, why: str) -> None:
        """It can't run tasks of this pool, whatever is tried."""
        known, self._refused = self._refused, True
        self.why = f"the ppserver at {self.address} can't run tasks: {why}"
        self._looking.set()
        if not known:
            self._warn("it is left out")

    def _warn(self, then: str) -> None:
        """Others may do its work, so that nothing else would tell."""
        logging.getLogger("anypool").warning("%s; %s", self.why, then)

    def end(self) -> None:
        """Have the thread end."""
        self._looking.set()
        if (watch := self._watch) is not None:
            watch.cut()

    def join_thread(self, seconds: float) -> None:
        """Wait for that."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, seconds))

    def abandon(self) -> None:
        """Close the connections of seats that never began."""
        if self._watch is not None:
            self._watch.close()
        for seat in self.seats:
            seat.abandon()

    def _connect(self) -> list[Connection]:
        """To each worker, and one that tells whether the server is there."""
        watch = connected(self.address, self._secret, "STAT")
        connections: list[Connection] = []
        try:
            self.workers = workers_of(watch, self.address)
            while len(connections) < self.workers:
                connections.append(connected(self.address, self._secret, "EXEC"))
        except BaseException:
            for each in (watch, *connections):
                each.close()
            raise
        self._watch, self.peer = watch, watch.peer
        return connections

    # In its thread.

    def _keep(self) -> None:
        while not self._crew.closed and not self._refused:
            if self._watch is None:
                self._join_again()
            else:
                self._look_after(self._watch)
        self._lose()
        if not self._crew.closed:
            self._crew.reckon()

    def _look_after(self, watch: Connection) -> None:
        self._looking.wait(_LOOK_SECONDS)
        self._looking.clear()
        if self._crew.closed or self._refused:
            return
        try:
            watch.send(b"TIME")
            watch.told(_ANSWER_SECONDS)
        except (OSError, ValueError) as error:
            self.why = f"the ppserver at {self.address} was lost: {error}"
            self._lose()
            return
        lost = [seat for seat in self.seats if seat.disconnected]
        try:
            for seat in lost:
                seat.connect(connected(self.address, self._secret, "EXEC"))
        except LauncherUnavailable as error:
            self.why = str(error)

    def _lose(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        self.bodies.clear()
        for seat in self.seats:
            seat.cut()

    def _join_again(self) -> None:
        self._crew.ending.wait(_PATIENCE if self.is_hopeless() else _BACK_OFF[self._failures])
        if self._crew.closed or self._refused:
            return
        try:
            connections = self._connect()
        except LauncherUnavailable as error:
            self.why = str(error)
            self._failures += 1
            if self._failures == ATTEMPTS:
                self._warn(f"it is tried again every {_PATIENCE:g} s")
            if self.is_hopeless():
                self._crew.reckon()
            return
        self._failures = 0
        lost = [seat for seat in self.seats if seat.disconnected]
        for seat, connection in zip(lost, connections, strict=False):
            seat.connect(connection)
        for connection in connections[len(lost) :]:
            connection.close()
