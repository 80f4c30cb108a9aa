"""A worker of a ppserver: what one connection runs at a time."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anypool._crew import Gained
from anypool._foreign import encoded
from anypool._ppft.seat import SLOTS, Lacking, Seat
from anypool._ppft.wire import FUNCTION, Connection, Cut, order, outcome, ready
from anypool._slot import Cause, Flight
from anypool._wire import NO_DIGEST

if TYPE_CHECKING:
    from anypool._ppft.crew import PpftCrew
    from anypool._ppft.server import Server

__all__: list[str] = []

# A task past its timeout is ended there a little later than the pool gives it up, which waits for that so long.
_LATE_SECONDS, _END_SECONDS = 0.25, 3.0
# Times that a function is given to a server until it goes with the chunk.
_MOST_LACKING = 2
_GIVEN_UP = "given up"


class RemoteSeat(Seat):
    """One of the workers that a server has.

    Its connection may be cut, and it comes back with the next one. What is killed is told to end by closing this end of
    the connection; there is another one once that has been answered.
    """

    def __init__(self, crew: PpftCrew, number: int, server: Server) -> None:
        super().__init__(crew, number)
        self.node = str(server.address)
        self._server = server
        self.connection: Connection | None = None
        # Whether it is without work until it says that it is back.
        self._away = self._connecting = False
        # Held while the pipe is written or given up, so that it is never another file that is written.
        self._piping = threading.Lock()
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)

    def identify(self) -> tuple[str, str, int]:
        """Which of the server's processes serves is the server's choice."""
        return f"parallel-python-{self.number}@{self.node}", self._server.address.host, 0

    @property
    def disconnected(self) -> bool:
        """Whether it waits for a connection."""
        return self._away and self.connection is None and not self._connecting

    def connect(self, connection: Connection) -> None:
        """Use this connection from now on."""
        self._connecting = True
        self._queue.put(connection)
        if self._crew.closed or not self._thread.is_alive():
            # Perhaps nobody takes it any more; who does closes it as well.
            connection.close()

    def renew(self) -> bool:
        """It serves on, unless it has said that it will be back."""
        return not self._away and super().renew()

    def end(self) -> None:
        """With its connection."""
        if self._thread.ident is None:
            # Not all could begin, and nobody else will do it.
            self._shut()
        super().end()
        self.cut()

    def cut(self) -> None:
        """The server is lost: whatever it was to say will not come."""
        if (connection := self.connection) is not None:
            connection.cut()

    def _strike(self) -> None:
        # Not waited for, as this may interrupt who has it; in either case there is nothing left to be told.
        if not self._piping.acquire(blocking=False):
            return
        try:
            if self._writes >= 0:
                with suppress(OSError):  # It is full.
                    os.write(self._writes, b"!")
        finally:
            self._piping.release()

    def _reopen(self) -> bool:
        return self.connection is not None

    def abandon(self) -> None:
        """Close what it has; its thread has not begun."""
        self._shut()

    def _break(self) -> None:
        self._disconnect()

    def _shut(self) -> None:
        self._disconnect()
        while not self._queue.empty():
            if isinstance(left := self._queue.get(), Connection):
                left.close()
        with self._piping:
            fds = (self._reads, self._writes)
            self._reads = self._writes = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _take(self, what: Any) -> None:
        if not isinstance(what, Connection):
            super()._take(what)
            return
        self._disconnect()
        self.connection, self._connecting = what, False
        self._away = self._killed = False
        self._usable = True
        self._tell([Gained(self.number)])

    def _lose(self, cause: Cause) -> None:
        # First, for it is asked at once whether it goes on.
        self._away = self.connection is None
        super()._lose(cause)
        if self._away:
            self._server.look()

    # Chunks.

    def _run(self, flight: Flight) -> None:
        connection = self.connection
        assert connection is not None
        if ready(0, connection):
            # It was cut while nothing ran: there is nothing else to be read.
            self._lost(flight)
            return
        try:
            self._run_at(connection, flight)
        except Cut:
            self._lost(flight)

    def _lost(self, flight: Flight) -> None:
        self._disconnect()
        if self._away:
            # That was told when it was given up.
            self._server.look()
        else:
            said = self._crew.tails.last(flight.seq)
            self._lose(Cause(f"the ppserver at {self.node} was lost", own=False, stderr=said))

    def _run_at(self, connection: Connection, flight: Flight) -> None:
        chunk = flight.chunk
        body = chunk.job.body
        limit = None if chunk.job.timeout is None else chunk.job.timeout * chunk.count + _LATE_SECONDS
        for attempt in range(_MOST_LACKING + 1):
            held = attempt < _MOST_LACKING and body.digest != NO_DIGEST
            place = self._server.bodies.place_of(body, self) if held else None
            try:
                name, page = self.identify()[0], self._crew.tails.place
                data = encoded(self.number & SLOTS, name, page, flight, place is None, chunk.careful, attempt > 0)
            except Exception as error:  # noqa: BLE001 - it is its outcome
                self._failed(flight, error)
                return
            self._begun(flight)
            options = self._crew.session, connection.names, chunk.careful, self._server.workers, limit, place
            lacking = self._lacking(flight, *self._outcome(connection, order("run there", data, *options)))
            if self.connection is None and self._usable:
                # It was killed when it had just been done.
                self._lose_as_asked()
            if lacking is None or not self._usable:
                return
            if not lacking.shared:
                self._server.bodies.forget(body, place)
        self._lose_for_want()

    def _lacking(self, flight: Flight, what: str, said: Any) -> Lacking | None:
        """Tell what came of a chunk, unless that is nothing for want of something."""
        if what == "done":
            try:
                self._reply(flight, said)
            except Lacking as lacking:
                return lacking
        elif what == "ended":
            self._lose(Cause(said, own=not self._killed, stderr=self._crew.tails.last(flight.seq)))
        elif what in ("gone", "unbegun"):
            if what == "unbegun":
                flight.begun = None
            self._lose(Cause(said, own=False))
        elif what != _GIVEN_UP:
            flight.begun = None  # Nothing has.
            self._server.refuse(said)
            raise Cut
        return None

    def _outcome(self, connection: Connection, message: bytes) -> tuple[str, Any]:
        """What came of a chunk; `_GIVEN_UP` if it was killed and did not end at once, which has been told then."""
        _send(connection, message)
        if self._wait(connection):
            return _received(connection)
        connection.end_sending()
        if ready(_END_SECONDS, connection):
            found = _received(connection)
            self._disconnect()
            return found
        self._away = True
        super()._lose(Cause("given up", own=False))
        ready(None, connection)
        # Until then, another connection would be one to a worker that is busy.
        _received(connection)
        self._disconnect()
        self._server.look()
        return _GIVEN_UP, None

    def _wait(self, connection: Connection) -> bool:
        """Wait for a reply; false if what is to make it was killed."""
        while not self._killed:
            ready(None, connection, self._reads)
            if ready(0, connection):
                return True
            os.read(self._reads, 1 << 10)
            if self._crew.closed:
                raise Cut
        return ready(0, connection)

    def ask(self, message: bytes) -> tuple[str, Any]:
        """Have the server do what takes no longer than to be sent; `Cut` if that can't be."""
        assert self.connection is not None
        _send(self.connection, message)
        if not self._wait(self.connection):
            raise Cut
        what, said = _received(self.connection)
        if what == "unfit":
            self._server.refuse(said)
            raise Cut
        return what, said

    @property
    def is_over(self) -> bool:
        """Whether what it runs is not to go on."""
        return self._killed or self._crew.closed


def _send(connection: Connection, message: bytes) -> None:
    try:
        connection.csend(FUNCTION)
        connection.send(message)
    except OSError as error:
        raise Cut from error


def _received(connection: Connection) -> tuple[str, Any]:
    try:
        return outcome(connection.receive())
    except OSError as error:
        raise Cut from error
