"""The crew of ppft's workers: of this machine, and of ppservers."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import Counter, namedtuple
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

from anypool._chunk import Body
from anypool._context import Scope
from anypool._crew import Event, Failed, Gained, Lost, OfOneKind
from anypool._errors import LauncherUnavailable, WorkerLost
from anypool._packs import Packs
from anypool._ppft.address import Address
from anypool._ppft.discovery import Discovery
from anypool._ppft.here import LocalSeat
from anypool._ppft.seat import Seat
from anypool._ppft.server import ATTEMPTS, Server
from anypool._relayed import Relayed
from anypool._slot import Cause, Flight
from anypool._tails import Tails

# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class Begin(NamedTuple):
        """What local workers start with: `sys.path`, folder, environment, the pickled initializer, and their CPUs."""

        path: list[str]
        cwd: str | None
        env: dict[str, str]
        setup: bytes
        share: float

else:
    Begin = namedtuple("Begin", ("path", "cwd", "env", "setup", "share"))

__all__: list[str] = []

_CLOSE_SECONDS = 10.0
# For a first server to say that it is there.
_DISCOVERY_SECONDS = 12.0


class PpftCrew(Packs, OfOneKind):
    """A seat for each local worker, and for each that a server has; all events come from their threads."""

    polled = False
    runs_here = False
    reports_items = False
    greets = False
    keeps_context = False
    tells_cpus = True
    inline = 0
    unopened = False

    def __init__(self, workers: int, begin: Begin, secret: str) -> None:
        self.scope: Scope | None = None
        self.begin = begin
        self.ending = threading.Event()
        # By this servers' workers tell pools apart.
        self.session = os.urandom(16)
        # By node, how many tasks were done there.
        self.nodes: Counter[str] = Counter()
        self._found: list[Server] = []
        self._workers, self._secret = workers, secret
        self._numbers = itertools.count()
        self._seats: dict[int, Seat] = {}
        self._servers: dict[Address, Server] = {}
        self._joining = threading.Lock()
        self._discovery: Discovery | None = None
        self._owner = os.getpid()
        self._counting = threading.Lock()
        self._deliver: Callable[[list[Event]], None] | None = None
        self._failed = False
        self.relayed, self.tails = Relayed(), Tails()

    # Servers.

    def connect(self, addresses: Iterable[Address], discover: Address | None) -> None:
        """Join these servers, all or none, and have those found that say on a port that they are there.

        Raises `LauncherUnavailable`, too, if there would be no worker at all.
        """
        try:
            if discover is not None:
                self._discovery = Discovery(discover, self.ending, self._discovered)
            for address in addresses:
                server = self._servers[address] = Server(self, address, self._secret)
                server.join()
                self._seats.update((seat.number, seat) for seat in server.seats)
            if self._discovery is not None:
                self._discovery.begin()
            if self._workers == 0 and not self._seats:
                self._wait_for_one()
        except BaseException:
            self.desert()
            raise

    def _wait_for_one(self) -> None:
        until = monotonic() + _DISCOVERY_SECONDS
        while not self._seats and monotonic() < until:
            self.ending.wait(0.1)
        if not self._seats:
            raise LauncherUnavailable(
                f"no ppserver that can be used has said within {_DISCOVERY_SECONDS:g} s where it is"
            )

    def add_server(self, address: Address, secret: str) -> int:
        """Use another server's workers from now on; how many they are. `LauncherUnavailable` if that can't be."""
        with self._joining:
            if address in self._servers:
                raise ValueError(f"the pool uses the ppserver at {address} already")
            if self.closed:
                raise LauncherUnavailable("the pool is closed")
            server = Server(self, address, secret)
            server.join()
            if self._knows(server.peer):
                server.abandon()
                raise ValueError(f"the pool uses the ppserver at {address} already, by another name")
            self._servers[address] = server
            for seat in server.seats:
                self._seats[seat.number] = seat
            if self._deliver is not None:
                server.begin()
                self.tell([Gained(seat.number) for seat in server.seats])
            if self.ending.is_set():
                # Meanwhile, by who may not have seen it.
                self._part_from(server)
            return server.workers

    def _part_from(self, server: Server) -> None:
        if self._deliver is None:
            # It has no threads yet that would do it.
            server.abandon()
            return
        server.end()
        for seat in server.seats:
            seat.end()

    def _knows(self, peer: tuple[str, int] | None) -> bool:
        return any(server.peer == peer for server in list(self._servers.values()))

    def _discovered(self, address: Address) -> None:
        if address not in self._servers and not self._knows(address):
            self.add_server(address, self._secret)
            self._found.append(self._servers[address])

    @property
    def joined(self) -> int:
        """Workers of servers that were discovered, unless they are lost for long."""
        return sum(server.workers for server in list(self._found) if not server.is_hopeless())

    # What seats ask and tell.

    @property
    def closed(self) -> bool:
        """Whether all is to end."""
        return self.ending.is_set()

    def new_number(self) -> int:
        """For a seat; none has had it before, so that what comes late from one concerns no other."""
        return next(self._numbers)

    def tell(self, events: list[Event]) -> None:
        """Hand on what has happened."""
        if self._deliver is not None and not self.closed:
            self._deliver(events)

    def count(self, node: str, tasks: int) -> None:
        """So many tasks were done somewhere."""
        with self._counting:
            self.nodes[node] += tasks

    def give_up_seat(self, seat: Seat, why: BaseException | None) -> None:
        """No worker can be had for a seat: what it has goes back, and if it was the last one all fails."""
        if isinstance(why, WorkerLost):
            self.tell([Failed(why)])
            return
        text = f"no worker could be started: {why}"
        # No other seat ever has its number.
        if self._seats.pop(seat.number, None) is not None:
            seat.end()
            name, host, _ = seat.identify()
            self.tell([Lost(seat.number, Cause(text, own=False, worker=name, host=host))])
            self.reckon(text)

    def reckon(self, text: str = "") -> None:
        """Have all fail if there is nobody left to work, and nobody expected."""
        if self.closed or self._failed or any(isinstance(seat, LocalSeat) for seat in list(self._seats.values())):
            return
        servers = list(self._servers.values())
        # Another one may be discovered meanwhile.
        attempts = ATTEMPTS + (self._discovery is not None)
        if not all(server.is_hopeless(attempts) for server in servers):
            return
        self._failed = True
        why = "; ".join(filter(None, [text, *(server.why for server in servers)]))
        self.tell([Failed(WorkerLost(f"no worker is left: {why}", cause=why))])

    # What the engine asks.

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Begin with servers' workers, and local ones after them."""
        try:
            with self._joining:
                self._deliver = deliver
                for server in self._servers.values():
                    server.begin()
                there = list(self._seats)
            return [*there, *self._grow(self._workers)]
        except BaseException:
            self.desert()
            raise

    def resize(self, workers: int) -> list[int]:
        """Start local workers until there are so many with those of servers."""
        return self._grow(workers - len(self.lasting))

    @property
    def lasting(self) -> list[int]:
        """The slots of servers' workers: who says how many there are to be means those of this machine."""
        return [number for number, seat in list(self._seats.items()) if not isinstance(seat, LocalSeat)]

    def _grow(self, workers: int) -> list[int]:
        added = []
        here = sum(isinstance(seat, LocalSeat) for seat in list(self._seats.values()))
        for _ in range(workers - here):
            seat = LocalSeat(self, self.new_number())
            self._seats[seat.number] = seat
            seat.begin()
            added.append(seat.number)
        return added

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Queue a chunk for the seat's thread."""
        seat = self._seats.get(slot)
        if seat is None:
            raise WorkerLost(f"worker {slot} has ended, and no other could take its place", cause="closed", begun=False)
        seat.send(flight)

    def recall(self, slot: int) -> list[int]:
        """Take back what waits."""
        seat = self._seats.get(slot)
        return seat.recall() if seat is not None else []

    def poll(self, timeout: float) -> list[Event]:
        """All is delivered."""
        return []

    def lend(self) -> None:
        """Its workers are elsewhere."""

    def interrupt(self) -> None:
        """Nobody sleeps in `poll`."""

    def kill(self, slot: int) -> None:
        """End a local worker; a server's is given up, and its seat comes back once it has ended what it does."""
        if (seat := self._seats.get(slot)) is not None:
            seat.kill()

    def renew(self, slot: int) -> bool:
        """Another local worker, or the same connection again; one that is cut comes back by itself."""
        seat = self._seats.get(slot)
        return seat is not None and seat.renew()

    def stop(self, slot: int) -> None:
        """End a seat."""
        if (seat := self._seats.pop(slot, None)) is not None:
            seat.end()

    def release(self, body: Body) -> None:
        """Servers are given a large function anew."""
        for server in list(self._servers.values()):
            server.bodies.release(body)

    def identify(self, slot: int) -> tuple[str, str, int]:
        """A server does not tell which of its processes serves."""
        seat = self._seats.get(slot)
        return seat.identify() if seat is not None else (f"parallel-python-{slot}", os.uname().nodename, 0)

    def abandon(self) -> None:
        """No thread of the pool's holds a lock of this while it runs anybody's code."""

    def close(self) -> None:
        """End all workers here, and the connections; what runs at servers is left behind."""
        threads = self._end()
        until = monotonic() + _CLOSE_SECONDS
        for thread in threads:
            thread(until - monotonic())

    def desert(self) -> None:
        """The same without waiting."""
        self._end()

    def _end(self) -> list[Callable[[float], None]]:
        if self._owner != os.getpid() or self.closed:
            return []
        self.ending.set()
        # No lock is waited for: it may be the collector that calls, in the middle of anything.
        servers, seats = list(self._servers.values()), list(self._seats.values())
        begun = self._deliver is not None
        for server in servers:
            server.end() if begun else server.abandon()
        for seat in seats if begun else ():
            seat.end()
        joins: list[Callable[[float], None]] = []
        if begun:
            joins += [*(seat.join_thread for seat in seats), *(server.join_thread for server in servers)]
        if self._discovery is not None:
            joins.append(self._discovery.end())
        self.tails.close()
        return joins


def begin_with(setup: bytes, share: float, cwd: str | None, env: dict[str, str]) -> Begin:
    """What workers start with that are like this process."""
    # Import leaves out what is no text, too.
    entries: list[object] = [*sys.path]
    path = [each or os.getcwd() for each in entries if isinstance(each, str)]
    return Begin(path, cwd, {**os.environ, **env}, setup, share)


def dumped(*setup: Any) -> bytes:
    """An initializer and its arguments. Raises `Unserializable`."""
    from anypool._wire import IN_BAND
    from anypool_serialize import Unserializable, dumps

    try:
        return bytes(dumps(setup, oob=IN_BAND, names=("initializer", "initargs")).header)
    except Unserializable as error:
        raise Unserializable(f"the initializer can't be sent to workers: {error}") from error
