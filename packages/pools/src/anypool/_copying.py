"""Threads whose tasks get copies of their arguments, as in processes, for pools whose other workers are processes."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from anypool import _share
from anypool._buffers import Buffers
from anypool._chunk import Body, Calling, Chunk, Outcomes
from anypool._context import Scope
from anypool._local import ThreadCrew
from anypool._outcomes import unpack_reply
from anypool._packing import run_message
from anypool._packs import Packs
from anypool._serve import Server
from anypool._slot import Flight
from anypool._wire import Buffer, Ref

__all__: list[str] = []


class CopyingThreadCrew(Packs, ThreadCrew):
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

    def run_chunk(self, chunk: Chunk) -> Outcomes:
        """Unpack a chunk and run it in the calling thread."""
        message = run_message(0, Flight(chunk, 0, monotonic()), with_body=True, careful=False)
        if _share.tools is not None:
            _share.tools.attach(message, chunk)
        (reply,) = self._server.answer(message, _read)
        return unpack_reply(reply, _inline)

    def release(self, body: Body) -> None:
        """Forget a large function, or a shared object, that no task needs."""
        self._server.drop(body.digest)


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
