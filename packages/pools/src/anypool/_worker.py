"""A worker process: one thread that reads chunks, runs them and writes their outcomes."""

from __future__ import annotations

import os
import select
from _pickle import loads as unpickled
from time import perf_counter

from anypool import _relay, _task
from anypool._chunk import Mode
from anypool._failure import describe
from anypool._linux import open_of, private_copy
from anypool._segments import ARENA, SEGMENT, Arena, Mappings
from anypool._serve import FEW_PLAIN, REPLY, RUN, Server, plain_values
from anypool._watch import Watch
from anypool._wire import (
    CLAIM,
    HUB,
    NO_DIGEST,
    Buffer,
    Decoder,
    Kind,
    Message,
    Ref,
    control,
    encode,
    encode_one,
    granted,
)
from anypool_serialize import dumps, initialize, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__: list[str] = []

_READ = 256 << 10


def main(reader: int, writer: int) -> None:
    """Serve chunks from descriptor `reader` until it ends; answer on `writer`."""
    try:
        _Worker(reader, writer).serve()
    except BrokenPipeError:
        pass


class _Worker:
    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._server = _Server()
        self._speaker = _relay.Speaker(self._write)
        self._mappings = Mappings()
        self._arena: Arena | None = None
        self._segments = False
        self._claims = -1
        self._claim = 0

    def serve(self) -> None:
        decoder = Decoder()
        # A read into fresh memory of this size would cost a mapping and its page faults each time, 14 us.
        buffer = bytearray(_READ)
        view, into = memoryview(buffer), [buffer]
        input_ = select.poll()
        input_.register(self._reader, select.POLLIN)
        watch = Watch()
        while watch.wait(input_.poll) and (count := os.readv(self._reader, into)):
            arrived = iter(decoder.feed(bytes(view[:count])))
            for message in arrived:
                if message.kind == Kind.RUN:
                    if not message.flags & CLAIM or self._claimed(message.seq):
                        self._run(message)
                elif message.kind == Kind.GRANT and self._arena is not None:
                    for offset in granted(message):
                        self._arena.free(offset)
                elif message.kind == Kind.DROP:
                    self._server.drop(message.digest)
                elif message.kind == Kind.SETUP and message.flags & HUB:
                    hub = __import__("anypool._hub", fromlist=["serve"])
                    hub.serve(self._reader, self._writer, message, arrived, decoder)
                    return
                elif message.kind == Kind.SETUP and not self._set_up(message):
                    return

    def _claimed(self, seq: int) -> bool:
        """Take the claim to a chunk; false if the owner has taken it back."""
        if self._claims < 0:
            return True
        if self._claim < seq:
            try:
                self._claim = int.from_bytes(os.read(self._claims, 8), "little")
            except BlockingIOError:
                return False
        return self._claim == seq

    def _set_up(self, message: Message) -> bool:
        """Whether tasks can be run: not after an initializer that raised."""
        fields = message.fields()
        for module, key in fields.get("authkeys", {}).items():
            __import__(f"{module}.process", fromlist=["process"]).current_process().authkey = bytes.fromhex(key)
        if "greet" not in fields:
            return True
        _task.become(f"process-{message.slot}")
        _relay.begin(self._speaker)
        pid, fd = fields["claims"]
        try:
            self._claims = open_of(pid, fd, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            pass
        self._segments = fields["probe"] is not None and self._reaches(Ref(*fields["probe"]))
        hello = control(Kind.HELLO, pid=os.getpid(), host=os.uname().nodename, segments=self._segments,
                        claims=self._claims >= 0)  # fmt: skip
        if message.parts:
            try:
                packed: Any = message.parts[0]
                initializer, initargs = loads(packed)
                initialize(initializer, initargs)
            except BaseException as error:  # noqa: BLE001 - the owner raises it
                hello.parts = [dumps(describe(error)).header]
        with self._speaker:
            self._write(hello)
        return not hello.parts

    def _reaches(self, probe: Ref) -> bool:
        try:
            self._mappings.view(probe)
        except OSError:
            return False
        return True

    def _run(self, message: Message) -> None:
        at_once = self._server.at_once(message)
        if isinstance(at_once, bytes):
            _relay.flush()
            with self._speaker:
                self._send(at_once)
            return
        for reply in self._server.answer(message, self._fetch) if at_once is None else (at_once,):
            _relay.flush()
            for at, part in enumerate(reply.parts):
                if not isinstance(part, Ref) and len(part) >= SEGMENT:
                    reply.parts[at] = self._placed(part)
            with self._speaker:
                self._write(reply)
            del reply
        message.parts.clear()

    def _fetch(self, ref: Ref) -> Buffer:
        """A body is mapped, an argument copied: the task may change it, and must find it unchanged if it runs again."""
        view = self._mappings.view(ref)
        if ref.sealed:
            return view
        copy = private_copy(view)
        del view
        self._mappings.collect()
        return copy

    def _placed(self, part: Buffer) -> Buffer | Ref:
        if not self._segments:
            return part
        if self._arena is None:
            self._arena = Arena(ARENA)
        return self._arena.put(part) or part

    def _write(self, message: Message) -> None:
        for buffer in encode(message):
            self._send(buffer)

    def _send(self, buffer: Buffer) -> None:
        sent = os.write(self._writer, buffer)
        while sent < len(buffer):
            sent += os.write(self._writer, memoryview(buffer)[sent:])


class _Server(Server):
    hears = True

    def at_once(self, message: Message) -> Message | bytes | None:
        """The reply to a single call, with plain arguments, of a function that is known here; None to all else.

        Encoded, if what was returned is plain as well: then nothing can go wrong any more.
        """
        mode, _, careful, _, skip, _, _, shared = RUN.unpack_from(message.meta)
        # Only of single calls, whose job has no number, is it known that the arguments of this mode are plain.
        if message.map or message.count != 1 or mode != Mode.STAR or careful or shared or message.digest != NO_DIGEST:
            return None
        body, calls = message.parts
        if isinstance(body, Ref) or isinstance(calls, Ref):
            return None
        known = self._bodies.get(bytes(body))
        if known is None or any(known[0][1:-1]) or known[0].listening != self.listening:
            return None
        self._hear(self.listening)
        try:
            args = unpickled(calls)[skip]
        except MemoryError:
            return None
        started = perf_counter()
        try:
            value = known[0].function(*args)
        except BaseException as error:  # noqa: BLE001 - user code
            return self._failed(message, error, perf_counter() - started)
        seconds = perf_counter() - started
        if (plain := plain_values([value])) is None or len(plain) >= SEGMENT:
            return self._pack(message, [value], {}, seconds)
        return encode_one(message, Kind.REPLY, REPLY.pack(seconds, 0, FEW_PLAIN, 0), plain)
