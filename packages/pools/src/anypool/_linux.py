"""Every call that only Linux has, so that one module says what a port would need."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
import sys
from collections.abc import Callable, Iterable

__all__: list[str] = []

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_MADV_HUGEPAGE = 14
_MADV_POPULATE_WRITE = 23
_MAP_NORESERVE = 0x4000
_PAGE = os.sysconf("SC_PAGE_SIZE")
# glibc never keeps a freed block of this size for the next one.
_FRESH = 32 << 20
_SEALS = ("F_SEAL_SEAL", "F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_WRITE")

_prctl: Callable[..., int] | None = None


def supported() -> str | None:
    """Why worker processes can't be run here by an agent, or None if they can."""
    if not sys.platform.startswith("linux"):
        return f"it needs Linux, this is {sys.platform}"
    if not sys.executable:
        return "sys.executable is empty, so no interpreter can be started"
    for name in ("pidfd_open", "memfd_create", "posix_spawn"):
        if not hasattr(os, name):
            return f"this Python was built without os.{name}"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        old = error.errno in {errno.ENOSYS, errno.EPERM}
        return f"pidfd_open: {error.strerror}" + "; it needs Linux 5.3 and a sandbox that allows it" * old
    if not os.path.exists("/proc/self/stat"):
        return "/proc is not mounted"
    return None


def load_prctl() -> None:
    """Import ctypes now: once in the agent, instead of in each worker after its fork."""
    global _prctl
    if _prctl is None:
        import ctypes

        _prctl = ctypes.CDLL(None, use_errno=True).prctl


def _call_prctl(option: int, argument: int | bytes) -> None:
    load_prctl()
    assert _prctl is not None
    if _prctl(option, argument, 0, 0, 0) != 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send `signal` when the *thread* that forked this process ends."""
    _call_prctl(_PR_SET_PDEATHSIG, signal)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's."""
    _call_prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """Name the calling thread, at most 15 bytes; forked children inherit the name, an exec resets it."""
    _call_prctl(_PR_SET_NAME, name.encode()[:15])


def name_of(pid: int) -> str:
    """The name of a process' first thread, or "" when it is gone."""
    return _read(f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")


def start_environment(pid: int) -> list[bytes]:
    """The `NAME=value` entries a process got at its last exec; empty when it is gone or not ours to read."""
    return _read(f"/proc/{pid}/environ").split(b"\0")


def children(pid: int) -> list[int]:
    """The children of a process, by any of its threads; empty when it is gone or the kernel doesn't tell."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def private_memory(pid: int) -> int:
    """Resident bytes of a process that it shares with no file or segment; 0 when it is gone.

    Pages of mapped segments don't count: several workers look at one copy of them.
    """
    fields = _read(f"/proc/{pid}/statm").split()
    return max(0, int(fields[1]) - int(fields[2])) * _PAGE if len(fields) > 2 else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall() or b""
    except OSError:
        return b""


def open_process(pid: int) -> int:
    """A descriptor that is readable once the process has ended, and never means another of the same number."""
    return os.pidfd_open(pid)


def new_event() -> int:
    """A descriptor that `set_event` makes readable until `clear_event`; any number of either count as one."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def set_event(fd: int) -> None:
    """Make an event readable; may be called in any thread and in signal handlers."""
    os.eventfd_write(fd, 1)


def clear_event(fd: int) -> None:
    """Make an event unreadable; `BlockingIOError` if it was not set."""
    os.eventfd_read(fd)


def new_segment(name: str) -> int:
    """A descriptor of anonymous memory that may be sealed; it has no name that others could open."""
    return os.memfd_create(f"anypool-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def reserve(fd: int, offset: int, size: int) -> None:
    """Take space before it is touched: touching what can't be had is a SIGBUS, this is an `OSError`."""
    os.posix_fallocate(fd, offset, size)


def open_of(pid: int, fd: int, flags: int) -> int:
    """A descriptor of one's own for what another process of this user has open; `OSError` if it is gone."""
    return os.open(f"/proc/{pid}/fd/{fd}", flags | os.O_CLOEXEC)


def populate(window: mmap.mmap, start: int, size: int) -> None:
    """Have the pages there, in one call instead of a fault for each; nothing before Linux 5.14."""
    try:
        window.madvise(_MADV_POPULATE_WRITE, start, size)
    except (OSError, ValueError):
        pass


def give_back(window: mmap.mmap, start: int, size: int) -> None:
    """Return the memory of a part of a segment to the system."""
    window.madvise(mmap.MADV_REMOVE, start, size)


def map_private(fd: int, length: int, offset: int) -> mmap.mmap:
    """A writable mapping whose changes stay in this process and are not paid for in advance."""
    return mmap.mmap(fd, length, mmap.MAP_PRIVATE | _MAP_NORESERVE, offset=offset)


def map_readonly(fd: int, length: int, offset: int) -> mmap.mmap:
    """A mapping that nobody can write to; private, for before Linux 6.7 a sealed segment can't be mapped otherwise."""
    return mmap.mmap(fd, length, mmap.MAP_PRIVATE | _MAP_NORESERVE, mmap.PROT_READ, offset=offset)


def umask() -> int | None:
    """This process' file mode mask; asking `os.umask` means changing it for a moment, under other threads' feet."""
    lines = _read("/proc/self/status").splitlines()
    return next((int(line.split()[1], 8) for line in lines if line.startswith(b"Umask")), None)


def seal(fd: int) -> None:
    """Make a segment read-only for everybody, for ever; fails while it is mapped shared and writable."""
    seals = 0
    for name in _SEALS:
        seals |= getattr(fcntl, name)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def set_pipe_size(fd: int, size: int) -> None:
    """Ask for a pipe of `size` bytes; ignored where the user's quota of pipe pages is used up."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:
        pass


def private_copy(data: memoryview) -> memoryview:
    """A writable copy, on huge pages if it is so big that the allocator would take fresh ones every time."""
    if len(data) < _FRESH:
        return memoryview(bytearray(data))
    private = mmap.mmap(-1, len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        private.madvise(_MADV_HUGEPAGE)
    except OSError:
        pass
    copy = memoryview(private)
    copy[:] = data
    return copy


def readable(fd: int, seconds: float) -> bool:
    """Whether it can be read, or has hung up, within so many seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that nobody will use."""
    for fd in fds:
        os.close(fd)
