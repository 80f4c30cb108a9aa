"""What the entry points of installed distributions say, without an import of theirs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, metadata

from anypool._errors import LauncherNotFound, LauncherUnavailable
from anypool._select import BUILT_IN

__all__: list[str] = []

GROUP = "anypool"
# A distribution may state the contract that its launchers were written for where it can be read before they are
# imported: as the name of an entry point in this group, `1 = "its_module"`.
API_GROUP = "anypool.api"
# Extras that install no launcher of their name.
_NO_LAUNCHERS = {"all", "ppft", "rich", "testing"}


def found_points(name: str | None = None) -> list[EntryPoint]:
    """The entry points of this name, or all; the core's own are in the fast table, and left out."""
    points = entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    return [point for point in points if distribution(point) != "anypool"]


def the_point(name: str) -> EntryPoint:
    """The one entry point of a launcher; raises what `get_pool` raises where there is none, or more than one."""
    points = found_points(name)
    if not points:
        raise _unknown(name)
    if len(points) > 1:
        raise LauncherUnavailable(rivalry(points))
    return points[0]


def rivalry(points: Iterable[EntryPoint]) -> str:
    """That several distributions give a launcher of one name."""
    points = list(points)
    who = " and ".join(sorted(map(source, points)))
    return f"launcher {points[0].name!r} is given by {who}; uninstall all but one of them"


def distribution(point: EntryPoint) -> str:
    """The name of the distribution that an entry point is of."""
    return _said(point, "Name") or "an unknown distribution"


def version_of(point: EntryPoint) -> str:
    """The version of the distribution that an entry point is of."""
    return _said(point, "Version") or ""


def _said(point: EntryPoint, field: str) -> str | None:
    """What the metadata of an entry point's distribution say; a half removed one has none."""
    # Python 3.12 and later warn of asking for what is not there.
    return point.dist.metadata[field] if point.dist is not None and field in point.dist.metadata else None


def source(point: EntryPoint) -> str:
    """The distribution of an entry point and its version."""
    return f"{distribution(point)} {version_of(point)}".rstrip()


def stated_api(point: EntryPoint) -> int | None:
    """The contract that the distribution says its launchers were written for, if it says so."""
    stated = point.dist.entry_points.select(group=API_GROUP) if point.dist is not None else ()
    return next((int(each.name) for each in stated if each.name.isdecimal()), None)


def extras() -> list[str]:
    """The launchers that an extra of this distribution would install, by name."""
    try:
        given: Iterable[str] = metadata("anypool").get_all("Provides-Extra") or ()
    except PackageNotFoundError:
        given = ()
    return sorted(set(given) - _NO_LAUNCHERS)


def install_line(name: str) -> str:
    """What installs a launcher."""
    return f"pip install 'anypool[{name}]'"


def not_installed(name: str) -> str:
    """That an extra would install a launcher, and how."""
    return f"launcher {name!r} is not installed: {install_line(name)}"


def _unknown(name: str) -> Exception:
    if name in extras():
        return LauncherUnavailable(not_installed(name))
    known = sorted({*BUILT_IN, *(point.name for point in found_points())})
    close = difflib.get_close_matches(name, sorted({*known, *extras()}), 3)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return LauncherNotFound(f"no launcher {name!r} among {', '.join(known)}{hint}")
