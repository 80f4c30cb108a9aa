"""How many CPUs this process may use, and who says so."""

from __future__ import annotations

import os
import sys
from collections import namedtuple

from anypool._cgroups import limits
from anypool._schedulers import allocations, whole

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple

    from anypool._cgroups import Told

    class Source(NamedTuple):
        """A limit by its `name`, the `cpus` that it leaves or None, who said so or why not, and if that is garbage."""

        name: str
        cpus: float | None
        note: str
        garbage: bool = False

else:
    Source = namedtuple("Source", ("name", "cpus", "note", "garbage"), defaults=(False,))

__all__: list[str] = []

VARIABLE = "ANYPOOL_CPUS"
_PYTHON = "PYTHON_CPU_COUNT"


class Cpus(int):
    """A number of CPUs, and in `reason` which limit it is."""

    reason: str

    def __new__(cls, number: int, reason: str) -> Cpus:
        made = super().__new__(cls, number)
        made.reason = reason
        return made

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.reason


def usable_cpus() -> Cpus:
    """How many CPUs this process may use, at least 1; `reason` is the name of the limit that is the lowest.

    The limits are `affinity`, control groups' (`cgroup v2 quota`, `cgroup v2 cpuset`, and those of `v1`), what `Slurm`,
    `PBS`, `LSF` or `SGE` has given the job, ANYPOOL_CPUS and PYTHON_CPU_COUNT. A quota that is no whole number is
    rounded, a half upwards. What can't be understood is ignored here, and shown by `anypool doctor`.
    """
    return lowest(sources())


def lowest(found: list[Source]) -> Cpus:
    """The lowest of what was said; the first of those that say the same."""
    speaking = [(source.cpus, place) for place, source in enumerate(found) if source.cpus is not None]
    number, place = min(speaking)
    return Cpus(max(1, int(number + 0.5)), found[place].name)


def sources(root: str = "", environ: Mapping[str, str] | None = None, affinity: int | None = None) -> list[Source]:
    """What each limit says, in the order in which they are asked.

    `root` is a folder with recorded files of another machine's, `environ` and `affinity` are its environment and mask.
    """
    environ = os.environ if environ is None else environ
    told = [_affinity(affinity), *limits(root), *allocations(environ, root), _ours(environ), _python(environ)]
    return [Source(*each) for each in told]


def _affinity(number: int | None) -> Told:
    if number is None and hasattr(os, "sched_getaffinity"):
        try:
            number = len(os.sched_getaffinity(0))
        except OSError:
            pass  # A sandbox forbids it.
    if number is None:
        return "the machine", os.cpu_count() or 1, "this system has no affinity mask", False
    return "affinity", number, "the CPUs that this process may be scheduled on", False


def _ours(environ: Mapping[str, str]) -> Told:
    return _variable(VARIABLE, environ.get(VARIABLE))


def _python(
    environ: Mapping[str, str], version: tuple[Any, ...] = sys.version_info, options: Mapping[str, Any] | None = None
) -> Told:
    """As `os.process_cpu_count` does: the option `-X cpu_count` speaks before the variable."""
    text = None if sys.flags.ignore_environment else environ.get(_PYTHON)
    if version < (3, 13):
        return _PYTHON, None, "is not set" if text is None else "is of no meaning before Python 3.13", False
    option = (sys._xoptions if options is None else options).get("cpu_count")  # noqa: SLF001 - it has no other name
    said = text if option is None else str(option)
    return (_PYTHON, None, "is 'default'", False) if said == "default" else _variable(_PYTHON, said)


def _variable(name: str, text: str | None) -> Told:
    if text is None or not text.strip():
        return name, None, "is not set", False
    try:
        return name, whole(text), f"{name}={text.strip()}", False
    except ValueError as error:
        return name, None, f"ignored: {name}={text[:80]!r}, {error}", True
