"""What users of dill know it for: its settings, sessions, source, trace.

Nothing else in the package depends on it. Importing this module does not import dill; calling any of its
functions does, and leaves the standard `pickle` module as it was.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ._atomic import replacing
from ._errors import AnypoolError
from ._islands import import_dill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

__all__ = ["FileMode", "dumps", "importable", "loads", "restore_session", "save_session", "source", "trace"]


def __dir__() -> list[str]:
    return __all__


FileMode = Literal["handle", "contents", "file"]

_FILE_MODES = {"handle": 0, "contents": 1, "file": 2}


def dumps(
    obj: object, *, byref: bool = False, recurse: bool = True, fmode: FileMode = "handle", protocol: int = 5
) -> bytes:
    """Serialize with dill alone; dill's settings are arguments here and its global ones do not count.

    Args:
        obj: Anything.
        byref: Classes of `__main__` by reference, as pickle does.
        recurse: Only the globals that a function refers to; without it, functions of `__main__` lose theirs.
        fmode: What an open file becomes: "handle" opens its name in its mode again (so "w" empties it),
            "contents" opens it where it stood, without emptying it, "file" carries what it holds.
        protocol: Of the pickle.

    Raises whatever dill raises. Slower than `anypool_serialize.dumps`, and classes have a new identity
    on arrival.
    """
    if fmode not in _FILE_MODES:
        raise ValueError(f"fmode is {fmode!r}; it must be one of {', '.join(map(repr, _FILE_MODES))}")
    data: bytes = import_dill().dumps(obj, protocol, byref=byref, fmode=_FILE_MODES[fmode], recurse=recurse)
    return data


def loads(data: bytes, *, ignore: bool = True) -> Any:
    """The object of `dumps`; `ignore=False` gives it the class of that name in `__main__`, as dill does."""
    return import_dill().loads(data, ignore=ignore)


def save_session(
    path: str | os.PathLike[str], module: ModuleType | str | None = None, *, refimported: bool = True
) -> None:
    """Write the state of a module (`__main__` by default) to a file that only you can read.

    The file appears whole or not at all; a symbolic link at `path` is replaced, not followed. What the module
    imported is imported again by `restore_session`; with `refimported=False` it is copied, as dill does by
    default, your own modules with all their state. Raises whatever dill raises for what it cannot carry, and
    leaves an older file as it was.
    """
    dill = import_dill()
    with replacing(path, 0o600) as file:
        dill.dump_module(file, module=module, refimported=refimported)


def restore_session(path: str | os.PathLike[str], module: ModuleType | str | None = None) -> ModuleType | None:
    """Read what `save_session` wrote into the module it was taken from; returns it if it was made anew.

    Loading runs code, so the file must be yours (or root's) and nobody else may be able to write it;
    AnypoolError otherwise, and for a symbolic link.
    """
    dill = import_dill()
    with open(_open_private(path), "rb") as file:
        restored: ModuleType | None = dill.load_module(file, module=module)
    return restored


def _open_private(path: str | os.PathLike[str]) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        if os.path.islink(path):
            raise AnypoolError(f"{os.fspath(path)}: a symbolic link; give the file it leads to") from error
        raise
    status = os.fstat(descriptor)
    foreign = hasattr(os, "getuid") and status.st_uid not in (0, os.getuid())
    if foreign or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        os.close(descriptor)
        whose = "belongs to another user" if foreign else "can be written by others"
        raise AnypoolError(f"{os.fspath(path)}: {whose}; loading a session runs what is in it, so make it yours alone")
    return descriptor


def source(obj: object) -> str:
    """The source text of a function, class, method or module, also of one typed into an interpreter.

    OSError if there is none.
    """
    text: str = import_dill().source.getsource(obj)
    return text


def importable(obj: object, *, alias: str = "") -> str:
    """Python text that makes `obj` elsewhere: an import where there is one to write, else its source."""
    text: str = import_dill().source.importable(obj, alias=alias)
    return text


@contextmanager
def trace(file: TextIO | str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Within the block, dill draws the tree of what it pickles, with sizes.

    To `file`, standard error by default. It shows what dill does: `tools.dumps`, and the single objects
    for which `anypool_serialize.dumps` asks dill.
    """
    with import_dill().detect.trace(file, mode="w"):
        yield
