"""One owner's line to the agent that keeps its workers."""

from __future__ import annotations

import array
import errno
import time

# The C module: `socket` itself takes 2 ms to import, on the way to the first result.
from _socket import MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET, socket
from collections import deque
from collections.abc import Sequence

from anypool._linux import close_all
from anypool._wire import Decoder, Message, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Protocol

    class Asked(Protocol):
        """The agent at the other end."""

        def answered(self) -> None:
            """It is up."""

        def failure(self, why: str) -> Exception:
            """What to raise for an agent that is of no use."""

        def leave(self) -> None:
            """One line less; with the last one it ends."""


__all__: list[str] = []

# Seconds within which an agent has to answer.
START_LIMIT = 30.0
ENDED = "ended"
_READ = 256 << 10
# Wait and try again; ETOOMANYREFS: the agent has not taken the descriptors that are under way.
_FULL = (errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)


class AgentLost(Exception):
    """The agent has ended, and its workers with it; a new `open_control` starts another."""


def send_fds(sock: socket, data: bytes | memoryview, fds: Sequence[int]) -> int:
    """Send what fits, with descriptors; how many bytes that were."""
    rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds))] if fds else []
    return sock.sendmsg([data], rights, MSG_NOSIGNAL)


class Control:
    """One owner's line to its agent; never blocks. Not thread-safe: its pool's lock guards it."""

    def __init__(self, sock: socket, agent: Asked | None) -> None:
        self._socket, self._agent = sock, agent
        self._decoder = Decoder()
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self._deadline = time.monotonic() + START_LIMIT
        self._heard = self._torn = False

    def fileno(self) -> int:
        """The descriptor to wait on; -1 when closed."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something waits for the socket to be writable; then call `flush`."""
        return bool(self._queue)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send, or queue what doesn't fit. `fds` go over to the agent: they are closed here once sent."""
        self._queue.append((memoryview(b"".join(encode(message))), list(fds)))
        self.flush()

    def flush(self) -> bool:
        """Send what can be sent; whether all has been. A lost agent shows in `receive`, not here."""
        while self._queue:
            data, fds = self._queue[0]
            self._torn = True
            try:
                sent = send_fds(self._socket, data, fds)
            except OSError as error:
                self._torn = False
                if error.errno not in _FULL:
                    self._drop_queue()
                return not self._queue
            self._queue[0] = (data[sent:], [])
            if sent == len(data):
                self._queue.popleft()
            self._torn = False
            close_all(fds)
        return True

    def receive(self) -> list[Message]:
        """The messages that have come; `AgentLost` or `LauncherUnavailable` when none ever will."""
        if self._torn:
            # An exception out of a signal handler left it unknown what has been sent or received.
            raise AgentLost("an interrupt tore a message")
        self._torn = True
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            self._torn = False
            if not self._heard and time.monotonic() > self._deadline:
                self.expire()
            return []
        except OSError:
            data = b""
        if not data:
            self._torn = False
            self.expire(ENDED)
        messages = self._decoder.feed(data)
        self._torn = False
        if not self._heard:
            self._heard = True
            if self._agent is not None:
                self._agent.answered()
        return messages

    def expire(self, why: str = f"gave no answer within {START_LIMIT:.0f} s") -> NoReturn:
        """Raise `AgentLost`, or `LauncherUnavailable` if the agent has never answered."""
        if self._agent is None:
            raise AgentLost(why)
        raise self._agent.failure(why)

    def close(self) -> None:
        """Close the line, which ends the workers; the agent of the last line ends too and is reaped."""
        if self._socket.fileno() < 0:
            return
        self._drop_queue()
        self._socket.close()
        if self._agent is not None:
            self._agent.leave()

    def _drop_queue(self) -> None:
        while self._queue:
            close_all(self._queue.popleft()[1])

    def abandon(self) -> None:
        """Close the descriptors and nothing else."""
        self._drop_queue()
        self._socket.close()
