"""What a foreign executor is given to run, in a process that is not ours: one encoded message in, the replies out.

What its tasks say comes back in front of the reply.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from anypool import _relay
from anypool._origin import origin
from anypool._serve import RUN, Server
from anypool._tails import PLACE, Saying
from anypool._task import here, running
from anypool._wire import Buffer, Decoder, Message, Ref, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from anypool._shared import Watch

__all__: list[str] = []

_ORIGIN, _DIGEST = 16, 32


def addressed(message: Message, name: str, place: bytes) -> Message:
    """A RUN that says from which process it comes, where that looks for last words, and what its worker is called."""
    message.meta = bytes(message.meta) + origin() + place + name.encode()
    return message


class _Servers:
    """One for tasks from elsewhere, whose loggers it hears, and one for those of this process."""

    def __init__(self, forked: bool) -> None:
        self.guests, self.own = Server(), Server()
        self.guests.hears, self.forked = True, forked


_servers = _Servers(forked=False)
# Looks after what was shared with this process, if anything was.
_watch: Watch | None = None


def _forget() -> None:
    global _servers, _watch
    _servers, _watch = _Servers(forked=True), None


os.register_at_fork(after_in_child=_forget)


def serve(data: bytes) -> bytes:
    """Answer a message."""
    return prepare(data)()


def prepare(data: bytes) -> Callable[[], bytes]:
    """The same in two steps, for a careful chunk: load, which may take its time or be the end; then call."""
    if _watch is not None:
        _watch.sweep()
    (message,) = Decoder().feed(data)
    server = _server_for(message)
    said = Saying(_place(message), message.seq) if server.hears else None
    replies = server.answer(message, _inline_only)
    # That it is about to begin, or all there is to say.
    with running(None, 0, None, said):
        first = next(replies)
    if server.shares:
        _look_after()

    def call() -> bytes:
        with running(None, 0, None, said):
            found = list(replies) or [first]
            _relay.flush()
        if said:
            found.insert(0, _relay.relayed(_relay.trimmed(said), os.uname().nodename))
        return b"".join([piece for each in found for piece in encode(each)])

    return call


def hear_out() -> None:
    """Relay what is said in this process from now on, also by what runs before the first task."""
    _relay.begin(None, forked=_servers.forked)


def _server_for(message: Message) -> Server:
    """By where it comes from; has this thread go by the name that it says."""
    here.name = bytes(message.meta[_address(message) + _ORIGIN + PLACE.size :]).decode()
    at = _address(message)
    if bytes(message.meta[at : at + _ORIGIN]) == origin():
        return _servers.own
    hear_out()
    return _servers.guests


def _place(message: Message) -> bytes:
    """Where its owner looks for the last that a task has said."""
    at = _address(message) + _ORIGIN
    return bytes(message.meta[at : at + PLACE.size])


def _address(message: Message) -> int:
    # Behind the digests of what is shared.
    shared: int = RUN.unpack_from(message.meta)[-1]
    return RUN.size + shared * _DIGEST


def _look_after() -> None:
    global _watch
    if _watch is None:
        from anypool._shared import Watch

        _watch = Watch(drop)
    _watch.begin()


def drop(digest: bytes) -> None:
    """Who shared this lets go of it, in this process."""
    _servers.guests.drop_shared(digest)
    _servers.own.drop_shared(digest)


def _inline_only(ref: Ref) -> Buffer:
    raise ValueError(f"{ref} does not reach a foreign executor; parts must be inline")
