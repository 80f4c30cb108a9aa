"""Which launchers there are, of whom, and whether each can run here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import IO, NamedTuple

from anypool._entries import distribution, extras, found_points, not_installed, rivalry, version_of
from anypool._select import BUILT_IN, find

__all__: list[str] = []

# Seconds that a plugin may take to be imported and asked, and how many are asked at a time.
_LIMIT = 30.0
_AT_A_TIME = 4
_MARK = "anypool's answer: "
# Asked in an interpreter of its own: a plugin may initialise a library, start threads, or end its process.
_ASK = """\
import json, os, sys
_, name, mark, path = sys.argv
sys.path[:] = json.loads(path)
from anypool._errors import AnypoolError
from anypool._plugins import plugins
try:
    why = plugins.launcher(name).missing()
except AnypoolError as error:
    why = str(error)
except BaseException as error:
    why = f"missing() of launcher {name!r} fails: {type(error).__name__}: {error}"
print("\\n" + mark + json.dumps(why), flush=True)
os._exit(0)
"""


class Backend(NamedTuple):
    """One launcher: `name`, its `distribution` and that one's `version`, `why` it can't run here, None if it can."""

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

    Imports no plugin: each is asked in an interpreter of its own, which takes 0.2 s or so, and 30 s at most.
    """
    try:
        ours = version("anypool")
    except PackageNotFoundError:
        ours = ""
    found = [Backend(name, "anypool", ours, find(name).missing()) for name in BUILT_IN]
    points = found_points()
    with ThreadPoolExecutor(_AT_A_TIME) as askers:
        reasons = askers.map(lambda point: _why(point, points), points)
        found += [
            Backend(point.name, distribution(point), version_of(point), why)
            for point, why in zip(points, reasons, strict=True)
        ]
    known = {backend.name for backend in found}
    found += [Backend(name, "", "", not_installed(name)) for name in extras() if name not in known]
    return sorted(found, key=lambda backend: backend[:2])


def _why(point: EntryPoint, points: Iterable[EntryPoint]) -> str | None:
    if point.name in BUILT_IN:
        return f"anypool has a launcher {point.name!r} of its own, which is the one that is used"
    same = [other for other in points if other.name == point.name]
    return rivalry(same) if len(same) > 1 else _asked(point.name)


def _asked(name: str) -> str | None:
    # Not through pipes: what a plugin starts may keep them open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # What lies in the working folder may be anybody's; `-c` alone would import it before the standard library.
        known: list[object] = [*sys.path]
        path = json.dumps([entry for entry in known if isinstance(entry, str)])
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _ASK, name, _MARK, path],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            code = child.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            return f"its plugin did not answer within {_LIMIT:.0f} s"
        finally:
            _end(child)
        for line in _lines(out):
            if line.startswith(_MARK):
                why: str | None = json.loads(line.removeprefix(_MARK))
                return why
        last = f": {lines[-1]}" if (lines := _lines(err)) else ""
        return f"its plugin ended the interpreter that asked it, with exit code {code}{last}"


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _lines(file: IO[bytes]) -> list[str]:
    # A plugin prints what it likes.
    file.seek(0)
    return file.read().decode(errors="replace").strip().splitlines()


Backend.__module__ = backends.__module__ = "anypool"
