"""A standard executor over ppft's server: what ppft leaves out is that a call can end without a result."""

from __future__ import annotations

import atexit
import itertools
import os
import pickle
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import ppft

from anypool._errors import LauncherUnavailable
from anypool._ppft_address import Address
from anypool._ppft_jobs import Job, LocalAttempt, RemoteAttempt
from anypool._ppft_servers import ask

__all__: list[str] = []

# Of a cut connection one hears within 15 s.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 15_000}
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

    def __init__(self, workers: int, share: float, secret: str, left_alone: Callable[[], None]) -> None:
        self.share, self.owner, self._left_alone = share, os.getpid(), left_alone
        self._changing = threading.Lock()
        # By address, how many workers there are.
        self.joined: dict[str, int] = {}
        with _environment_kept():
            super().__init__(0, secret=secret)
        # It would go for processes of these numbers in a forked child, too.
        atexit.unregister(self.destroy)
        self.resize(workers)

    def _run_local(self, job: Job, function: bytes, _: bytes, worker: Any) -> None:
        attempt = LocalAttempt(job, worker, self)
        super()._run_local(attempt, function, b"", attempt)
        job.settle()

    def join(self, address: Address) -> None:
        """Use a ppserver's workers; `LauncherUnavailable` if it can't be."""
        workers, where = ask(address, self.secret), str(address)
        # What it knows of is not connected again.
        self.autopp_list.pop(where, None)
        self.joined[where] = workers
        self.connect1(*address, persistent=False)
        # These would be sent what the others have not done yet.
        for spare in self._Server__rworkers_reserved:
            spare.close()
        self._Server__rworkers_reserved.clear()
        there = [each for each in self._Server__rworkers if each.id == where]
        if len(there) < workers:
            self._leave(*there)
            raise LauncherUnavailable(f"the ppserver at {address} ended while it was being connected")
        for each in there:
            _look_after(each.socket)

    def _leave(self, *connections: Any) -> None:
        for each in connections:
            each.is_free = False
            each.close()
            with suppress(ValueError):
                self._Server__rworkers.remove(each)
        if not self.able():
            self._left_alone()

    def able(self) -> bool:
        """Whether there is anybody to run a call."""
        return bool(self.get_ncpus() or self._Server__rworkers)

    def _run_remote(self, job: Job, function: bytes, _: bytes, connection: Any) -> None:
        if select.select([connection.socket], [], [], 0)[0]:
            # It was cut while nothing ran: there is nothing else to be read.
            self._leave(connection)
            if self.able():
                self.insert(function, b"", job)
            return
        attempt = RemoteAttempt(job, connection, self.joined[connection.id])
        super()._run_remote(attempt, function, b"", attempt)
        job.settle()
        if attempt.cut:
            self._leave(connection)

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
            asked = [each.rworker for each in self._Server__stats.values() if each.rworker is not None]
            for connection in [*self._Server__rworkers, *asked]:
                with suppress(OSError):
                    connection.socket.shutdown(socket.SHUT_RDWR)
                connection.close()
        self.destroy()


class PpftExecutor(Executor):
    """What the adapter needs of an executor, and the end of workers. A worker that dies costs what it ran."""

    def __init__(self, workers: int, share: float, servers: Iterable[Address] = (), secret: str = "") -> None:
        self._jobs: dict[Future[bytes], Job] = {}
        self._numbers = itertools.count(1)
        self._closed = False
        self._lock = threading.Lock()
        self._server = Server(workers, share, secret, self._fail)
        failures: list[Exception] = []
        for address in servers:
            try:
                self._server.join(address)
            except LauncherUnavailable as error:
                failures.append(error)
        if not self._server.able():
            self._server.end()
            raise LauncherUnavailable("; ".join(map(str, failures)))

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
            if not self._server.able():
                raise BrokenExecutor("no ppserver is left")
            self._jobs[job.future] = job
        job.future.add_done_callback(self._done)
        self._server.insert(_FUNCTION, b"", job)
        if not self._server.able():
            # The last server was lost meanwhile, and this call perhaps not seen among those that wait.
            self._fail()
        return job.future

    def _done(self, future: Future[bytes]) -> None:
        with self._lock:
            future.began = self._jobs.pop(future).begun  # type: ignore[attr-defined]
            last = self._closed and not self._jobs
        if last:
            self._server.end()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers once they have done what they were given."""
        with self._lock:
            self._closed = True
            futures = list(self._jobs)
        for future in futures if cancel_futures else ():
            future.cancel()
        if wait:
            _wait(futures)
        if wait or not futures:
            self._server.end()

    def resize(self, workers: int) -> None:
        """Have so many workers from now on, those of servers included, whose number stays."""
        self._server.resize(max(0, workers - sum(self._server.joined.values())))

    def _fail(self) -> None:
        """Nobody is left to run what waits."""
        for future in list(self._jobs):
            with suppress(InvalidStateError):
                future.set_exception(BrokenExecutor("no ppserver is left"))


class LocalExecutor(PpftExecutor):
    """One whose workers are all here, so that they can be ended."""

    def kill_workers(self) -> None:
        """End the workers whatever they do, and wait for that."""
        with self._lock:
            self._closed = True
        self._server.end()
        for future, job in list(self._jobs.items()):
            if not future.cancel():
                job.settle()


_wait = partial(wait, timeout=None)


def _look_after(connection: socket.socket) -> None:
    """Have a connection end, soon, if there is nobody at the other end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


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
