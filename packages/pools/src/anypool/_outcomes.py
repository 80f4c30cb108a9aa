"""A worker's reply as outcomes: what the owner of a pool does with it."""

from __future__ import annotations

from _pickle import loads as unpickled
from collections.abc import Callable
from typing import Any

from anypool._chunk import Direct, Packed
from anypool._failure import RAISED, as_an_items
from anypool._serve import ERROR, FEW_PLAIN, MIXED, REPLY, open_parts
from anypool._strike import let_through
from anypool._wire import Buffer, Message, Ref
from anypool_serialize import loads

__all__: list[str] = []


class Unopened:
    """A reply that a hub passes on as it came; what it says is for who is at the end of its way."""

    __slots__ = ("errors", "message", "seconds")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.seconds, self.errors, *_ = _measures(message)

    @property
    def count(self) -> int:
        """How many items these are."""
        return self.message.count

    @property
    def size(self) -> int:
        """Not known here."""
        return 0

    def decode(self) -> tuple[list[Any], dict[int, BaseException]]:
        """Never asked for."""
        raise TypeError("a reply on its way through a hub is not opened there")


def plain_reply(message: Message) -> Direct | None:
    """A REPLY as outcomes, if they are a few plain values: to unpickle these is less work than to put it off."""
    seconds, errors, payload, _ = REPLY.unpack_from(message.meta)
    part: Any = message.parts[0] if message.parts else None
    if errors or payload != FEW_PLAIN or type(part) is Ref:
        return None
    try:
        return Direct(unpickled(part), None, seconds, None, len(part))
    except MemoryError:
        # Who asks for the value is told.
        return None


def unpack_reply(message: Message, fetch: Callable[[Ref], Buffer]) -> Packed:
    """A REPLY as outcomes; its values are unpickled only when asked for."""
    seconds, retryable, mixed, profiled = _measures(message)
    parts, count = message.parts, message.count
    # Apart from the values, which are perhaps never asked for.
    last = parts.pop() if profiled else b""

    def unpack() -> tuple[list[Any], dict[int, BaseException]]:
        try:
            values, found = _unpack_outcomes(open_parts(parts, fetch), mixed)
        except RAISED as error:
            # Nothing can be saved.
            let_through(error)
            values, found = [None] * count, dict.fromkeys(range(count), error)
        return values, {at: as_an_items(error) for at, error in found.items()} if found else found

    size = 0
    for part in parts:
        size += part.size if isinstance(part, Ref) else len(part)
    found = Packed(count, seconds, retryable, size, unpack)
    if profiled:
        found.profile = bytes(fetch(last) if isinstance(last, Ref) else last)
    return found


def _measures(message: Message) -> tuple[float, dict[int, bool], bool, int]:
    """Seconds, which items raised and whether that is to be retried, and whether exceptions and a profile are in it."""
    seconds, errors, payload, profiled = REPLY.unpack_from(message.meta)
    if not errors:
        return seconds, {}, payload == MIXED, profiled
    table = message.meta[REPLY.size : REPLY.size + errors * ERROR.size]
    return seconds, {at: bool(again) for at, again in ERROR.iter_unpack(table)}, payload == MIXED, profiled


def _unpack_outcomes(opened: list[Buffer], mixed: bool) -> tuple[list[Any], dict[int, BaseException]]:
    try:
        loaded = loads(opened[0], opened[1:])
    except RAISED as error:
        # The class of a result may be broken on this side only.
        let_through(error)
        from anypool import _salvage  # Hardly ever needed, and it takes the pickle module of the standard library.

        values, failures, broken = _salvage.salvage_outcomes(opened[0], opened[1:], mixed)
        return values, {at: failure.rebuild() for at, failure in failures.items()} | broken
    if not mixed:
        return loaded, {}
    values, failures = loaded
    return values, {at: failure.rebuild() for at, failure in failures.items()}
