"""What a forked child of the agent does to become a worker, and how it ends."""

from __future__ import annotations

import atexit
import builtins
import gc
import itertools
import os
import sys
import time
import types
from collections.abc import Callable

from anypool import _agents, _linux
from anypool._context import become_worker
from anypool._start import is_standard
from anypool._threads import limit_new_libraries

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, NoReturn, TextIO
else:
    import _signal as signal

__all__: list[str] = []

MARK = "ANYPOOL_WORKER"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Born(BaseException):
    """Raised in the forked child to leave the agent's frames; carries what the child needs."""

    def __init__(self, birth: Birth) -> None:
        super().__init__()
        self.birth = birth


class Birth:
    """A worker between its fork and its first task."""

    __slots__ = ("agent", "common", "door", "files", "number", "reader", "setup", "stderr", "stdout", "writer")

    def __init__(
        self,
        agent: int,
        number: int,
        reader: int,
        writer: int,
        door: int,
        stdout: int,
        stderr: int,
        files: tuple[int, int] | None,
        setup: dict[str, Any],
        common: set[str],
    ) -> None:
        self.agent, self.number, self.reader, self.writer, self.door = agent, number, reader, writer, door
        self.stdout, self.stderr, self.files, self.setup = stdout, stderr, files, setup
        self.common = common

    def live(self, entry: str) -> NoReturn:
        """Run the worker's main function; never returns into the agent's code."""
        code = 1
        try:
            self._settle()
            worker = __import__(entry, fromlist=["main"])
            code = _run(lambda: worker.main(self.reader, self.writer))
        except BaseException:  # noqa: BLE001 - whatever it is, the frames below are the agent's
            _show_exception()
        finally:
            os._exit(code)

    def _settle(self) -> None:
        os.setsid()
        _linux.die_with_parent(signal.SIGKILL)
        if os.getppid() != self.agent:
            os._exit(1)
        os.dup2(self.stdout, 1)
        os.dup2(self.stderr, 2)
        keep_only({0, 1, 2, self.reader, self.writer, self.door})
        sys.stdout = _text(1, sys.stdout)
        sys.stderr = _text(2, sys.stderr)
        _default_signals()
        _linux.set_name(f"anypool:{self.number:x}")
        if self.files is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self.files)
        self._apply_setup()
        _agents.adopt(self.door)
        gc.enable()

    def _apply_setup(self) -> None:
        """Take over the owner's surroundings; a folder that can't be entered ends the worker."""
        setup = self.setup
        if setup.get("env") is not None:
            _set_environment(setup["env"])
        os.environ[MARK] = f"{self.agent}.{self.number}"
        become_worker(setup.get("cpus"))
        if setup.get("cpus") is not None:
            limit_new_libraries(setup["cpus"])
        if setup.get("umask") is not None:
            os.umask(setup["umask"])
        if setup.get("affinity"):
            try:
                os.sched_setaffinity(0, setup["affinity"])
            except OSError:
                pass  # CPUs may have been taken away since; where it runs is not what it computes.
        if setup.get("cwd") is not None:
            os.chdir(setup["cwd"])
        sys.path[:] = setup.get("sys_path") or sys.path
        if self.common:
            _forget_shadowed(self.common)
        sys.argv[:] = setup.get("argv") or [""]
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main


def _forget_shadowed(common: set[str]) -> None:
    """Let the worker import what its own path puts before the standard library, as the first workers do."""
    found: set[str] = set()
    for entry in itertools.takewhile(lambda entry: not is_standard(entry), sys.path):
        try:
            found.update(name.partition(".")[0] for name in os.listdir(entry))
        except NotADirectoryError:
            found |= common  # An archive; who knows what is in it.
        except OSError:
            continue
    for name in common:
        if name.partition(".")[0] in found:
            del sys.modules[name]


def _set_environment(wanted: dict[str, str]) -> None:
    """Change what differs from the agent's: each change is a call into the system's library."""
    current = dict(os.environ)
    for name in current.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if current.get(name) != value:
            os.environ[name] = value
    if current.get("TZ") != wanted.get("TZ"):
        time.tzset()


def keep_only(keep: set[int]) -> None:
    """Close every descriptor of this process that is not in `keep`."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # The descriptor that listed the folder.


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _text(fd: int, like: TextIO | None) -> TextIO:
    """A stream on a descriptor, written out line by line: a worker may be killed at any time."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    errors = "backslashreplace" if fd == 2 else getattr(like, "errors", None) or "strict"
    return open(fd, "w", buffering=1, encoding=encoding, errors=errors, closefd=False)


def _run(function: Callable[[], object]) -> int:
    """Call it, then what an interpreter does at its end; the exit code."""
    try:
        code = _code_of(function)
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 - os._exit skips them
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
    return code


def _code_of(function: Callable[[], object]) -> int:
    try:
        function()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        os.write(2, f"{end.code}\n".encode(errors="backslashreplace"))
        return 1
    except BaseException:  # noqa: BLE001 - as an interpreter does at its top level
        _show_exception()
        return 1
    return 0


def _show_exception() -> None:
    """Print the traceback by whatever still works: user code may have closed or replaced the stream."""
    import traceback

    text = traceback.format_exc()
    try:
        os.write(2, text.encode(errors="backslashreplace"))
    except OSError:
        pass
