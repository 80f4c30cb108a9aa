"""How an agent process is started: with which options, paths and descriptors."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping

# `typing`, `enum` and `signal`, which needs that, take as long to import as all else that comes before the spawn.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal

__all__: list[str] = []

_START = """\
import sys
sys.path[:] = sys.argv[3:]
from anypool._agent import main
main(3, 4, int(sys.argv[1]), sys.argv[2])
"""
_DEFAULT_SIGNALS = [number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP)]


def spawn(door: int, errors: int, env: Mapping[str, str], entry: str) -> int:
    """Start an agent behind `door`; its pid. Never forks this process, which may have threads."""
    # The descriptors are first moved out of the way of the numbers they get in the agent.
    high: list[int] = []
    try:
        for fd in (door, errors):
            high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 5))  # noqa: PERF401 - closed if one fails
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *_interpreter_flags(), "-c", _START, str(os.getpid()), entry, *_agent_path()],
            env,
            file_actions=_file_actions(*high),
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        for fd in high:
            os.close(fd)


def _file_actions(door: int, errors: int) -> list[tuple[Any, ...]]:
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    if not _is_open(1):
        actions.append((os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0))
    if _is_open(2):
        actions.append((os.POSIX_SPAWN_DUP2, 2, 4))
    else:
        actions.append((os.POSIX_SPAWN_OPEN, 4, os.devnull, os.O_WRONLY, 0))
    return [*actions, (os.POSIX_SPAWN_DUP2, errors, 2), (os.POSIX_SPAWN_DUP2, door, 3)]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _interpreter_flags() -> list[str]:
    """The options that this interpreter was started with and that a child should have too."""
    flags = sys.flags
    chosen = "O" * flags.optimize + "B" * flags.dont_write_bytecode + "S" * flags.no_site
    chosen += "b" * flags.bytes_warning + "v" * flags.verbose + "d" * flags.debug
    if flags.isolated:
        chosen += "I"
    else:
        chosen += "E" * flags.ignore_environment + "s" * flags.no_user_site + "P" * flags.safe_path
    options = [f"-{letter}" for letter in chosen]
    for warning in sys.warnoptions:
        options += ["-W", warning]
    for name, value in sys._xoptions.items():  # noqa: SLF001 - it has no other name
        options += ["-X", name if value is True else f"{name}={value}"]
    return options


def _agent_path() -> list[str]:
    """Where the agent imports from: nothing of the user's may stand in for a standard module there."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    known = [entry for entry in sys.path if os.path.isabs(entry)]
    standard = [entry for entry in known if is_standard(entry)]
    return list(dict.fromkeys([*standard, ours, *known]))


def is_standard(entry: str) -> bool:
    """Whether a folder of `sys.path` is the standard library's."""
    inside = os.path.normpath(entry)
    library = os.path.dirname(os.path.abspath(os.__file__))
    archive = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return inside == library or inside == os.path.join(library, "lib-dynload") or inside.endswith(archive)
