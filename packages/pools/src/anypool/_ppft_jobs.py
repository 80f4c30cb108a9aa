"""A call on its way through ppft's loops, which swallow what goes wrong."""

from __future__ import annotations

import pickle
import select
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from anypool._errors import WorkerLost
from anypool._ppft_worker import VERSIONS

__all__: list[str] = []

_LOOK_SECONDS = 1.0


class Job:
    """A call, in the shape of ppft's task."""

    def __init__(self, tid: int, data: bytes, careful: bool) -> None:
        self.tid = tid
        self.data, self.careful = data, careful
        self.future: Future[bytes] = Future()
        self.begun: float | None = None
        self.skipped = False
        self.where = ""
        self._reply: bytes | None = None

    def begin(self, where: str) -> None:
        """A worker is about to get it, unless it was cancelled while it waited."""
        self.where, self.begun = where, time.monotonic()
        self.skipped = not self.future.set_running_or_notify_cancel()

    def message(self, share: float | None, neighbours: int) -> bytes:
        """What `answer` is called with."""
        return pickle.dumps((self.data, self.careful, VERSIONS, share, neighbours), 5)

    def finalize(self, reply: bytes) -> None:
        """What ppft calls with the reply; an empty one is none."""
        self._reply = reply or None

    @property
    def unanswered(self) -> bool:
        """Whether a worker had it and said nothing."""
        return self._reply is None and not self.skipped

    def settle(self) -> None:
        """Hand on the outcome, once ppft is done with the worker."""
        if self.skipped or self.future.done():
            return
        if self._reply is None:
            self.future.set_exception(Ended(f"{self.where} ended"))
            return
        result, printed = pickle.loads(self._reply)
        if isinstance(result, str):
            self.future.set_exception(Ended(f"{self.where}: {result}"))
        elif isinstance(result, bytes):
            sys.stdout.write(printed)
            self.future.set_result(result)
        else:
            said = printed.strip("\0 \n").rpartition("\n")[2]
            self.future.set_exception(WorkerLost(f"{self.where} can't run tasks: {said}", cause="initializer"))


class Ended(WorkerLost):
    """One worker ended, and only what it ran is lost."""

    own = True


class Holder(Protocol):
    """What a server shows to attempts on its workers."""

    share: float

    def replace(self, worker: Any) -> None: ...


class LocalAttempt:
    """A job on a local worker, in the shape of both for ppft's loop, which swallows what goes wrong between them."""

    def __init__(self, job: Job, worker: Any, server: Holder) -> None:
        self.tid, self.t = job.tid, self
        self.finalize = job.finalize
        self._job, self._worker, self._server = job, worker, server

    def csend(self, function: bytes) -> None:
        """Send the function, unless the worker has it."""
        if self._worker.process.poll() is not None:
            self._server.replace(self._worker)
        self._job.begin(f"worker {self._worker.pid} of ppft")
        if not self._job.skipped:
            self._worker.t.csend(function)

    def send(self, _: bytes) -> None:
        """Send the call."""
        if not self._job.skipped:
            self._worker.t.send(self._job.message(self._server.share, 1))

    def receive(self) -> bytes:
        """The reply; `OSError` if the worker has ended, even if a child of its own keeps the pipe open."""
        if self._job.skipped:
            return b""
        while not select.select([self._worker.t.r], [], [], _LOOK_SECONDS)[0]:
            if self._worker.process.poll() is not None:
                raise OSError("the worker has ended")
        reply: bytes = self._worker.t.receive()
        return reply

    def free(self) -> None:
        """The worker may have the next one."""
        if self._job.unanswered:
            self._server.replace(self._worker)
        else:
            self._worker.free()


class RemoteAttempt:
    """A job with a ppserver, in the shape of what ppft's loop takes for the connection."""

    def __init__(self, job: Job, connection: Any, neighbours: int) -> None:
        self.tid, self.id = job.tid, connection.id
        self.finalize = job.finalize
        self._job, self._connection, self._neighbours = job, connection, neighbours
        self.cut = False

    def csend(self, function: bytes) -> None:
        """Send the function, unless the server has it from this connection."""
        self._job.begin(f"the ppserver at {self.id}")
        if not self._job.skipped:
            self._do(self._connection.csend, function)

    def send(self, _: bytes) -> None:
        """Send the call."""
        if not (self._job.skipped or self.cut):
            self._do(self._connection.send, self._job.message(None, self._neighbours))

    def receive(self) -> bytes:
        """The reply; b"" if there is none, for ppft would send the job again by itself."""
        if self._job.skipped or self.cut:
            return b""
        return self._do(self._connection.receive) or b""

    def _do(self, act: Callable[..., bytes | None], *args: bytes) -> bytes | None:
        try:
            return act(*args)
        except (OSError, RuntimeError):
            self.cut = True
            return None

    @property
    def is_free(self) -> bool:
        """Whether the connection may have the next one."""
        return bool(self._connection.is_free)

    @is_free.setter
    def is_free(self, free: bool) -> None:
        self._connection.is_free = free and not self.cut
