"""A standard executor over ppft's server: what ppft leaves out is that a call can end without a result."""

from __future__ import annotations

import atexit
import itertools
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import ppft

from anypool._errors import LauncherUnavailable, WorkerLost
from anypool._ppft_worker import VERSIONS

__all__: list[str] = []

_LOOK_SECONDS = 1.0
# ppft compiles the source of what it runs, once in each worker; this is all that it ever gets.
_SOURCE = "from anypool._ppft_worker import answer"
# What `python -m ppft` does, but what imports or tasks or their children print is not taken for a part of a reply.
_WORKER = """\
import os, sys
reads, writes, printed = open(os.dup(0)), open(os.dup(1), "w"), sys.__stdout__
os.dup2({outlet}, 1)
os.close({outlet})
sys.path[:] = {path!r}
import ppft.__main__ as loop
sys.stdin, sys.__stdout__ = reads, writes
loop.wp = loop._WorkerProcess()
sys.stdin, sys.__stdout__ = open(os.devnull), printed
os.dup2(sys.stdin.fileno(), 0)
loop.wp.run()
"""
_FUNCTION = pickle.dumps(("answer", [_SOURCE], ()), 2)


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
        """What ppft calls with the reply."""
        self._reply = reply

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
        if isinstance(result, bytes):
            sys.stdout.write(printed)
            self.future.set_result(result)
        else:
            said = printed.strip("\0 \n").rpartition("\n")[2]
            self.future.set_exception(WorkerLost(f"{self.where} can't run tasks: {said}", cause="initializer"))


class Ended(WorkerLost):
    """One worker ended, and only what it ran is lost."""

    own = True


class _Attempt:
    """A job on a local worker, in the shape of both for ppft's loop, which swallows what goes wrong between them."""

    def __init__(self, job: Job, worker: Any, server: Server) -> None:
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


class _Worker(ppft._Worker):  # type: ignore[misc]  # noqa: SLF001 - it has no other name, and no types
    """ppft's own, as a process that is kept in view and imports what can be imported here."""

    def __init__(self) -> None:
        self.restart_on_free = False
        self.spawn()

    def spawn(self) -> None:
        """Start the interpreter."""
        path = [each or os.getcwd() for each in sys.path]
        outlet = os.dup(1)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-u", "-c", _WORKER.format(path=path, outlet=outlet)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, pass_fds=(outlet,),
            )  # fmt: skip
        finally:
            os.close(outlet)
        self.t = ppft._pp.pptransport.CPipeTransport(self.process.stdout, self.process.stdin)  # noqa: SLF001

    def greet(self) -> None:
        """Wait until it is there."""
        self.pid = int(self.t.receive())
        # A newer protocol than ppft's default, which has no bytes.
        self.t.send("5")
        self.is_free = True

    def end(self) -> None:
        """Kill it, and wait for that."""
        self.process.kill()
        self.process.wait()
        for close in (self.t.w.close, self.t.r.close):
            with suppress(OSError):
                close()


class Server(ppft.Server):  # type: ignore[misc]  # ppft has no types
    """ppft's own, with an eye on what becomes of its workers."""

    def __init__(self, workers: int, share: float) -> None:
        self.share, self.owner = share, os.getpid()
        self._changing = threading.Lock()
        with _environment_kept():
            super().__init__(0)
        # It would go for processes of these numbers in a forked child, too.
        atexit.unregister(self.destroy)
        self.resize(workers)

    def _run_local(self, job: Job, function: bytes, _: bytes, worker: Any) -> None:
        attempt = _Attempt(job, worker, self)
        super()._run_local(attempt, function, b"", attempt)
        job.settle()

    def replace(self, worker: Any) -> None:
        """Start another process in the place of one that has ended."""
        with self._changing:
            if self._exiting:
                raise BrokenExecutor("shut down")
            worker.end()
            worker.spawn()
            worker.greet()

    def resize(self, workers: int) -> None:
        """Have so many local workers from now on; more than that only idle."""
        with self._changing:
            there = self._Server__workers
            new = [_Worker() for _ in range(workers - len(there))]
            try:
                for worker in new:
                    worker.greet()
            except Exception as error:
                for worker in new:
                    worker.end()
                raise LauncherUnavailable("a worker of ppft did not start; its standard error may say why") from error
            there.extend(new)
            self.set_ncpus(workers)

    def end(self) -> None:
        """Kill the workers, and wait for that. ppft would first wait for what they do."""
        with self._changing:
            if self.owner != os.getpid():
                return
            self._exiting = True
            workers = self._Server__workers
            for worker in workers:
                worker.process.kill()
            for worker in workers:
                worker.end()
            workers.clear()
        self.destroy()


class PpftExecutor(Executor):
    """What the adapter needs of an executor, and the end of workers. A worker that dies costs what it ran."""

    def __init__(self, workers: int, share: float) -> None:
        self._server = Server(workers, share)
        self._jobs: dict[Future[bytes], Job] = {}
        self._numbers = itertools.count(1)
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `serve`, of which `answer` does the same elsewhere; any other function is a `TypeError`."""
        if fn.__name__ not in ("serve", "prepare") or len(args) != 1 or kwargs:
            raise TypeError(f"an executor of ppft runs chunks of a pool, got {fn!r}")
        return self._submit(args[0], careful=False)

    def submit_watched(self, _: Callable[..., Any], data: bytes) -> Future[bytes]:
        """The same for one whose beginning is asked for."""
        return self._submit(data, careful=True)

    def begun(self, future: Future[bytes]) -> float | None:
        """When a worker took this call, on the monotonic clock; None if none has."""
        job = self._jobs.get(future)
        return getattr(future, "began", None) if job is None else job.begun

    def _submit(self, data: bytes, careful: bool) -> Future[bytes]:
        job = Job(next(self._numbers), data, careful)
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down")
            self._jobs[job.future] = job
        job.future.add_done_callback(self._done)
        self._server.insert(_FUNCTION, b"", job)
        return job.future

    def _done(self, future: Future[bytes]) -> None:
        with self._lock:
            future.began = self._jobs.pop(future).begun  # type: ignore[attr-defined]
            last = self._closed and not self._jobs
        if last:
            self._server.end()

    def resize(self, workers: int) -> None:
        """Have so many workers from now on."""
        self._server.resize(workers)

    def kill_workers(self) -> None:
        """End the workers whatever they do, and wait for that."""
        with self._lock:
            self._closed = True
        self._server.end()
        for future, job in list(self._jobs.items()):
            if not future.cancel():
                job.settle()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers once they have done what they were given."""
        with self._lock:
            self._closed = True
            futures = list(self._jobs)
        for future in futures if cancel_futures else ():
            future.cancel()
        if not futures:
            self._server.end()
        elif wait:
            _wait(futures)


_wait = partial(wait, timeout=None)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what ppft does to the environment."""
    before = os.environ.get("PYTHONPATH")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
