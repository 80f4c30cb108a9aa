"""An owner for the tests of the agent: a control line, and workers that run `agent_stub`."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anypool._agents import open_control
from anypool._control import Control
from anypool._wire import Kind, Message, control

LIMIT = 10.0
HERE = Path(__file__).parent
# Holds the interpreter's lock until the process is killed.
HOLD = "import ctypes; ctypes.PyDLL(None).sleep(600)"


def wait_until(condition: Callable[[], object], limit: float = LIMIT) -> float:
    """Seconds until it held; asks again and again, because other processes' ends can't be waited for."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit, f"not so within {limit} s"
        time.sleep(0.005)
    return time.monotonic() - start


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[int]:
    """All children of this process, zombies too."""
    pids = set()
    for task in os.listdir("/proc/self/task"):
        pids |= set(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
    return pids


class Line:
    """The pipes of one worker."""

    def __init__(self, slot: int, seq: int) -> None:
        self.slot, self.seq = slot, seq
        task_end, self.writer = os.pipe()
        self.reader, result_end = os.pipe()
        self.theirs = [task_end, result_end]
        self.pid = 0

    def do(self, code: str) -> None:
        """Have the worker execute `code`."""
        os.write(self.writer, code.replace("\n", "\\n").encode() + b"\n")

    def answer(self) -> str:
        """The next line that it tells; "" when the pipe has ended."""
        text = b""
        while not text.endswith(b"\n"):
            poll = select.poll()
            poll.register(self.reader, select.POLLIN)
            assert poll.poll(LIMIT * 1000), "no answer"
            data = os.read(self.reader, 1)
            if not data:
                break
            text += data
        return text.decode().rstrip("\n")

    def ask(self, code: str) -> str:
        self.do(code)
        return self.answer()

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)
        self.reader = self.writer = -1


class Owner:
    """Keeps the messages that came from the agent in `heard`."""

    def __init__(self, env: dict[str, str] | None = None, entry: str = "agent_stub", **setup: Any) -> None:
        self.control: Control = open_control(env, entry)
        self.heard: list[Message] = []
        self.lines: list[Line] = []
        fields = {"sys_path": sys.path, "cwd": None, "env": env or dict(os.environ), "umask": 0o22}
        self.control.send(control(Kind.SETUP, **(fields | setup)))

    def spawn(self, slot: int = 0, seq: int = 1) -> Line:
        """Ask for a worker, without waiting for it."""
        line = Line(slot, seq)
        self.control.send(Message(Kind.SPAWN, slot=slot, seq=seq), line.theirs)
        self.lines.append(line)
        return line

    def listen(self, seconds: float = 0.05) -> None:
        """Take what comes next."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN | (select.POLLOUT if self.control.pending else 0))
        poll.poll(seconds * 1000)
        self.control.flush()
        self.heard += self.control.receive()

    def told(self, kind: Kind, slot: int | None = None) -> list[Message]:
        """What was heard of one kind."""
        return [message for message in self.heard if message.kind == kind and slot in (None, message.slot)]

    def until(self, kind: Kind, slot: int | None = None, limit: float = LIMIT) -> dict[str, Any]:
        """Wait for a message; its metadata."""
        deadline = time.monotonic() + limit
        while not self.told(kind, slot):
            assert time.monotonic() < deadline, f"no message of kind {kind} within {limit} s"
            self.listen()
        message = self.told(kind, slot)[0]
        return message.fields() if message.meta else {}

    def pid_of(self, line: Line) -> int:
        """The worker's process."""
        line.pid = int(self.until(Kind.SLOTS, line.slot)["pid"])
        return line.pid

    def agent(self) -> int:
        return int(self.until(Kind.WELCOME)["pid"])

    def output(self, stream: int, slot: int | None = None) -> bytes:
        relayed = [message for message in self.told(Kind.RELAY, slot) if message.fields()["stream"] == stream]
        return b"".join(bytes(part) for message in relayed for part in message.parts)

    def kill(self, line: Line, grace: float = 0.5) -> None:
        message = control(Kind.KILL, line.slot, grace=grace)
        message.seq = line.seq
        self.control.send(message)

    def close(self, grace: float = 5.0) -> None:
        """Say goodbye and wait for the answer."""
        for line in self.lines:
            line.close()
        if self.control.fileno() >= 0:
            self.control.send(control(Kind.BYE, grace=grace))
            self.until(Kind.BYE)
            self.control.close()


@contextmanager
def owning(**setup: Any) -> Iterator[Owner]:
    """An owner that says goodbye."""
    owner = Owner(**setup)
    try:
        yield owner
        owner.close()
    finally:
        for line in owner.lines:
            line.close()
        owner.control.close()
