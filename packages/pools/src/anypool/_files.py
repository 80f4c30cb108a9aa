"""Finds configuration files, refuses those that others may have written, and reads them."""

from __future__ import annotations

import os
import stat
import sys

# As in `_wire`: a pool that no file speaks for is opened without what is imported below.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__: list[str] = []

NAME = "anypool.toml"
PROJECT = "pyproject.toml"
# What the top folder of a project holds.
_ROOT_HAS = (".git", ".hg")
# More than anybody writes by hand.
_MOST_BYTES = 1 << 20
_ACL = "system.posix_acl_access"
_LINUX = sys.platform.startswith("linux")


class File:
    """A configuration file: its path, what stands before its keys when they are named, and its table."""

    __slots__ = ("path", "prefix", "table")

    def __init__(self, path: str, prefix: str, table: dict[str, Any]) -> None:
        self.path, self.prefix, self.table = path, prefix, table


def files() -> list[File]:
    """The files that count here: the project's, if there is one, then the user's.

    Raises `PlanError` for one that others may write to, that can't be read, or that is no TOML.
    """
    return [file for file in (in_project(), of_user()) if file is not None]


def mention(word: bytes) -> bool:
    """Whether any file that may count here has this word: to parse them takes as long as starting a worker."""
    try:
        folders = upwards(os.getcwd())
    except OSError:
        folders = []
    paths = [os.path.join(folder, name) for folder in folders for name in (NAME, PROJECT)]
    return any((found := _read(path, ours=False)) and word in found[0] for path in (*paths, user_file()))


def in_project() -> File | None:
    """The nearest file from the working folder upwards, as far as the project's root.

    That is the folder with `.git` or `.hg`, or else the user's home. The search never goes above either, nor into a
    folder such as `/tmp` that everybody may write to.
    """
    try:
        here = os.getcwd()
    except OSError:
        return None
    for folder in upwards(here):
        if (file := _in(folder)) is not None:
            return file
    return None


def upwards(folder: str) -> list[str]:
    """The folders that are looked into, from this one on."""
    home, found = os.path.realpath(os.path.expanduser("~")), [folder]
    while folder != home and not any(os.path.exists(os.path.join(folder, name)) for name in _ROOT_HAS):
        above = os.path.dirname(folder)
        try:
            if above == folder or os.stat(above).st_mode & stat.S_IWOTH:
                break
        except OSError:
            break
        folder = above
        found.append(folder)
    return found


def user_file() -> str:
    """Where the user's own configuration is, whether there is one or not."""
    if _LINUX:
        # What platformdirs says, a test holds both equal; importing it takes longer than looking.
        base = os.environ.get("XDG_CONFIG_HOME", "").strip() or os.path.expanduser("~/.config")
        return os.path.join(base, "anypool", NAME)
    from platformdirs import user_config_dir

    return os.path.join(user_config_dir("anypool"), NAME)


def of_user() -> File | None:
    """The user's own file."""
    path = user_file()
    return _own(path) if os.path.isabs(path) else None


def _in(folder: str) -> File | None:
    """The file of a folder. One that has both of them means `anypool.toml`."""
    return _own(os.path.join(folder, NAME)) or _part(os.path.join(folder, PROJECT))


def _own(path: str) -> File | None:
    found = _read(path, ours=True)
    if found is None:
        return None
    data, status = found
    _refuse_strangers(path, status)
    return File(path, "", _parsed(path, data))


def _part(path: str) -> File | None:
    found = _read(path, ours=False)
    if found is None or not _may_speak(found[0]):
        return None
    data, status = found
    tools = _parsed(path, data).get("tool")
    if not isinstance(tools, dict) or "anypool" not in tools:
        return None
    _refuse_strangers(path, status)
    table = tools["anypool"]
    if not isinstance(table, dict):
        raise _error(f"{path}: tool.anypool: expected a table, got {table!r}")
    return File(path, "tool.anypool.", table)


def _may_speak(data: bytes) -> bool:
    """Whether a project's file may have a table for us; parsing it costs milliseconds."""
    if b"anypool" not in data:
        return False
    starts = (line.lstrip(b" \t[\"'") for line in data.splitlines() if b"anypool" in line)
    return any(start.startswith((b"tool", b"anypool")) for start in starts)


def _read(path: str, *, ours: bool) -> tuple[bytes, os.stat_result] | None:
    """What a file holds and whose it is; None if there is none, or if it can't be read and is not `ours`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        # Also of a folder that can't be looked into it is not known that it has one; a link that leads nowhere is one.
        if not ours or not os.path.lexists(path):
            return None
        raise _error(f"{path} can't be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            if ours:
                raise _error(f"{path}: expected a file, got something else of this name")
            return None
        data = b""
        while len(data) <= _MOST_BYTES and (more := os.read(descriptor, _MOST_BYTES)):
            data += more
    finally:
        os.close(descriptor)
    if len(data) <= _MOST_BYTES:
        return data, status
    if ours:
        raise _error(f"{path}: expected a configuration of at most {_MOST_BYTES >> 20} MiB")
    return None


def _refuse_strangers(path: str, status: os.stat_result) -> None:
    folders = {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}
    for place, found in [(path, status), *((folder, os.stat(folder)) for folder in sorted(folders))]:
        why = _strangers(place, found)
        if why is not None:
            raise _error(
                f"{path} doesn't count: {place} {why}. What it says can run programs, so it and its folder have to "
                "belong to you or root, and nobody else may write there"
            )


def _strangers(place: str, status: os.stat_result) -> str | None:
    """Who else may write to a place, and what mends it; None if nobody may."""
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid not in (os.geteuid(), 0):
        return f"belongs to user {status.st_uid}"
    if status.st_mode & stat.S_IWOTH:
        return f"may be written by everybody (chmod o-w {place})"
    if status.st_mode & stat.S_IWGRP and not _is_private(place, status):
        return f"may be written by its group (chmod g-w {place})"
    return None


def _is_private(place: str, status: os.stat_result) -> bool:
    """Whether a group is only for the owner, as many systems make one for each user, and no list names others."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
        listed = hasattr(os, "listxattr") and _ACL in os.listxattr(place)
    except (KeyError, OSError):
        return False
    alone = not set(group.gr_mem) - {user.pw_name}
    return user.pw_gid == group.gr_gid and user.pw_name == group.gr_name and alone and not listed


def _parsed(path: str, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _error(f"{path}: line {line}: expected UTF-8, got byte {data[error.start]:#04x}") from error
    except (ValueError, RecursionError) as error:  # a number of too many digits, or too many brackets
        raise _error(f"{path}: {error}") from error


def _error(text: str) -> Exception:
    from anypool._errors import PlanError

    return PlanError(text)
