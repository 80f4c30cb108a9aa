"""Threads whose tasks get copies of their arguments, as in processes, for pools whose other workers are processes."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from anypool._buffers import Buffers
from anypool._chunk import Body, Calling, Chunk, Mode, Outcomes
from anypool._context import Scope
from anypool._local import ThreadCrew
from anypool._outcomes import unpack_reply
from anypool._packing import Parcel, named_body, pack, pack_arguments, pack_body, run_message
from anypool._serve import Server
from anypool._slot import Flight
from anypool._wire import Buffer, Ref

__all__: list[str] = []


class CopyingThreadCrew(ThreadCrew):
    """A thread crew that packs what it is given and unpacks it in the thread, once for each chunk.

    `cpus` are each thread's own, for what its tasks open; given them, the crew is one that tells them.
    """

    keeps_context = False

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        cpus: float | None = None,
    ) -> None:
        super().__init__(workers, initializer, initargs)
        self.tells_cpus = cpus is not None
        self._server = _Server(cpus)

    def body(self, calling: Calling) -> Body:
        """Serialise what is called; `Unserializable` names the path from f."""
        return pack_body(calling)

    def pack(self, payload: Any, most: int) -> tuple[Parcel | None, int]:
        """Serialise items."""
        return pack(payload, most)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """Serialise one call, as far as the lane of calls does not do it."""
        body = (named_body(f) if self.scope is None else None) or self.body(Calling(f, scope=self.scope))
        mode, payload, size = pack_arguments(args, kwargs)
        return body, mode, payload, size

    def run_chunk(self, chunk: Chunk) -> Outcomes:
        """Unpack a chunk and run it in the calling thread."""
        message = run_message(0, Flight(chunk, 0, monotonic()), with_body=True, careful=False)
        (reply,) = self._server.answer(message, _read)
        return unpack_reply(reply, _inline)


class _Server(Server):
    """One whose tasks have so many CPUs, if what is called does not say another number."""

    def __init__(self, cpus: float | None) -> None:
        super().__init__()
        self._cpus = cpus

    def _calling(self, digest: bytes, parts: list[Buffer | Ref], fetch: Callable[[Ref], Buffer]) -> Calling | None:
        calling = super()._calling(digest, parts, fetch)
        if calling is None:
            return None
        scope = calling.scope or Scope()
        return calling if scope.cpus is not None else calling._replace(scope=scope._replace(cpus=self._cpus))


def _read(ref: Ref) -> Buffer:
    # A copy of its own: the task may change it, and must find it unchanged if it runs again.
    return bytearray(Buffers.read(ref))


def _inline(ref: Ref) -> Buffer:
    raise ValueError(f"{ref} in a message between threads; parts must be inline")
