"""Workers of ppft on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import ppft.transport

from anypool._errors import WorkerLost
from anypool._foreign import encoded
from anypool._ppft.seat import SLOTS, Lacking, Seat
from anypool._ppft.wire import FUNCTION, order, outcome, ready
from anypool._ppft.worker import how_ended
from anypool._slot import Cause, Flight
from anypool._wire import NO_DIGEST

if TYPE_CHECKING:
    from anypool._ppft.crew import Begin

__all__: list[str] = []

_LOOK_SECONDS = 1.0
_START_SECONDS = 30.0
# Between the end of its pipe and that of a worker.
_END_SECONDS = 0.5
# Seconds before each attempt to start a worker; what fails so often will not get better.
_BACK_OFF = (0.0, 0.1, 0.2, 0.5, 1.0)
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


class Worker:
    """A process that runs ppft's loop, in a session of its own."""

    def __init__(self, begin: Begin) -> None:
        self.known: set[bytes] = set()
        outlet = os.dup(1)
        try:
            text = _WORKER.format(path=begin.path, outlet=outlet)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-u", "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                pass_fds=(outlet,), cwd=begin.cwd, env=begin.env, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(outlet)
        self._transport = ppft.transport.CPipeTransport(self.process.stdout, self.process.stdin)

    def greet(self) -> None:
        """Wait until it is there, and have it use a protocol that has bytes."""
        self._receive(_START_SECONDS)
        self._transport.send(b"5")

    def call(self, message: bytes) -> bytes | None:
        """What it answers; None if it has ended."""
        try:
            self._transport.csend(FUNCTION)
            self._transport.send(message)
            return self._receive()
        except (OSError, RuntimeError, ValueError):
            return None

    def _receive(self, most: float = inf) -> bytes:
        until = time.monotonic() + most
        # A child of its own may keep the pipe open.
        while not ready(_LOOK_SECONDS, self.process.stdout):
            if self.has_ended():
                raise OSError("the worker has ended")
            if time.monotonic() > until:
                raise OSError(f"it did not start within {most:g} s")
        reply: bytes = self._transport.receive()
        return reply

    def has_ended(self) -> bool:
        """Whether it has; its number stays its own, for its group is ended by that."""
        if self.process.returncode is not None:
            return True
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def kill(self) -> None:
        """End it, and what its tasks have started."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def end(self, patience: float = 0.0) -> str:
        """The same, unless it ends by itself so soon, and wait for that; returns how it ended."""
        until = time.monotonic() + patience
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.01)
        self.kill()
        code = self.process.wait()
        for file in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                file.close()  # type: ignore[union-attr]  # both are pipes
        return how_ended(code)


class LocalSeat(Seat):
    """One of this machine's workers, which are found dead by the end of their pipe."""

    _worker: Worker | None = None

    def identify(self) -> tuple[str, str, int]:
        """With its process' id, once there is one."""
        pid = self._worker.process.pid if self._worker is not None else 0
        return f"parallel-python-{self.number}", os.uname().nodename, pid

    def _strike(self) -> None:
        if (worker := self._worker) is not None:
            worker.kill()

    def _reopen(self) -> bool:
        self._break()
        why: BaseException | None = None
        for delay in _BACK_OFF:
            time.sleep(delay)
            if self._crew.closed:
                return False
            try:
                why = self._start()
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no worker
                why = error
            if why is None:
                return True
            self._break()
            if isinstance(why, WorkerLost):
                break
        self._crew.give_up_seat(self, why)
        return False

    def _start(self) -> BaseException | None:
        """Start a process; what its initializer raised is given back, all else raised."""
        worker = self._worker = Worker(self._crew.begin)
        if self._crew.closed:
            worker.kill()
        worker.greet()
        reply = worker.call(order("begin", self._crew.begin.setup, self._crew.begin.share))
        if reply is None:
            raise OSError("it ended before it had begun; its standard error may say why")
        what, text = outcome(reply)
        return None if what == "done" else WorkerLost(text, cause="initializer")

    def _break(self) -> None:
        self._drop()

    def _drop(self, patience: float = 0.0) -> str:
        worker, self._worker = self._worker, None
        return worker.end(patience) if worker is not None else ""

    def _shut(self) -> None:
        self._drop()

    def _run(self, flight: Flight) -> None:
        worker, body = self._worker, flight.chunk.job.body
        assert worker is not None
        if worker.has_ended():
            # It died idle, so that nobody is to blame.
            self._lose(Cause(self._drop(), own=False))
            return
        # It may lack the function, and then what is shared.
        for again in (False, True, True):
            with_body = again or body.digest == NO_DIGEST or body.digest not in worker.known
            try:
                careful, place = flight.chunk.careful, self._crew.tails.place
                data = encoded(self.number & SLOTS, self.identify()[0], place, flight, with_body, careful, again)
            except Exception as error:  # noqa: BLE001 - it is its outcome
                self._failed(flight, error)
                return
            self._begun(flight)
            try:
                self._answered(flight, worker, worker.call(order("run", data, careful)))
            except Lacking:
                continue
            return
        self._lose_for_want()

    def _answered(self, flight: Flight, worker: Worker, reply: bytes | None) -> None:
        """Tell what came of a chunk; `Lacking` if that is nothing for want of something."""
        if reply is None:
            self._ended(flight)
            return
        what, done = outcome(reply)
        if what != "done":
            self._lose(Cause(done, own=False))
            return
        worker.known.add(flight.chunk.job.body.digest)
        self._reply(flight, done)

    def _ended(self, flight: Flight) -> None:
        asked = self._killed
        how, last = self._drop(_END_SECONDS), self._crew.tails.last(flight.seq)
        if asked:
            self._lose_as_asked(last)
        else:
            self._lose(Cause(how, stderr=last))
