"""What a hub does with each message: chunks go to the worker that their head names, what comes of them goes back.

A state machine without I/O or clock. It is fed the owner's messages and the events of the crew inside, and gathers in
`out` what is to be sent to the owner. Slots have the owner's numbers on the wire, whatever the crew inside calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

from anypool import _share
from anypool._chunk import Body, Calling, Chunk, Job, Lane, Mode
from anypool._crew import Begun, Crew, Event, Failed, Gained, Lost, Narrowed, Needed, Ready, Recalled, Replied
from anypool._failure import describe
from anypool._outcomes import Unopened
from anypool._packing import DROPPED_BODY, Parcel
from anypool._routes import AWAY_TEXT
from anypool._serve import REPLY, RUN, VALUES, Server
from anypool._slot import Cause, Flight
from anypool._strike import let_through
from anypool._wire import CLAIM, INLINE, NO_DIGEST, PARTIAL, Buffer, Kind, Message, Ref, control, dropped
from anypool_serialize import dumps

__all__: list[str] = []

# As a worker keeps; a body that is not here any more is asked for.
_MOST_BODIES = 256
_MOST_BODY_BYTES = 64 << 20
# Numbers of slots that the crew inside has beyond those that were asked for.
_SURPLUS = 1 << 15

# What lanes know is the owner's affair.
_no_lane = cast("Lane", None)
_no_calling = cast("Calling", None)


class Router:
    """The slots of one hub. `read` opens what lies in a segment, for a crew that takes no references."""

    def __init__(self, crew: Crew, read: Callable[[Ref], Buffer]) -> None:
        self.crew = crew
        self.out: list[Message] = []
        self._read = read
        self._takes_refs = getattr(crew, "takes_refs", False)
        # The crew's number of a slot by the owner's, and the other way.
        self._inner: dict[int, int] = {}
        self._outer: dict[int, int] = {}
        self._incarnations: dict[int, int] = {}
        # Slots whose loss the owner hears of; what it has sent them meanwhile it takes as lost with them.
        self._lost: set[int] = set()
        self._greeted: set[int] = set()
        self._flights: dict[int, dict[int, Flight]] = {}
        self._bodies: dict[bytes, Body] = {}
        self._held = 0

    def start(self, wanted: list[int], deliver: Callable[[list[Event]], None]) -> list[int]:
        """Start the crew, whose slots get the numbers that are wanted; return what there is, in these numbers."""
        for inner in self.crew.start(deliver):
            self._admit(inner, wanted[len(self._inner)] if len(self._inner) < len(wanted) else self._surplus())
        return list(self._inner)

    def greet(self) -> None:
        """Say that the slots of a crew which does not say so itself take work."""
        if not self.crew.greets:
            for slot in self._inner:
                self._hello(slot)

    def number(self, inner: int) -> int:
        """The owner's number of a slot."""
        return self._outer.get(inner, _SURPLUS)

    @property
    def busy(self) -> bool:
        """Whether any slot has a chunk."""
        return any(self._flights.values())

    def _surplus(self) -> int:
        return max(_SURPLUS, *(slot + 1 for slot in self._inner), 0)

    def _admit(self, inner: int, slot: int) -> None:
        self._inner[slot], self._outer[inner] = inner, slot
        self._incarnations[slot], self._flights[slot] = 0, {}
        self._lost.discard(slot)

    # From the owner.

    def take(self, message: Message) -> None:
        """Do what the owner asks."""
        handler = self._HANDLERS.get(message.kind)
        if handler is not None:
            handler(self, message)

    def _run(self, message: Message) -> None:
        slot, seq = message.slot, message.seq
        if slot not in self._inner:
            self._tell_loss(slot, Cause("it is not there any more", own=False))
            return
        if slot in self._lost:
            return
        uses = _shared(message)
        body = self._body_of(message)
        if body is None or uses is None:
            self._reply(Kind.NEED, slot, seq, INLINE if uses is None else 0)
            return
        flight = Flight(self._chunk_of(message, body, uses), seq, 0.0)
        flight.queued = bool(message.flags & CLAIM)
        self._flights[slot][seq] = flight
        self._send(slot, flight, with_body=False)

    def _send(self, slot: int, flight: Flight, with_body: bool) -> None:
        try:
            self.crew.send(self._inner[slot], flight, with_body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the owner must not wait for an answer
            let_through(error)
            self._flights[slot].pop(flight.seq, None)
            about = Message(Kind.RUN, slot=slot, seq=flight.seq, count=flight.chunk.count)
            errors: dict[int, BaseException] = dict.fromkeys(range(about.count), error)
            self.out.append(Server._pack(about, [None] * about.count, errors, 0.0))  # noqa: SLF001 - our own
            return
        if flight.begun is not None:
            self._begun(slot, flight.seq)

    def _body_of(self, message: Message) -> Body | None:
        """What is called: it crosses to a hub once, and from there to each worker."""
        body_parts = RUN.unpack_from(message.meta)[3]
        parts, digest = message.parts[:body_parts], message.digest
        if digest == NO_DIGEST:
            return _body(parts, digest)
        if not parts:
            return self._bodies.get(digest)
        self._forget(digest)
        size = _size(parts)
        # A larger one lies in its segment until the owner has it dropped here.
        body = _body([self._copied(part) if size <= DROPPED_BODY else _own(part) for part in parts], digest)
        self._bodies[digest] = body
        self._held += body.size
        while len(self._bodies) > _MOST_BODIES or (self._held > _MOST_BODY_BYTES and len(self._bodies) > 1):
            self._forget(next(iter(self._bodies)))
        return body

    def _forget(self, digest: bytes) -> Body | None:
        body = self._bodies.pop(digest, None)
        self._held -= body.size if body is not None else 0
        return body

    def _copied(self, part: Buffer | Ref) -> bytes:
        return bytes(self._read(part)) if isinstance(part, Ref) else bytes(part)

    def _chunk_of(self, message: Message, body: Body, uses: tuple[Any, ...]) -> Chunk:
        mode, stop, careful, body_parts, skip, budget, first, _ = RUN.unpack_from(message.meta)
        job = Job(message.map, cast("Mode", mode), body, stop=bool(stop), budget=budget, careful=bool(careful))
        parts = message.parts[body_parts:]
        if not self._takes_refs:
            parts = [self._copied(part) if isinstance(part, Ref) else part for part in parts]
        payload: object = Parcel(parts, 0)
        if mode == Mode.CALL:
            # Cut to the chunk already: a pickle for each call, or one with its buffers.
            skip, payload = 0, [Parcel(parts, 0)] if message.count == 1 else [Parcel([part], 0) for part in parts]
        if uses:
            user: Any = payload if isinstance(payload, Parcel) else payload[0]  # type: ignore[index]
            user.uses = uses
        return Chunk(job, _no_lane, first, message.count, payload, skip=skip, careful=bool(careful))

    def _spawn(self, message: Message) -> None:
        """A new worker for a slot, or a new slot."""
        slot = message.slot
        try:
            there = self._renew(slot) if slot in self._inner else self._add(slot)
        except Exception as error:  # noqa: BLE001 - no descriptors, no processes, no memory
            let_through(error)
            self._incarnations[slot] = message.attempt
            self._tell_loss(slot, Cause(f"{type(error).__name__}: {error}"))
            return
        self._incarnations[slot] = message.attempt
        if not there:
            self._tell_loss(slot, Cause(AWAY_TEXT, own=False))
        elif not self.crew.greets:
            self._hello(slot)

    def _renew(self, slot: int) -> bool:
        self._flights[slot].clear()
        self._greeted.discard(slot)
        renewed = self.crew.renew(self._inner[slot])
        if renewed:
            self._lost.discard(slot)
        else:
            self._lost.add(slot)
        return renewed

    def _add(self, slot: int) -> bool:
        for inner in self.crew.resize(len(self._inner) + 1):
            if slot in self._inner:
                self._gained(inner)
            else:
                self._admit(inner, slot)
        return slot in self._inner

    def _stop(self, message: Message) -> None:
        slot = message.slot
        inner = self._inner.pop(slot, None)
        if inner is not None:
            self._lost.discard(slot)
            self._greeted.discard(slot)
            del self._outer[inner], self._flights[slot], self._incarnations[slot]
            self.crew.stop(inner)

    def _kill(self, message: Message) -> None:
        if message.slot in self._inner and message.slot not in self._lost:
            self.crew.kill(self._inner[message.slot])

    def _cancel(self, message: Message) -> None:
        slot = message.slot
        if slot in self._inner and slot not in self._lost:
            self._recalled(slot, self.crew.recall(self._inner[slot]))

    def _recalled(self, slot: int, seqs: Iterable[int]) -> None:
        taken = [seq for seq in seqs if self._flights[slot].pop(seq, None) is not None]
        if taken:
            self._stamped(dropped(slot, taken))

    def _drop(self, message: Message) -> None:
        body = self._forget(message.digest)
        if body is None and _share.tools is not None:
            body = _share.tools.forgotten(message.digest)
        if body is not None:
            self.crew.release(body)

    _HANDLERS: ClassVar[dict[int, Callable[[Router, Message], None]]] = {
        Kind.RUN: _run,
        Kind.SPAWN: _spawn,
        Kind.BYE: _stop,
        Kind.KILL: _kill,
        Kind.CANCEL: _cancel,
        Kind.DROP: _drop,
    }

    # From the crew inside.

    def tell(self, event: Event) -> None:
        """Pass on what happened."""
        if isinstance(event, Failed):
            self.out.append(refusal(event.error))
            return
        if isinstance(event, Gained):
            self._gained(event.slot)
            return
        if isinstance(event, Narrowed):
            return  # Of mixes only, which no hub has inside.
        slot = self._outer.get(event.slot)
        if slot is None or slot in self._lost:
            return  # It was stopped, or all that it had is given up.
        match event:
            case Replied(_, seq, outcomes, last):
                self._replied(slot, seq, cast("Unopened", outcomes).message, last)
            case Needed(_, seq):
                flight = self._flights[slot].get(seq)
                if flight is not None:
                    self._send(slot, flight, with_body=True)
            case Begun(_, seq):
                self._begun(slot, seq)
            case Recalled(_, seq):
                self._recalled(slot, [seq])
            case Ready():
                self._hello(slot)
            case Lost(_, cause):
                if slot in self._greeted and not self._flights[slot]:
                    # What the owner has sent meanwhile never got there, so that it can't be to blame.
                    cause = cause._replace(own=False)
                self._flights[slot].clear()
                self._tell_loss(slot, cause)

    def _replied(self, slot: int, seq: int, reply: Message, last: bool) -> None:
        flight = self._flights[slot].get(seq)
        if flight is None:
            return
        if last:
            del self._flights[slot][seq]
        if reply.kind == Kind.NEED and flight.progress:
            # Sent again it would begin with its first item: what is left goes back instead.
            reply.kind, reply.flags = Kind.REPLY, 0
        flight.progress += reply.count
        reply.slot, reply.seq = slot, seq
        if reply.kind == Kind.REPLY:
            reply.flags = 0 if last else PARTIAL
        self._stamped(reply)

    def relay(self, inner: int, message: Message) -> None:
        """Pass on what a task has said."""
        slot = self._outer.get(inner)
        if slot is not None:
            message.slot = slot
            self._stamped(message)

    def _begun(self, slot: int, seq: int) -> None:
        self._reply(Kind.REPLY, slot, seq, PARTIAL)

    def _reply(self, kind: Kind, slot: int, seq: int, flags: int = 0) -> None:
        meta = REPLY.pack(0.0, 0, VALUES, 0)
        self._stamped(Message(kind, flags, slot, seq, meta=meta))

    def _hello(self, slot: int) -> None:
        self._greeted.add(slot)
        name, host, pid = self.crew.identify(self._inner[slot])
        self._stamped(control(Kind.HELLO, slot, name=name, host=host, pid=pid))

    def _tell_loss(self, slot: int, cause: Cause) -> None:
        self._lost.add(slot)
        self._stamped(control(Kind.DIED, slot, **cause._asdict()))

    def _gained(self, inner: int) -> None:
        slot = self._outer.get(inner)
        if slot is None:
            slot = self._surplus()
            self._admit(inner, slot)
        self._lost.discard(slot)
        self._stamped(control(Kind.SLOTS, slot))
        if not self.crew.greets:
            self._hello(slot)

    def _stamped(self, message: Message) -> None:
        message.attempt = self._incarnations.get(message.slot, 0)
        self.out.append(message)


def refusal(error: BaseException) -> Message:
    """Says that no slot will take work any more, and why."""
    return Message(Kind.REFUSE, parts=[dumps(describe(error)).header])


def _shared(message: Message) -> tuple[Any, ...] | None:
    """What is shared and comes with a RUN, to be passed on; None if some of it is not here."""
    count = RUN.unpack_from(message.meta)[-1]
    if not count:
        return ()
    from anypool._sharing import passed_on  # What no pool has that shares nothing.

    found = passed_on(message, count)
    return None if found is None else tuple(found)


def _body(parts: list[Buffer | Ref], digest: bytes) -> Body:
    size = _size(parts)
    return Body(_no_calling, Parcel(parts, size), digest, size, digest)


def _size(parts: list[Buffer | Ref]) -> int:
    return sum(part.size if isinstance(part, Ref) else len(part) for part in parts)


def _own(part: Buffer | Ref) -> Buffer | Ref:
    """Not a view, which would keep all that it was read with."""
    return part if isinstance(part, Ref) else bytes(part)
