"""Where an owner gets its workers from: starts the agent of this process, or uses the one it lives under."""

from __future__ import annotations

import os
import threading
import weakref

# The C module: `socket` itself takes 2 ms to import, on the way to the first result.
from _socket import AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM, socket, socketpair
from collections.abc import Mapping

from anypool import _linux
from anypool._control import ENDED, START_LIMIT, AgentLost, Control, send_fds
from anypool._linux import readable
from anypool._start import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

__all__: list[str] = []

_END_LIMIT = 5.0
# An agent that is killed before it can be spoken to is started again so often.
_MOST_STARTS = 3
_ENTRY = "anypool._worker"
_EXEC_NAMES = ("PYTHON", "LD_", "MALLOC_", "GLIBC_TUNABLES")

# What acts when a process starts: pools that differ in it can't share an agent.
_Key = frozenset[tuple[str, str]]


def _key_of(env: Mapping[str, str]) -> _Key:
    return frozenset((name, value) for name, value in env.items() if name.startswith(_EXEC_NAMES))


class _Agent:
    """A started agent: its door, its process, and how many controls use it."""

    def __init__(self, env: Mapping[str, str], entry: str) -> None:
        self.users = 0
        self.heard = self.dead = False
        self.pid, self.pidfd, self._errors = -1, -1, -1
        self._killed = False
        try:
            self.door, far = socketpair(AF_UNIX, SOCK_SEQPACKET)
        except OSError as error:
            raise _unavailable(f"its agent can't be started: {error.strerror}") from error
        self.door.settimeout(START_LIMIT)
        try:
            self._errors = _linux.new_segment("errors")
            self.pid = spawn(far.fileno(), self._errors, env, entry)
            self.pidfd = _linux.open_process(self.pid)
        except ProcessLookupError:
            pass  # It has ended already and somebody else reaped it; its door says so.
        except OSError as error:
            self.end()
            self.abandon()
            raise _unavailable(f"its agent can't be started: {error.strerror or error}") from error
        finally:
            far.close()

    def failure(self, why: str) -> Exception:
        """What to raise for an agent that is of no use: if it never answered, none will, unless somebody killed it."""
        with _lock:
            return self._failure(why)

    def _failure(self, why: str) -> Exception:
        self.dead = True
        if self.heard or self._killed:
            return AgentLost(why)
        status = self.end()
        if why == ENDED and status is not None and os.WIFSIGNALED(status):
            self._killed = True
            return AgentLost(why)
        shown = os.pread(self._errors, 1 << 16, 0) if self._errors >= 0 else b""
        code = "unknown" if status is None else os.waitstatus_to_exitcode(status)
        text = f"its agent {why} before it answered (exit code {code})\n{shown.decode(errors='replace')}"
        return _unavailable(text.rstrip())

    def answered(self) -> None:
        """The agent is up; what it wrote while it started is of no interest any more."""
        if not self.heard:
            self.heard = True
            os.close(self._errors)
            self._errors = -1

    def leave(self) -> None:
        """One control less uses it; with the last one it ends and is reaped."""
        with _lock:
            self.users -= 1
            if self.users:
                return
            for key in [key for key, known in _agents.items() if known is self]:
                del _agents[key]
        self.end()
        self.abandon()

    def end(self) -> int | None:
        """Let the agent end and reap it; its wait status unless somebody else took it."""
        self.door.close()
        if self.pid < 0:
            return None
        pid, self.pid = self.pid, -1
        try:
            if self.pidfd < 0:
                os.kill(pid, signal.SIGKILL)
            elif not readable(self.pidfd, _END_LIMIT):
                os.kill(pid, signal.SIGKILL)
                readable(self.pidfd, _END_LIMIT)
            reaped, status = os.waitpid(pid, os.WNOHANG if self.pidfd >= 0 else 0)
        except (ChildProcessError, ProcessLookupError):
            return None  # SIGCHLD is ignored, or user code waits for any child.
        finally:
            self._close_pidfd()
        return status if reaped else None

    def _close_pidfd(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def abandon(self) -> None:
        """Close the descriptors and nothing else."""
        self.door.close()
        self._close_pidfd()
        if self._errors >= 0:
            os.close(self._errors)
            self._errors = -1


def _unavailable(reason: str) -> Exception:
    from anypool._errors import LauncherUnavailable

    return LauncherUnavailable(f"launcher 'process' can't run here: {reason}")


_lock = threading.RLock()
_agents: dict[tuple[_Key, str], _Agent] = {}
_controls: weakref.WeakSet[Control] = weakref.WeakSet()
_door: socket | None = None
_door_key: _Key = frozenset()


def adopt(door: int) -> None:
    """In a worker, after its environment is set: its own pools ask the agent behind this descriptor."""
    global _door, _door_key
    _door = socket(fileno=door)
    _door.settimeout(START_LIMIT)
    _door_key = _key_of(os.environ)


def inside() -> bool:
    """Whether this process is a worker of an agent."""
    return _door is not None


def open_control(env: Mapping[str, str] | None = None, entry: str = _ENTRY) -> Control:
    """A new control socket to this process' agent, which is started if there is none.

    `env` is the environment of the workers to come, by default this process'. Returns before the agent
    answers; if it never does, `Control.receive` raises `LauncherUnavailable`.
    """
    reason = _linux.supported()
    if reason is not None:
        raise _unavailable(reason)
    env = os.environ if env is None else env
    key = _key_of(env)
    with _lock:
        if _door is not None and key == _door_key:
            return _control(_door, None)
        agent = _agents.get((key, entry))
        if agent is not None and not agent.dead:
            try:
                return _control(agent.door, agent)
            except ConnectionError:
                agent.dead = True
        for _ in range(_MOST_STARTS):
            try:
                return _started(env, key, entry)
            except AgentLost:
                continue
        raise _unavailable(f"its agent was killed {_MOST_STARTS} times while it started")


def _started(env: Mapping[str, str], key: _Key, entry: str) -> Control:
    agent = _agents[key, entry] = _Agent(env, entry)
    try:
        return _control(agent.door, agent)
    except ConnectionError as error:
        failure = agent.failure(ENDED)
        agent.abandon()
        raise failure from error
    except BaseException:
        del _agents[key, entry]
        agent.end()
        agent.abandon()
        raise


def _control(door: socket, agent: _Agent | None) -> Control:
    control = Control(_knock(door), agent)
    if agent is not None:
        agent.users += 1
    _controls.add(control)
    return control


class Ahead:
    """Has this process' agent started while the body prepares to use it; it ends if nothing does."""

    def __enter__(self) -> None:
        self._key = _key_of(os.environ), _ENTRY
        self._agent = None
        with _lock:
            if _door is None and self._key not in _agents and _linux.supported() is None:
                self._agent = _agents[self._key] = _Agent(os.environ, _ENTRY)

    def __exit__(self, *_: object) -> None:
        agent = self._agent
        if agent is not None:
            with _lock:
                unused = not agent.users and _agents.get(self._key) is agent
                if unused:
                    del _agents[self._key]
            if unused:
                agent.end()
                agent.abandon()


def _knock(door: socket) -> socket:
    """Hand the agent one end of a socket pair, and a pidfd by which it sees this process end."""
    me = -1
    try:
        me = _linux.open_process(os.getpid())
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        try:
            send_fds(door, b"O", [theirs.fileno(), me])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
    except ConnectionError:
        raise
    except OSError as error:
        raise _unavailable(f"its agent can't be reached: {error.strerror or error}") from error
    finally:
        if me >= 0:
            os.close(me)
    ours.setblocking(False)
    return ours


def _forget_in_fork() -> None:
    """In a forked child: close what belongs to the parent; its agent doesn't serve this process."""
    global _lock, _door
    _lock = threading.RLock()
    for control in list(_controls):
        control.abandon()
    for agent in _agents.values():
        agent.abandon()
    _controls.clear()
    _agents.clear()
    if _door is not None:
        _door.close()
        _door = None


os.register_at_fork(after_in_child=_forget_in_fork)
