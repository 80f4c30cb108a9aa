"""The message format between owner, agent and worker: a codec without I/O or clock.

A message is a fixed head, a table of part lengths, metadata and parts, all little-endian:

    head (76 bytes) | part lengths (u64 each) | metadata | part | part | ...

The head is all that a router has to read. A length with its top bit set says that the part is a `Ref`:
the bytes lie in a segment that another process of this machine owns, and only their address travels.
"""

from __future__ import annotations

import marshal
import struct
from collections import namedtuple
from operator import attrgetter
from struct import Struct

__all__: list[str] = []

VERSION = 1
_MAGIC = b"aP"
# magic, version, `_fields`, number of parts, bytes of metadata, bytes of metadata and parts, digest
_HEAD = Struct("<2sBBHHQIIIHHIQ32s")
_fields = attrgetter("kind", "flags", "slot", "seq", "map", "chunk", "count", "attempt")
_REF = Struct("<IIQQB")
_LENGTH = Struct("<Q")
_BY_REF = 1 << 63
_HEAD_SIZE = _HEAD.size
# Nearly all messages have so few parts; to look up a format takes longer than to use it.
_TABLES = [Struct(f"<{parts}Q") for parts in range(4)]
_MAX_PARTS = 4096
# So many buffers of one pickle may be parts of a message; beyond it they are part of the pickle.
MOST_BUFFERS = 1000
IN_BAND = 1 << 62
_MAX_META = 4 << 20
NO_DIGEST = bytes(32)
# A message is one buffer up to here: joining costs less than a second system call.
_JOIN = 64 << 10

Buffer = bytes | bytearray | memoryview

# Importing `typing` and `enum` would take as long as forking the workers; without, the members are plain ints.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from enum import IntEnum
    from typing import Any, NamedTuple

    class Ref(NamedTuple):
        """Where a part lies: descriptor `fd` of process `pid`, `size` bytes from `offset`.

        `sealed` parts never change again and may be mapped privately; others belong to an arena slot, which
        the receiver gives back.
        """

        pid: int
        fd: int
        offset: int
        size: int
        sealed: bool = False

else:
    IntEnum = object
    Ref = namedtuple("Ref", ("pid", "fd", "offset", "size", "sealed"), defaults=(False,))


class Kind(IntEnum):
    """What a message asks or tells; values are part of the format and never reused. Those left out are for networks."""

    HELLO = 1
    WELCOME = 2
    REFUSE = 3
    SETUP = 4
    RUN = 5
    REPLY = 6
    NEED = 7
    DROP = 9
    CANCEL = 10
    DROPPED = 11
    KILL = 12
    DIED = 13
    SLOTS = 14
    GRANT = 15
    RELAY = 17
    BYE = 18
    SPAWN = 20


# Flag of every kind: a receiver that doesn't know the kind skips the message instead of ending the channel.
OPTIONAL = 1 << 15
# Flag of REPLY: more replies to the same chunk follow.
PARTIAL = 1


# Flag of NEED: the worker can't open segments, so everything has to come inline.
INLINE = 1
# Flag of RUN: to be run only if its claim, the chunk's number in the pipe of claims, is still there to be taken. A hub,
# which is asked for chunks by CANCEL, sees by it that the chunk is queued behind another.
CLAIM = 1
# Flag of SETUP: who gets it is to be a hub.
HUB = 1


class WireError(Exception):
    """The bytes are not of this format; the channel they came through can't be used any more."""


class Message:
    """One message; `seq` numbers what is sent on a channel, `map` and `chunk` name the work it belongs to."""

    __slots__ = (
        "attempt",
        "chunk",
        "count",
        "digest",
        "flags",
        "kind",
        "map",
        "meta",
        "parts",
        "seq",
        "slot",
    )

    def __init__(
        self,
        kind: int,
        flags: int = 0,
        slot: int = 0,
        seq: int = 0,
        map: int = 0,  # noqa: A002 - the format's name for it
        chunk: int = 0,
        count: int = 0,
        attempt: int = 0,
        digest: bytes = NO_DIGEST,
        meta: Buffer = b"",
        parts: list[Buffer | Ref] | None = None,
    ) -> None:
        self.kind, self.flags, self.slot, self.seq = kind, flags, slot, seq
        self.map, self.chunk, self.count, self.attempt = map, chunk, count, attempt
        self.digest, self.meta = digest, meta
        self.parts: list[Buffer | Ref] = [] if parts is None else parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"

    def fields(self) -> dict[str, Any]:
        """The metadata of a control message."""
        try:
            decoded = marshal.loads(self.meta)  # noqa: S302 - a pickle from the same peer can do as much
        except (ValueError, EOFError, TypeError) as error:
            raise WireError(f"metadata of {self.kind} can't be read: {error}") from error
        if not isinstance(decoded, dict):
            raise WireError(f"metadata of {self.kind} is {type(decoded).__name__}, expected a dict")
        return decoded


def control(kind: Kind, slot: int = 0, **fields: Any) -> Message:
    """A message without parts, whose metadata are plain values (marshal takes no subclasses of str, int or tuple).

    Only processes of one machine that run the same interpreter send these, and JSON takes longer to import.
    """
    try:
        return Message(kind, slot=slot, meta=marshal.dumps(fields))
    except ValueError as error:
        raise TypeError(f"a message {kind} takes plain values, not all of {', '.join(fields)} are: {error}") from error


