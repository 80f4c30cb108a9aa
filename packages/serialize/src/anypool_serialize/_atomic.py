"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """As `replacing`, keeping the mode of the file it replaces; a pipe or device is written to and stays what it is."""
    try:
        found = os.stat(path).st_mode
    except OSError:
        with replacing(path) as file:
            yield file
        return
    if not stat.S_ISREG(found):
        with open(path, "wb") as file:
            yield file
        return
    with replacing(path, found & 0o777) as file:
        if hasattr(os, "fchmod"):
            # The umask has taken from it.
            os.fchmod(file.fileno(), found & 0o777)
        yield file


@contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its place when the block ends, and vanishes if it raises.

    A symbolic link at `path` is replaced, never followed. `mode` is subject to the umask.
    """
    target = os.fspath(path)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.urandom(6).hex()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(temporary, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
