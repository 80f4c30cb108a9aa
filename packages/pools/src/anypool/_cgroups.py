"""What control groups leave of a machine, of both versions: the lowest limit from a group up to where it is mounted."""

from __future__ import annotations

import os

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # A controller, by its name or "" for all of version 2, to the places where it is mounted: which group, and where.
    _Mounts = dict[str, list[tuple[str, str]]]
    # The name of a limit, its number of CPUs or None, who said so or why nothing is said, and whether that is garbage.
    Told = tuple[str, "float | None", str, bool]

__all__: list[str] = []

# More than any machine has; a larger number has gone wrong, and can't be reckoned with.
MOST_CPUS = 1 << 31
_MOST_MICROSECONDS = 1 << 63

_here: _Mounts | None = None


def limits(root: str = "") -> list[Told]:
    """What each kind of limit says of this process; `root` is a folder with a `proc` and a `sys` of another machine."""
    groups = groups_of(root)
    mounts = _mounts_of_this_system() if not root else _mounts(root)
    return [_lowest(kind, groups.get(kind[1]), mounts, root) for kind in _KINDS]


def memory_limit(root: str = "") -> tuple[float, str] | None:
    """The lowest limit of memory, in bytes, and who set it; None if there is none."""
    groups, mounts = groups_of(root), _mounts(root)
    told = [_lowest(kind, groups.get(kind[1]), mounts, root) for kind in _MEMORY]
    return min(((number, note) for _, number, note, _ in told if number is not None), default=None)


def read(path: str) -> str | None:
    """A small file of the kernel's; None if it isn't there or may not be read."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        found = b""
        while piece := os.read(file, 1 << 16):
            found += piece
    except OSError:
        return None
    finally:
        os.close(file)
    return found.decode(errors="replace")


def groups_of(root: str = "") -> dict[str, str]:
    """The group that this process is in, for each controller; "" stands for version 2."""
    found = {}
    for line in (read(f"{root}/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _mounts_of_this_system() -> _Mounts:
    # Read once: it may be long, and where things are mounted doesn't change under a process.
    global _here
    if _here is None:
        _here = _mounts("")
    return _here


def _mounts(root: str) -> _Mounts:
    found: _Mounts = {}
    for line in (read(f"{root}/proc/self/mountinfo") or "").splitlines():
        before, separator, after = line.partition(" - cgroup")
        if not separator:
            continue
        fields, (version, *more) = before.split(" "), after.split(" ")
        if len(fields) < 5 or not more:
            continue
        controllers = [""] if version == "2" else more[-1].split(",")
        for controller in controllers:
            found.setdefault(controller, []).append((_unescaped(fields[3]), _unescaped(fields[4])))
    return found


def _unescaped(path: str) -> str:
    return path.encode("latin-1", "replace").decode("unicode_escape") if "\\" in path else path


def _lowest(kind: _Kind, group: str | None, mounts: _Mounts, root: str) -> Told:
    name, controller, said = kind
    places = mounts.get(controller)
    if group is None:
        return name, None, "this process is in no such group", False
    if not places:
        return name, None, "it is not mounted here", False
    lowest, note, wrong = None, f"{root}{places[-1][1]} sets none for {group}", False
    for folder in _folders(group, places, root):
        try:
            told = said(folder)
        except ValueError as error:
            if lowest is None:
                note, wrong = f"ignored: {error}", True
            continue
        if told is not None and (lowest is None or told[0] < lowest):
            (lowest, note), wrong = told, False
    return name, lowest, note, wrong


def _folders(group: str, places: list[tuple[str, str]], root: str) -> Iterator[str]:
    """The folders of a group and of those above it, as far as they can be seen here."""
    inner, point = "", places[-1][1]
    for top, place in reversed(places):
        above = top.rstrip("/")
        if group == above or group.startswith(f"{above}/"):
            # A group outside of the namespace is shown as "/../other", and can't be found below.
            inner, point = "" if ".." in group else group[len(above) :].strip("/"), place
            break
    while inner:
        yield f"{root}{point}/{inner}"
        inner = inner.rpartition("/")[0]
    yield f"{root}{point}"


def _quota_of_two(folder: str) -> tuple[float, str] | None:
    return _quota(f"{folder}/cpu.max", *_words(f"{folder}/cpu.max", 2))


def _quota_of_one(folder: str) -> tuple[float, str] | None:
    path = f"{folder}/cpu.cfs_quota_us"
    return _quota(path, *_words(path, 1), *_words(f"{folder}/cpu.cfs_period_us", 1))


def _words(path: str, most: int) -> list[str]:
    return (read(path) or "").split()[:most]


def _quota(path: str, *numbers: str) -> tuple[float, str] | None:
    """Microseconds of CPU in a period of so many."""
    if not numbers or numbers[0] in ("max", "-1"):
        return None
    try:
        quota, period = map(int, numbers)
    except ValueError:
        quota = period = 0
    if not (0 < quota < _MOST_MICROSECONDS and 0 < period < _MOST_MICROSECONDS):
        raise ValueError(f"{path} has {' '.join(numbers)[:80]!r}, expected a quota and a period in microseconds")
    return quota / period, f"{path}: {quota} of {period} us"


def _set_of_two(folder: str) -> tuple[float, str] | None:
    return _set(f"{folder}/cpuset.cpus.effective")


def _set_of_one(folder: str) -> tuple[float, str] | None:
    return _set(f"{folder}/cpuset.effective_cpus") or _set(f"{folder}/cpuset.cpus")


def _set(path: str) -> tuple[float, str] | None:
    """How many CPUs a list such as `0-3,8` has."""
    text = (read(path) or "").strip()
    if not text:
        return None
    number = 0
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            number += int(last if dash else first) - int(first) + 1
    except ValueError:
        number = 0
    if not 1 <= number < MOST_CPUS:
        raise ValueError(f"{path} has {text[:80]!r}, expected a list of CPUs such as 0-3,8")
    return number, f"{path}: {text}"


def _memory_of_two(folder: str) -> tuple[float, str] | None:
    return _bytes(f"{folder}/memory.max")


def _memory_of_one(folder: str) -> tuple[float, str] | None:
    return _bytes(f"{folder}/memory.limit_in_bytes")


def _bytes(path: str) -> tuple[float, str] | None:
    text = (read(path) or "").strip()
    # Without a limit version 1 says the largest number of pages.
    return (int(text), path) if text.isdecimal() and int(text) < 1 << 60 else None


if TYPE_CHECKING:
    _Kind = tuple[str, str, Callable[[str], "tuple[float, str] | None"]]

_KINDS: tuple[_Kind, ...] = (
    ("cgroup v2 quota", "", _quota_of_two),
    ("cgroup v2 cpuset", "", _set_of_two),
    ("cgroup v1 quota", "cpu", _quota_of_one),
    ("cgroup v1 cpuset", "cpuset", _set_of_one),
)
_MEMORY: tuple[_Kind, ...] = (("memory", "", _memory_of_two), ("memory", "memory", _memory_of_one))
