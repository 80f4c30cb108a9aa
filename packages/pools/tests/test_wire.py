"""The message format: what is encoded comes back, however it is cut, and nothing else is accepted."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypool._wire import (
    NO_DIGEST,
    Buffer,
    Decoder,
    Kind,
    Message,
    Ref,
    WireError,
    control,
    encode,
    grant,
    granted,
)

u8, u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
refs = st.builds(Ref, u32, u32, u64, u64, st.booleans())
messages = st.builds(
    Message,
    kind=u8,
    flags=u16,
    slot=u16,
    seq=u64,
    map=u32,
    chunk=u32,
    count=u32,
    attempt=u16,
    digest=st.binary(min_size=32, max_size=32),
    meta=st.binary(max_size=100),
    parts=st.lists(st.one_of(st.binary(max_size=300), refs), max_size=5),
)


def flat(message: Message) -> bytes:
    return b"".join(bytes(buffer) for buffer in encode(message))


def plain(message: Message) -> Message:
    """With bytes where the decoder has views."""
    message.meta = bytes(message.meta)
    message.parts = [part if isinstance(part, Ref) else bytes(part) for part in message.parts]
    return message


@given(st.lists(messages, max_size=4), st.lists(st.integers(1, 400), max_size=30))
def test_messages_come_back_however_they_are_cut(sent: list[Message], cuts: list[int]) -> None:
    data = b"".join(map(flat, sent))
    decoder, received = Decoder(), []
    for cut in [*cuts, len(data) + 1]:
        received += decoder.feed(data[:cut])
        data = data[cut:]
    assert [plain(message) for message in received] == sent


@given(st.lists(messages, min_size=1, max_size=3))
def test_messages_come_back_byte_by_byte(sent: list[Message]) -> None:
    decoder, received = Decoder(), []
    for byte in b"".join(map(flat, sent)):
        received += decoder.feed(bytes([byte]))
    assert [plain(message) for message in received] == sent


@given(st.binary(min_size=76, max_size=500))
def test_garbage_is_refused(data: bytes) -> None:
    if data[:2] == b"aP":
        data = b"x" + data
    with pytest.raises(WireError, match="expected an anypool message"):
        Decoder().feed(data)


@given(messages, st.data())
def test_a_changed_byte_never_crashes_the_decoder(message: Message, data: st.DataObject) -> None:
    wire = bytearray(flat(message))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        Decoder().feed(bytes(wire))
    except WireError:
        pass


@given(messages)
def test_memory_grows_with_what_arrives_not_with_what_is_announced(message: Message) -> None:
    head = bytearray(flat(message)[:76])
    head[36:44] = (1 << 50).to_bytes(8, "little")
    decoder = Decoder()
    assert decoder.feed(bytes(head)) == []
    assert len(decoder._held) == 76


def test_what_was_decoded_does_not_change_with_what_follows() -> None:
    decoder = Decoder()
    buffer = bytearray(flat(Message(Kind.RUN, parts=[b"first"])))
    buffer += flat(Message(Kind.RUN, parts=[b"second"]))[:50]
    (first,) = decoder.feed(bytes(buffer))
    decoder.feed(flat(Message(Kind.RUN, parts=[b"second"]))[50:])
    assert bytes(as_buffer(first.parts[0])) == b"first"


def as_buffer(part: Buffer | Ref) -> Buffer:
    assert not isinstance(part, Ref)
    return part


def test_too_many_parts_are_refused_on_both_sides() -> None:
    with pytest.raises(WireError, match="at most 4096 parts"):
        encode(Message(Kind.RUN, parts=[b""] * 4097))
    wire = bytearray(flat(Message(Kind.RUN, parts=[b""])))
    wire[30:32] = (5000).to_bytes(2, "little")
    with pytest.raises(WireError, match="claims"):
        Decoder().feed(bytes(wire))


def test_another_version_is_refused_with_what_came() -> None:
    wire = bytearray(flat(Message(Kind.BYE)))
    wire[2] = 9
    with pytest.raises(WireError, match="version 1, got b'aP"):
        Decoder().feed(bytes(wire))


def test_control_messages_carry_plain_values() -> None:
    fields = {"exit": None, "reason": "é", "path": "\udcff", "grace": 0.5, "claims": [1, True], "env": {"A": b"\xff"}}
    (message,) = Decoder().feed(flat(control(Kind.DIED, 3, **fields)))
    assert (message.kind, message.slot, message.digest) == (Kind.DIED, 3, NO_DIGEST)
    assert message.fields() == fields


@pytest.mark.parametrize("value", [Ref(1, 2, 3, 4), signal.SIGKILL, object(), Path("/")])
def test_a_control_message_refuses_other_values_where_it_is_made(value: object) -> None:
    with pytest.raises(TypeError, match="4 takes plain values, not all of cwd, env are"):
        control(Kind.SETUP, cwd=None, env=[value])


@pytest.mark.parametrize("meta", [b"", b"[]", b"\xff", control(Kind.DIED, exit=1).meta[:-2], b"(\x00\x00\x00\x00"])
def test_other_metadata_of_a_control_message_is_refused_with_its_kind(meta: bytes) -> None:
    with pytest.raises(WireError, match="metadata of 13"):
        Message(Kind.DIED, meta=memoryview(meta)).fields()


@given(st.lists(u64, max_size=50))
def test_granted_offsets_come_back(offsets: list[int]) -> None:
    (message,) = Decoder().feed(flat(grant(offsets)))
    assert list(granted(message)) == offsets
