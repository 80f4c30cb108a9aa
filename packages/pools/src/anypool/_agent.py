"""The agent: a small process that forks workers, reaps them, relays their output, and kills.

It runs no user code and has one thread, so it can always fork, and always answers; whoever runs user code
may hold the interpreter's lock for an hour without being thought dead.
"""

from __future__ import annotations

import gc
import os
import sys
from _socket import AF_UNIX, CMSG_SPACE, MSG_CMSG_CLOEXEC, SOCK_SEQPACKET, socket, socketpair

from anypool import _linux
from anypool._birth import MARK, SIGNALS, Birth, Born, keep_only
from anypool._linux import close_all
from anypool._loop import Loop
from anypool._session import Session, Worker, received_descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal

__all__: list[str] = []

_OUTPUT_READ = 64 << 10
_MOST_READS = 16
_END_WITHIN = 5.0
# What nearly every module of a user imports (20 ms). The first workers are not kept waiting for it; later ones, and
# those of nested pools, have it.
_COMMON = ("typing", "dataclasses", "logging")
_COMMON_AFTER = 0.2


class Agent:
    """All workers of one tree of owners."""

    def __init__(self, door: int, owner: int) -> None:
        self.pid = os.getpid()
        self.loop = Loop()
        self.sessions: set[Session] = set()
        self.workers: dict[int, Worker] = {}
        self._numbers = 0
        # Modules that the first workers did not find imported.
        self._common: set[str] = set()
        self._files = _raise_file_limit()
        self._ending = self._over = False
        self._door = socket(fileno=door)
        self._door.setblocking(False)
        self.loop.watch(door, lambda events: self._on_door(self._door, None))
        self._owner = _linux.open_process(owner)
        self.loop.watch(self._owner, lambda events: self.end())
        self._wake, wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.loop.watch(self._wake, self._on_signal)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda number, frame: None)

    def run(self) -> None:
        """Serve until the root owner is gone and every child has been reaped; raises `Born` in each child."""
        while not self._over:
            self.loop.step()

    def _on_signal(self, _events: int) -> None:
        numbers = os.read(self._wake, 4096)
        if signal.SIGTERM in numbers or signal.SIGHUP in numbers:
            self.end()
        self._reap()

    def _on_door(self, door: socket, inside: Worker | None) -> None:
        try:
            data, ancillary, _, _ = door.recvmsg(16, CMSG_SPACE(2 * 4), MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        fds = received_descriptors(ancillary)
        if data and len(fds) == 2:
            self.sessions.add(Session(self, socket(fileno=fds[0]), fds[1], inside))
            return
        close_all(fds)
        if data:
            return  # Too few descriptors were left to take the two; that owner sees its end closed.
        if inside is None:
            self.end()
        else:
            self._close_door(inside)

    def _close_door(self, worker: Worker) -> None:
        if worker.door is not None:
            self.loop.unwatch(worker.door.fileno())
            worker.door.close()
            worker.door = None

    def spawn(self, session: Session, slot: int, seq: int, reader: int, writer: int) -> Worker:
        """Fork a worker. In the child this raises `Born`; an `OSError` means that nothing was started."""
        self._numbers += 1
        door, its_door = socketpair(AF_UNIX, SOCK_SEQPACKET)
        worker = Worker(self._numbers, slot, seq, session, door)
        pipes: list[int] = []
        try:
            for _ in range(2):
                pipes += os.pipe2(os.O_CLOEXEC)
            worker.pid = self._fork()
        except OSError:
            door.close()
            its_door.close()
            close_all(pipes)
            raise
        if worker.pid == 0:
            fd = its_door.detach()
            self._abandon(door)
            raise Born(
                Birth(
                    self.pid,
                    worker.number,
                    reader,
                    writer,
                    fd,
                    pipes[1],
                    pipes[3],
                    self._files,
                    session.setup,
                    self._common,
                )
            )
        its_door.close()
        close_all(pipes[1::2])
        self._adopt(worker, pipes[0], pipes[2])
        if self._numbers == 1:
            self.loop.after(_COMMON_AFTER, self._import_common)
        return worker

    def _import_common(self) -> None:
        before = set(sys.modules)
        try:
            for name in _COMMON:
                __import__(name)
        except Exception:  # noqa: BLE001 - a worker that needs it will tell what is wrong with it
            return
        finally:
            self._common = sys.modules.keys() - before
        gc.freeze()

    @staticmethod
    def _fork() -> int:
        # A signal between the fork and the child's own handlers would be swallowed by the agent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return pid

    def _adopt(self, worker: Worker, stdout: int, stderr: int) -> None:
        self.workers[worker.pid] = worker
        assert worker.door is not None
        door = worker.door
        door.setblocking(False)
        self.loop.watch(door.fileno(), lambda events: self._on_door(door, worker))
        self._watch_output(worker, stdout, 1)
        self._watch_output(worker, stderr, 2)

    def _watch_output(self, worker: Worker, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        worker.outputs[fd] = stream
        self.loop.watch(fd, lambda events: self._on_output(worker, fd))

    def _abandon(self, door: socket) -> None:
        """Close, in a forked child, what would close its descriptor number later when it is collected."""
        self.loop.abandon()
        for session in self.sessions:
            session.abandon()
        for sock in (door, self._door, *(worker.door for worker in self.workers.values())):
            if sock is not None:
                sock.close()

    def _on_output(self, worker: Worker, fd: int) -> bool:
        """Pass on one read of output; whether there may be more."""
        try:
            data = os.read(fd, _OUTPUT_READ)
        except BlockingIOError:
            return False
        if data:
            worker.session.output(worker, worker.outputs[fd], data)
            return True
        self._close_output(worker, fd)
        return False

    def _close_output(self, worker: Worker, fd: int) -> None:
        if worker.outputs.pop(fd, None) is not None:
            self.loop.unwatch(fd)
            os.close(fd)

    def _reap(self) -> None:
        """Collect all children that have ended; what they leave behind ends too."""
        reaped = False
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                self._over = self._ending
                return
            if ended is None:
                break
            # Until it is reaped its number can't be used again, so the group is signalled first.
            worker = self.workers.get(ended.si_pid)
            if worker is not None:
                worker.signal(signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            if worker is not None:
                self._bury(worker, status)
            reaped = True
        if reaped:
            self._sweep()

    def _bury(self, worker: Worker, status: int) -> None:
        del self.workers[worker.pid]
        for session in [session for session in self.sessions if session.inside is worker]:
            session.lost()
        self._close_door(worker)
        for fd in list(worker.outputs):
            # A process that left the group may hold the pipe open and go on writing.
            for _ in range(_MOST_READS):
                if not self._on_output(worker, fd):
                    break
            self._close_output(worker, fd)
        worker.session.died(worker, status)

    def _sweep(self) -> None:
        """Kill the processes that dead workers left behind: the agent's children that are no workers.

        One that carries the mark of a living worker is that worker's daemon; one without any mark (it was
        started with an empty environment) lives until no worker is left.
        """
        alive = {worker.number for worker in self.workers.values()}
        for pid in _linux.children(self.pid):
            if pid in self.workers:
                continue
            mark = self._mark_of(pid)
            if self._ending or not alive or (mark is not None and mark not in alive):
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass

    def _mark_of(self, pid: int) -> int | None:
        """The number of the worker that a process comes from; 0 for a worker of an agent that has ended."""
        name = _linux.name_of(pid)
        prefix = f"{MARK}=".encode()
        try:
            if name.startswith("anypool:"):
                return int(name[8:], 16)
            for entry in _linux.start_environment(pid):
                if entry.startswith(prefix):
                    agent, _, number = entry[len(prefix) :].partition(b".")
                    return int(number) if int(agent) == self.pid else 0
        except ValueError:
            pass  # User code may give a process any name, and any environment.
        return None

    def end(self) -> None:
        """Kill everything; `run` returns once all of it has been reaped, or won't be in time."""
        if self._ending:
            return
        self._ending = True
        self.loop.unwatch(self._door.fileno())
        self.loop.unwatch(self._owner)
        for session in list(self.sessions):
            session.lost()
        self.loop.after(_END_WITHIN, self._give_up)
        self._sweep()
        self._reap()

    def _give_up(self) -> None:
        self._over = True


def _raise_file_limit() -> tuple[int, int] | None:
    """Allow as many descriptors as can be had, three a worker; the limit that workers get back."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard


def main(door: int, stderr: int, owner: int, entry: str = "anypool._worker") -> None:
    """Be an agent until the owner is gone; `stderr` becomes descriptor 2 once the start has succeeded."""
    keep_only({0, 1, 2, door, stderr})
    if os.getppid() != owner:
        return
    if os.getsid(0) != os.getpid():
        os.setsid()
    _linux.become_subreaper()
    _linux.set_name("anypool-agent")
    __import__(entry)
    os.dup2(stderr, 2)
    os.close(stderr)
    try:
        agent: Any = Agent(door, owner)
    except ProcessLookupError:
        return
    birth: Birth | None = None
    gc.disable()
    gc.freeze()
    try:
        agent.run()
    except Born as born:
        birth = born.birth
    if birth is not None:
        agent = None
        birth.live(entry)
    os._exit(0)
