"""Which launchers there are, of whom, and whether each can run here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import NamedTuple

from anypool._plugins import distribution, extras, found_points, install_line, source
from anypool._select import BUILT_IN, find

__all__: list[str] = []

# Seconds that a plugin may take to be imported and asked.
_LIMIT = 30.0
# Asked in an interpreter of its own: a plugin may initialise a library, start threads, or end its process.
_ASK = """\
import json, sys
from anypool._errors import AnypoolError
from anypool._plugins import plugins
try:
    why = plugins.launcher(sys.argv[1]).missing()
except AnypoolError as error:
    why = str(error)
print("\\n" + json.dumps(why))
"""


class Backend(NamedTuple):
    """One launcher: `name`, its `distribution` and that one's `version`, and `why` it can't run here, None if it can."""

    name: str
    distribution: str
    version: str
    why: str | None

    @property
    def runs(self) -> bool:
        """Whether it can run here."""
        return self.why is None


def backends() -> list[Backend]:
    """Every launcher that is installed, and those that an extra would install, in the order of their names.

    Imports no plugin: each is asked in an interpreter of its own, which takes about 0.2 s, and 30 s at most.
    """
    try:
        ours = version("anypool")
    except PackageNotFoundError:
        ours = "not installed"
    found = [Backend(name, "anypool", ours, find(name).missing()) for name in BUILT_IN]
    points = found_points()
    for point in points:
        rivals = [other for other in points if other.name == point.name and other is not point]
        found.append(Backend(point.name, distribution(point), _version(point), _why(point, rivals)))
    known = {backend.name for backend in found}
    found += [
        Backend(name, "", "", f"not installed: {install_line(name)}") for name in extras() if name not in known
    ]
    return sorted(found)


def _version(point: EntryPoint) -> str:
    return point.dist.version if point.dist is not None else ""


def _why(point: EntryPoint, rivals: list[EntryPoint]) -> str | None:
    if point.name in BUILT_IN:
        return f"anypool has a launcher {point.name!r} of its own, which is the one that is used"
    if rivals:
        return f"{' and '.join(map(source, rivals))} also gives a launcher {point.name!r}; uninstall one of them"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK, point.name], capture_output=True, text=True, timeout=_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"its plugin did not answer within {_LIMIT:.0f} s"
    try:
        why: str | None = json.loads(asked.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = asked.stderr.strip().splitlines()[-1:] or [f"exit code {asked.returncode}"]
        return f"its plugin ended the interpreter that asked it: {last[0]}"
    return why


Backend.__module__ = backends.__module__ = "anypool"