def grant(offsets: list[int], pid: int = 0) -> Message:
    """Gives back arena slots, named by their offsets; `pid` says whose they are, for a hub."""
    return Message(Kind.GRANT, seq=pid, count=len(offsets), meta=struct.pack(f"<{len(offsets)}Q", *offsets))


def granted(message: Message) -> tuple[int, ...]:
    """The offsets in a GRANT, the chunks in a DROPPED."""
    return struct.unpack(f"<{message.count}Q", message.meta)


def dropped(slot: int, seqs: list[int]) -> Message:
    """Says which chunks were taken back before they began."""
    return Message(Kind.DROPPED, slot=slot, count=len(seqs), meta=struct.pack(f"<{len(seqs)}Q", *seqs))


def encode(message: Message) -> list[Buffer]:
    """The buffers to write, in order: one for a small message; parts of a big one are passed on, not copied."""
    # Written for the interpreter: a short call's round trip goes through here twice, and so through `feed`.
    meta = message.meta
    bodies: list[Any] = message.parts
    parts = len(bodies)
    if parts > _MAX_PARTS:
        raise WireError(f"a message has at most {_MAX_PARTS} parts, got {parts}")
    lengths = list(map(len, bodies))
    if Ref in map(type, bodies):
        lengths, bodies = _with_refs(bodies)
    total = len(meta) + sum(map(len, bodies))
    head = _HEAD.pack(_MAGIC, VERSION, *_fields(message), parts, len(meta), total, message.digest)
    table = (_TABLES[parts] if parts < len(_TABLES) else Struct(f"<{parts}Q")).pack(*lengths)
    if total <= _JOIN:
        return [b"".join((head, table, meta, *bodies))]
    return [b"".join((head, table, meta)), *bodies]


def encode_one(message: Message, kind: int, meta: Buffer, part: Buffer) -> bytes:
    """The bytes of the answer to `message` whose one part is small; without a `Message`, in a third of the time."""
    size = len(part)
    head = _HEAD.pack(
        _MAGIC, VERSION, kind, 0, message.slot, message.seq, message.map, message.chunk, message.count, 0, 1, len(meta),
        len(meta) + size, message.digest,
    )  # fmt: skip
    return b"".join((head, _LENGTH.pack(size), meta, part))


def _with_refs(parts: list[Buffer | Ref]) -> tuple[list[int], list[Buffer]]:
    packed: list[Any] = [_REF.pack(*part) if type(part) is Ref else part for part in parts]
    lengths = [len(part) for part in packed]
    for at, part in enumerate(parts):
        if type(part) is Ref:
            lengths[at] |= _BY_REF
    return lengths, packed


class Decoder:
    """Turns a byte stream back into messages; memory grows with what has arrived, not with what is announced."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._wanted = _HEAD_SIZE

    def feed(self, data: Buffer) -> list[Message]:
        """Take the next bytes; return the messages they complete. Raises `WireError` on anything else."""
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return []
            data, self._held = self._held, bytearray()
        view = memoryview(data)
        if not view.readonly:
            view = view.toreadonly()
        messages = []
        start, end = 0, len(view)
        self._wanted = _HEAD_SIZE
        while end - start >= _HEAD_SIZE:
            head = _HEAD.unpack_from(view, start)
            parts, meta, total, digest = head[10:]
            if head[0] != _MAGIC or head[1] != VERSION or parts > _MAX_PARTS or meta > _MAX_META or meta > total:
                raise _not_ours(head)
            table = start + _HEAD_SIZE
            body = table + 8 * parts
            stop = body + total
            if stop > end:
                self._wanted = stop - start
                break
            found = _parts(view, table, parts, body + meta, stop)
            messages.append(Message(*head[2:10], digest, view[body : body + meta], found))  # type: ignore[call-arg]
            start = stop
        if start < end:
            self._held = bytearray(view[start:])
        return messages


def _not_ours(head: tuple[Any, ...]) -> WireError:
    parts, meta = head[10:12]
    if head[0] != _MAGIC or head[1] != VERSION:
        return WireError(f"expected an anypool message, version {VERSION}, got {_HEAD.pack(*head)[:32]!r}")
    return WireError(f"a message claims {parts} parts and {meta} bytes of metadata")


def _parts(view: memoryview, table: int, count: int, at: int, end: int) -> list[Buffer | Ref]:
    """The parts that lie between `at` and `end`; `table` is where their lengths are."""
    found: list[Buffer | Ref] = []
    lengths = _TABLES[count] if count < len(_TABLES) else Struct(f"<{count}Q")
    for length in lengths.unpack_from(view, table):
        if at + length <= end:
            found.append(view[at : at + length])
            at += length
        else:
            found.append(_ref(view, at, end, length))
            at += _REF.size
    if at != end:
        raise WireError(f"a message is {end - at} bytes longer than its parts")
    return found


def _ref(view: memoryview, at: int, end: int, length: int) -> Ref:
    """The reference at `at`: what has the top bit in its length is longer than any message."""
    if not length & _BY_REF:
        raise WireError("the parts of a message are longer than the message")
    if length != _REF.size | _BY_REF or at + _REF.size > end:
        raise WireError(f"a reference has {_REF.size} bytes, got {length & (_BY_REF - 1)}")
    pid, fd, offset, size, sealed = _REF.unpack_from(view, at)
    return Ref(pid, fd, offset, size, bool(sealed))
