"""The line from a pool to its agent: asks for workers and kills, hears of deaths, and of what workers print."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

from anypool import _linux
from anypool._agents import open_control
from anypool._channel import Channel
from anypool._control import AgentLost
from anypool._errors import LauncherUnavailable
from anypool._relayed import Relayed
from anypool._wire import IN_BAND, Kind, Message, Ref, control
from anypool_serialize import Unserializable, dumps

__all__: list[str] = []

_GRACE = 0.5
_BYE_SECONDS = 5.0


# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class Setting(NamedTuple):
        """What workers start with; `env` is added to the owner's environment, `memory` is a limit in bytes.

        `cpus` are each worker's own.
        """

        initializer: Callable[..., object] | None = None
        initargs: tuple[Any, ...] = ()
        env: Mapping[str, str] | None = None
        cwd: str | None = None
        memory: int | None = None
        cpus: float | None = None

else:
    Setting = namedtuple(
        "Setting",
        ("initializer", "initargs", "env", "cwd", "memory", "cpus"),
        defaults=(None, (), None, None, None, None),
    )


def packed_initializer(setting: Setting) -> list[bytes]:
    """What a worker runs before its first task, as the parts of a message. Raises `Unserializable`."""
    if setting.initializer is None:
        return []
    try:
        return [dumps((setting.initializer, setting.initargs), oob=IN_BAND, names=("initializer", "initargs")).header]
    except Unserializable as error:
        raise Unserializable(f"the initializer can't be sent to workers: {error}") from error


class Line:
    """A control socket; any thread may send, one at a time hears, and puts what is printed to what was `relayed`."""

    def __init__(self, epoll: select.epoll, setting: Setting, relayed: Relayed) -> None:
        self._epoll, self._setting, self._relayed = epoll, setting, relayed
        self._lock = threading.RLock()
        self._heard = False
        self._connect()

    def _connect(self) -> None:
        setting = self._setting
        environment = dict(os.environ)
        environment.update((_plain(name), _plain(value)) for name, value in (setting.env or {}).items())
        self._control = open_control(environment if setting.env else None)
        self._epoll.register(self._control.fileno(), select.EPOLLIN)
        self._heard = True
        setup = control(
            Kind.SETUP, sys_path=[_absolute(entry) for entry in sys.path], argv=[*map(_plain, sys.argv)],
            cwd=os.path.abspath(setting.cwd) if setting.cwd else _folder(), env=environment, umask=_linux.umask(),
            affinity=sorted(os.sched_getaffinity(0)), memory_limit=setting.memory,
            cpus=setting.cpus,
        )  # fmt: skip
        self._control.send(setup)

    def reconnect(self) -> None:
        """Start another agent in the place of one that was lost."""
        with self._lock:
            self.leave()
            self._control.close()
            self._connect()

    def leave(self) -> None:
        """Hear no more."""
        if self._heard:
            self._heard = False
            self._epoll.unregister(self._control.fileno())

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._control.fileno()

    def spawn(self, channel: Channel) -> None:
        """Ask for the worker at the other end of a channel, once."""
        if channel.theirs:
            fds, channel.theirs = channel.theirs, []
            self._send(Message(Kind.SPAWN, slot=channel.slot, seq=channel.incarnation), fds)

    def kill(self, channel: Channel) -> None:
        """Ask for the worker's end: SIGTERM, then SIGKILL to its process group."""
        message = control(Kind.KILL, channel.slot, grace=_GRACE)
        message.seq = channel.incarnation
        self._send(message)

    def _send(self, message: Message, fds: list[int] | None = None) -> None:
        with self._lock:
            self._control.send(message, fds or [])
            self._watch()

    def _watch(self) -> None:
        if self._heard:
            mask = select.EPOLLIN | (select.EPOLLOUT if self._control.pending else 0)
            self._epoll.modify(self._control.fileno(), mask)

    def hear(self, mask: int) -> list[Message]:
        """What the agent tells of workers; raises `AgentLost` or `LauncherUnavailable` when it is gone."""
        with self._lock:
            if mask & select.EPOLLOUT:
                self._control.flush()
                self._watch()
            messages = self._control.receive() if mask & ~select.EPOLLOUT else []
        for message in messages:
            if message.kind == Kind.RELAY:
                part = message.parts[0]
                assert not isinstance(part, Ref)
                self._relayed.put_output(message.slot, message.fields()["stream"], bytes(part))
        return [message for message in messages if message.kind not in (Kind.RELAY, Kind.WELCOME)]

    def expire(self) -> None:
        """Nothing was heard in time: raises `AgentLost`, or `LauncherUnavailable` for one that never answered."""
        with self._lock:
            self._control.expire()

    def say_bye(self, seconds: float, show: Callable[[], None]) -> None:
        """Have what is left of the workers ended, and hear the agent out; `show` hands on what is heard."""
        deadline = monotonic() + seconds
        try:
            self._send(control(Kind.BYE, grace=_BYE_SECONDS))
            while monotonic() < deadline:
                if any(message.kind == Kind.BYE for message in self.hear(select.EPOLLIN | select.EPOLLOUT)):
                    return
                show()
                self._epoll.poll(0.1)
        except (AgentLost, LauncherUnavailable):
            return
        finally:
            show()

    def close(self) -> None:
        """Close the socket, which ends the workers; the agent of the last line ends too."""
        self._control.close()


def cause_of(told: dict[str, Any]) -> str:
    """The words for a DIED message: the agent's reason, a signal or an exit code."""
    if told["reason"]:
        return str(told["reason"])
    if told["signal"] is not None:
        import signal

        try:
            name = signal.Signals(told["signal"]).name
        except ValueError:
            name = "unknown"
        hint = ", perhaps out of memory" if told["signal"] == signal.SIGKILL else ""
        return f"killed by signal {told['signal']} ({name}{hint})"
    return f"exited with code {told['exit']}"


def _plain(text: str) -> str:
    """Not an instance of a subclass, such as numpy's: a message takes none."""
    return str.__str__(text)


def _absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:
        return entry  # Relative to a folder that is gone.


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
