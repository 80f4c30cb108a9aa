"""Serve in a process that is not ours: what a foreign executor is given to run, one encoded message each.

What its tasks say comes back in front of the reply.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from anypool import _relay
from anypool._origin import origin
from anypool._serve import RUN, Server
from anypool._task import here, running
from anypool._wire import Buffer, Decoder, Message, Ref, encode

__all__: list[str] = []

# Behind what a RUN says: from which process it comes, and what its worker is called there.
_ORIGIN = slice(RUN.size, RUN.size + 16)


def addressed(message: Message, name: str) -> Message:
    """A RUN that says so."""
    message.meta = bytes(message.meta) + origin() + name.encode()
    return message


class _Servers:
    """One for tasks from elsewhere, whose loggers it hears, and one for those of this process."""

    def __init__(self, forked: bool) -> None:
        self.guests, self.own = Server(), Server()
        self.guests.hears, self.guests.forked = True, forked


_servers = _Servers(forked=False)


def _forget() -> None:
    global _servers
    _servers = _Servers(forked=True)


os.register_at_fork(after_in_child=_forget)


def serve(data: bytes) -> bytes:
    """Answer one encoded RUN message with an encoded reply."""
    return prepare(data)()


def prepare(data: bytes) -> Callable[[], bytes]:
    """The same in two steps, for a careful chunk: load, which may take its time or be the end; then call."""
    (message,) = Decoder().feed(data)
    meta = bytes(message.meta)
    guest = meta[_ORIGIN] != origin()
    said: list[Any] | None = [] if guest else None
    if guest:
        _relay.begin(None)
    here.name = meta[_ORIGIN.stop :].decode()
    replies = (_servers.guests if guest else _servers.own).answer(message, _inline_only)
    # That it is about to begin, or all there is to say.
    with running(None, 0, None, said):
        first = next(replies)

    def call() -> bytes:
        with running(None, 0, None, said):
            found = list(replies) or [first]
            _relay.flush()
        if said:
            found.insert(0, _relay.relayed(_relay.trimmed(said), os.uname().nodename))
        return b"".join([piece for each in found for piece in encode(each)])

    return call


def _inline_only(ref: Ref) -> Buffer:
    raise ValueError(f"{ref} does not reach a foreign executor; parts must be inline")
