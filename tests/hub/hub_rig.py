"""A nested pool without processes: engine, pipes moved by hand, hubs, and workers that do what they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from anypool import Launcher, Process
from anypool._chunk import Body, Calling, Mode
from anypool._crew import Begun, Event, Failed, Gained, Lost, Needed, Ready, Replied
from anypool._engine import Engine
from anypool._feeding import feed
from anypool._nested import NestedCrew
from anypool._options import Options
from anypool._outcomes import Unopened, unpack_reply
from anypool._packing import Parcel, pack, pack_body, run_message
from anypool._plan import Nested
from anypool._recipe import recipe
from anypool._routing import Router
from anypool._serve import RUN, Server
from anypool._slot import Cause, Flight
from anypool._stream import Stream
from anypool._wire import CLAIM, NO_DIGEST, PARTIAL, Decoder, Kind, Message, Ref, control, encode
from anypool._work import open_stream

# What crews call their slots need not be what hubs call them.
_FIRST, _STEP = 40, 7
CRASH = Cause("killed", own=True, worker="w", host="h")
HUB_CRASH = Cause("killed", own=True, worker="process-0", host="h", stderr="last words")


def crossed(message: Message) -> Message:
    """The message as it comes out at the other end of a pipe."""
    (arrived,) = Decoder().feed(b"".join(encode(message)))
    return arrived


def no_segments(ref: Ref) -> bytes:
    raise AssertionError(f"{ref} in a message without segments")


def outcome_of(reply: Message) -> list[Any]:
    """The values in a reply, if it has any."""
    return unpack_reply(reply, no_segments).decode()[0] if reply.count else []


@dataclass
class Worker:
    """What waits for one worker inside, what it runs, and what of that it has still to say."""

    queue: deque[Flight] = field(default_factory=deque)
    saying: deque[Message] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)
    # Items of a careful chunk that begin one after the other.
    coming: deque[int] = field(default_factory=deque)
    greeted: bool = False
    lost: bool = False
    forgetful: bool = False


class FakeCrew:
    """A crew inside a hub. `rig` hears of each run."""

    greets = reports_items = polled = takes_refs = unopened = True
    runs_here = False

    def __init__(self, rig: Rig, room: int) -> None:
        self._rig, self._room = rig, room
        self.workers: dict[int, Worker] = {}
        self.events: list[Event] = []
        # Slots that will not be there when they are to be renewed, and those that are to come back by themselves.
        self.leaving: set[int] = set()
        self.away: set[int] = set()
        self.released: list[Body] = []

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        return self.resize(self._room)

    def resize(self, workers: int) -> list[int]:
        added = []
        while len(self.workers) < workers:
            number = _FIRST + _STEP * (len(self.workers) + self._rig.spawned)
            self._rig.spawned += 1
            self.workers[number] = Worker()
            added.append(number)
        return added

    def send(self, slot: int, flight: Flight, with_body: bool) -> None:
        worker = self.workers[slot]
        assert not worker.lost
        worker.forgetful = worker.forgetful and not with_body
        worker.queue.append(flight)

    def recall(self, slot: int) -> list[int]:
        worker = self.workers[slot]
        taken = [flight.seq for flight in worker.queue if flight.queued]
        worker.queue = deque(flight for flight in worker.queue if not flight.queued)
        return taken

    def renew(self, slot: int) -> bool:
        if slot in self.leaving:
            self.leaving.discard(slot)
            self.away.add(slot)
            return False
        self.workers[slot] = Worker()
        return slot not in self.away

    def stop(self, slot: int) -> None:
        del self.workers[slot]
        self.away.discard(slot)

    def kill(self, slot: int) -> None:
        self.die(slot)

    def release(self, body: Body) -> None:
        self.released.append(body)

    def identify(self, slot: int) -> tuple[str, str, int]:
        return f"inner-{slot}", "host", 0

    def die(self, slot: int) -> None:
        worker = self.workers[slot]
        if not worker.lost:
            self.workers[slot] = Worker(lost=True)
            self.events.append(Lost(slot, CRASH))

    def step(self, slot: int) -> None:
        """The worker takes its next step: starts, begins a chunk, says the next thing of it."""
        worker = self.workers[slot]
        if slot in self.away:
            self.away.discard(slot)
            self.workers[slot] = Worker()
            self.events.append(Gained(slot))
            return
        if worker.lost:
            return
        if not worker.greeted:
            worker.greeted = True
            self.events.append(Ready(slot))
        elif worker.saying:
            self._say(slot, worker)
        elif worker.queue:
            self._begin(slot, worker, worker.queue.popleft())

    def _begin(self, slot: int, worker: Worker, flight: Flight) -> None:
        chunk = flight.chunk
        if worker.forgetful and chunk.job.body.digest != NO_DIGEST:
            self.events.append(Needed(slot, flight.seq))
            return
        message = run_message(slot, flight, True, chunk.careful)
        worker.saying.extend(Server().answer(message, no_segments))
        values = [value for reply in worker.saying for value in outcome_of(reply)]
        if chunk.careful:
            worker.coming.extend(values[1:])
            self._rig.begins(worker, values[:1])
            self._say(slot, worker)
        else:
            self._rig.begins(worker, values)

    def _say(self, slot: int, worker: Worker) -> None:
        reply = worker.saying.popleft()
        if reply.flags & PARTIAL and not reply.count:
            self.events.append(Begun(slot, reply.seq))
            return
        worker.running.clear()
        if worker.coming:
            self._rig.begins(worker, [worker.coming.popleft()])
        self.events.append(Replied(slot, reply.seq, Unopened(crossed(reply)), not reply.flags & PARTIAL))


class FakeHub:
    """One hub, its pipes, and the crew inside."""

    def __init__(self, rig: Rig, setup: Message) -> None:
        self.to_hub: deque[Message] = deque()
        self.to_owner: deque[Message] = deque()
        self.known: set[bytes] = set()
        self.bodies_sent = 0
        wires = setup.fields()["slots"]
        self.crew = FakeCrew(rig, len(wires) + rig.surplus)
        crew: Any = self.crew
        self.router = Router(crew, no_segments)
        offered = self.router.start(wires, self.crew.events.extend)
        self.to_owner.append(control(Kind.SLOTS, pid=1, host="host", segments=True, slots=offered))

    def receive(self) -> None:
        """The hub handles the next message of its owner."""
        if self.to_hub:
            self.router.take(crossed(self.to_hub.popleft()))
        self.flush()

    def flush(self) -> None:
        """The hub passes on what its crew tells."""
        events, self.crew.events[:] = list(self.crew.events), []
        for event in events:
            self.router.tell(event)
        self.to_owner.extend(map(crossed, self.router.out))
        self.router.out.clear()


class FakeHubs:
    """The transport of a nested pool, as far as the crew of one knows it."""

    inline = 0
    scope = None

    def __init__(self, rig: Rig, count: int, greeting: Callable[[int, None], Message]) -> None:
        self._rig, self._count, self._greeting = rig, count, greeting
        self.heard: deque[tuple[int, Message]] = deque()
        self.there: dict[int, FakeHub] = {}
        self.timers: list[Callable[[], None]] = []
        self._events: list[Event] = []
        self.failure: Failed | None = None

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        for hub in range(self._count):
            self.renew(hub)
        return list(range(self._count))

    def renew(self, hub: int) -> bool:
        if self.failure is not None:
            return False
        self.there[hub] = FakeHub(self._rig, self._greeting(hub, None))
        return True

    def kill(self, hub: int) -> None:
        """The hub is gone, with its workers and what it was sent; what it has said is still read."""
        if (lost := self.there.pop(hub, None)) is not None:
            self.heard.extend((hub, message) for message in lost.to_owner)
            self._events.append(Lost(hub, HUB_CRASH))

    def run(self, hub: int, slot: int, flight: Flight, with_body: bool) -> None:
        if (to := self.there.get(hub)) is None:
            return
        digest = flight.chunk.job.body.digest
        body = with_body or digest == NO_DIGEST or digest not in to.known
        to.known.add(digest)
        message = run_message(slot, flight, body, flight.chunk.careful)
        to.bodies_sent += RUN.unpack_from(message.meta)[3] > 0
        message.flags |= CLAIM if flight.queued and not with_body else 0
        to.to_hub.append(message)

    def tell(self, hub: int, message: Message) -> None:
        if (to := self.there.get(hub)) is not None:
            to.to_hub.append(message)

    def hear(self, hub: int) -> None:
        """The next message of a hub reaches its owner."""
        if (of := self.there.get(hub)) is not None and of.to_owner:
            self.heard.append((hub, of.to_owner.popleft()))

    def poll(self, timeout: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.append(call)

    def fail(self, failure: Failed) -> None:
        self.failure = failure

    def body(self, calling: Calling) -> Body:
        return pack_body(calling)

    def pack(self, payload: Any, most: int) -> tuple[Parcel | None, int]:
        return pack(payload, most)

    def release(self, body: Body) -> None:
        for hub in list(self.there):
            if body.digest in self.there[hub].known:
                self.there[hub].known.discard(body.digest)
                self.tell(hub, Message(Kind.DROP, digest=body.digest))

    def given_back(self) -> list[tuple[int, int]]:
        return []

    def fetcher(self, message: Message) -> Callable[[Ref], bytes]:
        return no_segments

    def introduced(self, hub: int, pid: int, segments: bool) -> None: ...

    def forget(self, pid: int) -> None: ...

    def interrupt(self) -> None: ...

    def abandon(self) -> None: ...

    def close(self) -> None: ...

    def desert(self) -> None: ...


@recipe
class Outer(Launcher):
    """Stands for a launcher whose workers can be hubs."""

    name: ClassVar[str] = "process"
    rig: Any = None

    def hubs(self, count: int, greeting: Any) -> Any:
        self.rig.hubs = FakeHubs(self.rig, count, greeting)
        return self.rig.hubs


class Rig:
    """A nested pool of `hubs` times `workers`, one map over it, and everything that moves moved by hand."""

    hubs: FakeHubs

    def __init__(self, hubs: int, workers: int, *, quota: int | None = None, surplus: int = 0) -> None:
        self.spawned, self.surplus = 0, surplus
        self.runs: dict[int, int] = {}
        self._live: list[Worker] = []
        crew: Any = NestedCrew(Nested(parts=(Outer(workers=hubs, rig=self), Process(workers))))
        self.crew: NestedCrew = crew
        self.engine = Engine(crew, quota)

    def begins(self, worker: Worker, items: list[int]) -> None:
        """A worker begins these items, which no other one may be running."""
        alive = [other for hub in self.hubs.there.values() for other in hub.crew.workers.values()]
        for other in alive:
            assert other is worker or not other.running & set(items), "an item runs twice at a time"
        worker.running = set(items)
        for item in items:
            self.runs[item] = self.runs.get(item, 0) + 1

    def map(self, f: Callable[[int], int], count: int, **options: Any) -> Stream:
        """A map over numbers that has begun."""
        stream = open_stream(self.engine, Mode.MAP, f, (range(count),), Options("map", options), ordered=True)
        feed(self.engine, stream)
        return stream

    def apply(self) -> None:
        """The owner applies what it has heard."""
        with self.engine.section:
            self.engine._after(self.crew.poll(0.0))

    def finish(self, stream: Stream, most: int = 2000) -> list[Any]:
        """Everything goes on without further faults until the map is done; its results."""
        found: list[Any] = []
        for _ in range(most):
            feed(self.engine, stream)
            for hub in list(self.hubs.there.values()):
                while hub.to_hub:
                    hub.receive()
                for slot in list(hub.crew.workers):
                    hub.crew.step(slot)
                hub.flush()
            for number in list(self.hubs.there):
                while number in self.hubs.there and self.hubs.there[number].to_owner:
                    self.hubs.hear(number)
            self.apply()
            for values, errors in stream.collect():
                for at, error in errors.items():
                    values[at] = error
                found += values
            if stream.finished:
                return found
        raise AssertionError(f"the map is not done: {stream.settled} of its items are")
