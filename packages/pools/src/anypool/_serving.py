"""What a foreign executor is given to run: one encoded RUN message in, one encoded reply out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from anypool._serve import Server
from anypool._wire import Buffer, Decoder, Message, Ref, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from anypool._shared import Watch

__all__: list[str] = []

_server = Server()
# Looks after what was shared with this process, if anything was.
_watch: Watch | None = None


def _forget() -> None:
    global _server, _watch
    _server, _watch = Server(), None


os.register_at_fork(after_in_child=_forget)


def serve(data: bytes) -> bytes:
    """Answer a message."""
    (reply,) = _answers(data)
    if _server.shares:
        _look_after()
    return b"".join(encode(reply))


def prepare(data: bytes) -> Callable[[], bytes]:
    """The same in two steps, for a careful chunk: load, which may take its time or be the end; then call."""
    replies = _answers(data)
    # That it is about to begin, or all there is to say.
    first = next(replies)
    if _server.shares:
        _look_after()
    return lambda: b"".join([piece for reply in list(replies) or [first] for piece in encode(reply)])


def _answers(data: bytes) -> Iterator[Message]:
    if _watch is not None:
        _watch.sweep()
    (message,) = Decoder().feed(data)
    return _server.answer(message, _inline_only)


def _look_after() -> None:
    global _watch
    if _watch is None:
        from anypool._shared import Watch

        _watch = Watch(_server.drop_shared)
    _watch.begin()


def drop(digest: bytes) -> None:
    """Who shared this lets go of it, in this process."""
    _server.drop_shared(digest)


def _inline_only(ref: Ref) -> Buffer:
    raise ValueError(f"{ref} does not reach a foreign executor; parts must be inline")
