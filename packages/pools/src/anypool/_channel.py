"""One worker's pipes, and what its owner knows of it."""

from __future__ import annotations

import os
import weakref
from collections import deque

from anypool import _linux
from anypool._errors import WorkerLost
from anypool._wire import CLAIM, Buffer, Decoder, Message, encode

__all__: list[str] = []

_PIPE = 256 << 10


class Channel:
    """One worker's pipes, and what its owner knows of it."""

    def __init__(self, slot: int, incarnation: int) -> None:
        self.slot, self.incarnation = slot, incarnation
        self.reader = self.writer = self.claims_read = self.claims_write = -1
        self.theirs: list[int] = []
        try:
            self._open()
        except OSError:
            self.close()
            raise
        _channels.add(self)
        for fd in (self.writer, self.reader):
            os.set_blocking(fd, False)
            _linux.set_pipe_size(fd, _PIPE)
        self.decoder = Decoder()
        self.out: deque[Buffer] = deque()
        self.known: set[bytes] = set()
        self.authkeys: set[str] = set()
        self.segments = True
        self.claims = self.greeted = False
        self.pid = 0
        self.answered = False
        # Nothing more is read of it; its loss has been told.
        self.ended = self.lost = False

    def _open(self) -> None:
        task_end, self.writer = os.pipe()
        self.theirs.append(task_end)
        self.reader, result_end = os.pipe()
        self.theirs.append(result_end)
        # A queued chunk has a claim in this pipe, which worker and owner both may take, whoever comes first.
        self.claims_read, self.claims_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []
        for fd in (self.reader, self.writer, self.claims_read, self.claims_write):
            if fd >= 0:
                os.close(fd)
        self.reader = self.writer = self.claims_read = self.claims_write = -1

    def write(self, message: Message, claim: bool = False) -> bool:
        """Write a message, or queue what does not fit; true if it is the first that waits.

        With a `claim` it can be taken back, unless the worker is known not to look or the pipe of claims is full.
        """
        if self.writer < 0:
            raise WorkerLost(f"the pipe of worker {self.slot} is closed", cause="closed", begun=False)
        queued = bool(self.out)
        claim = claim and (self.claims or not self.greeted)
        message.flags |= CLAIM if claim else 0
        # Before the claim: that of a message which can't be sent would be taken for the next one's.
        buffers = encode(message)
        if claim and not self._put_claim(message.seq):
            message.flags &= ~CLAIM
            buffers = encode(message)
        self.out.extend(buffers)
        return not queued and not self.flush()

    def flush(self) -> bool:
        """Write what fits; true if nothing is left."""
        out = self.out
        while out:
            try:
                sent = os.writev(self.writer, [*out][:64]) if len(out) > 1 else os.write(self.writer, out[0])
            except BlockingIOError:
                return False
            except OSError:
                out.clear()  # The worker is gone; the agent says so, and the chunks go elsewhere.
                return True
            while out and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = memoryview(out[0])[sent:]
        return True

    def _put_claim(self, seq: int) -> bool:
        try:
            os.write(self.claims_write, seq.to_bytes(8, "little"))
        except BlockingIOError:
            return False
        return True

    def recall(self) -> list[int]:
        """Take the claims of queued chunks before the worker does; a chunk whose claim is gone is skipped there."""
        taken: list[int] = []
        if not self.claims:
            return taken
        try:
            while claim := os.read(self.claims_read, 8):
                taken.append(int.from_bytes(claim, "little"))
        except BlockingIOError:
            pass
        return taken


_channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def _close_in_fork() -> None:
    """In a forked child: a pipe that stays open there would keep a worker from seeing that its pool is gone."""
    for channel in list(_channels):
        channel.close()


os.register_at_fork(after_in_child=_close_in_fork)
