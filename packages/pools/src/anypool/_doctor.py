"""What a report of a bug needs to say of a machine, and what is wrong with it: the command `anypool doctor`."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from anypool._backends import backends
from anypool._cgroups import groups_of, memory_limit, read
from anypool._cpus import VARIABLE, lowest, sources
from anypool._errors import AnypoolError
from anypool._plan import Mixed, Nested, Plan
from anypool._select import find, get_pool
from anypool._sources import plan_here
from anypool._threads import NAMES

__all__: list[str] = []

# Seconds that one call may take on a pool that has just been started.
_LIMIT = 60.0
# Of other variables with these beginnings only the names are shown, for who knows what is in them.
_RELEVANT = (
    "ANYPOOL_", "OMP_", "OPENBLAS_", "MKL_", "BLIS_", "KMP_", "GOMP_", "NUMEXPR_", "NUMBA_", "VECLIB_", "PYTHON", "LD_",
    "MALLOC_", "SLURM_", "PBS_", "LSB_", "SGE_", "PE_HOSTFILE", "NCPUS", "NSLOTS", "JOB_ID",
)  # fmt: skip
# Counts, and numbers of jobs.
_SHOWN = {
    *NAMES, VARIABLE, "ANYPOOL_LIBRARY_THREADS", "PYTHON_CPU_COUNT", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_PROC_BIND",
    "SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE", "SLURM_NODEID",
    "SLURM_STEP_TASKS_PER_NODE", "PBS_JOBID", "PBS_NUM_PPN", "NCPUS", "LSB_JOBID", "LSB_DJOB_NUMPROC", "JOB_ID",
    "NSLOTS", "NHOSTS",
}  # fmt: skip
_PLAIN = re.compile(r"[\w ,.:()\[\]-]{0,80}", re.ASCII)
_LIMITS = {"RLIMIT_NOFILE": "open files", "RLIMIT_NPROC": "processes", "RLIMIT_MEMLOCK": "locked bytes"}
_LEAST_FILES = 64
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - it is only looked at


class Doctor:
    """Looks at this machine once; `problems` are filled while the lines are read."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def lines(self) -> Iterator[str]:
        """The report, a section at a time: the last ones start workers and interpreters."""
        yield from self._versions()
        yield from self._cpus()
        yield from self._memory()
        yield from self._limits()
        yield from self._environment()
        yield self._plan()
        yield self._pool()
        yield from self._launchers()

    def _versions(self) -> Iterator[str]:
        python = f"{platform.python_implementation()} {platform.python_version()}"
        yield f"anypool {self._version('anypool')}, {python}, {platform.platform()}"
        dependencies = [re.split(r"[ <>=!~;\[(]", line)[0] for line in _required()]
        yield f"packages: {', '.join(f'{name} {self._version(name)}' for name in dependencies)}"

    def _version(self, distribution: str) -> str:
        try:
            return version(distribution)
        except PackageNotFoundError:
            self.problems.append(f"{distribution} is not installed: pip install {distribution}")
            return "(not installed)"

    def _cpus(self) -> Iterator[str]:
        found = sources()
        usable = lowest(found)
        yield f"usable CPUs: {usable}, by {usable.reason}; the machine has {os.cpu_count()}"
        for source in found:
            number = "-" if source.cpus is None else f"{source.cpus:g}"
            yield f"  {source.name:<18}{number:>6}  {source.note}"
            if source.garbage:
                self.problems.append(f"{source.name} says what can't be understood, {source.note}")
        groups = {name or "v2": path for name, path in groups_of().items() if name in ("", "cpu", "cpuset", "memory")}
        yield f"control groups: {', '.join(f'{name} {path}' for name, path in groups.items()) or 'none'}"

    def _memory(self) -> Iterator[str]:
        told = dict(line.partition(":")[::2] for line in (read("/proc/meminfo") or "").splitlines())
        total, free = (_gibibytes(told.get(name, "")) for name in ("MemTotal", "MemAvailable"))
        limit = memory_limit()
        within = "" if limit is None else f"; this process' group may use {limit[0] / 2**30:.1f} GiB ({limit[1]})"
        yield f"memory: {total}, {free} available{within}"
        try:
            there = os.statvfs(_SHARED_MEMORY)
        except OSError as error:
            yield f"{_SHARED_MEMORY}: {error.strerror}; it is not needed"
        else:
            size, left = (f"{blocks * there.f_frsize / 2**30:.1f} GiB" for blocks in (there.f_blocks, there.f_bavail))
            yield f"{_SHARED_MEMORY}: {size}, {left} available"

    def _limits(self) -> Iterator[str]:
        try:
            import resource
        except ImportError:
            return
        told = []
        for name, words in _LIMITS.items():
            if (number := getattr(resource, name, None)) is None:
                continue
            soft, hard = resource.getrlimit(number)
            told.append(f"{words} {_limit(soft)} (at most {_limit(hard)})")
            if name == "RLIMIT_NOFILE" and 0 <= soft < _LEAST_FILES:
                self.problems.append(f"only {soft} files may be open at a time; ulimit -n raises that")
        yield f"limits: {', '.join(told)}"

    def _environment(self) -> Iterator[str]:
        relevant = sorted(name for name in os.environ if name.startswith(_RELEVANT))
        shown = [f"{name}={os.environ[name]}" for name in relevant if name in _SHOWN and _is_plain(os.environ[name])]
        known = {line.partition("=")[0] for line in shown}
        yield f"environment: {' '.join(shown) or 'nothing of these is set'}"
        if others := [name for name in relevant if name not in known]:
            yield f"  set too: {' '.join(others)}"

    def _plan(self) -> str:
        try:
            found = plan_here()
        except AnypoolError as error:
            # The error shows the text, which may hold an address with a password.
            self.problems.append(f"no plan holds here, {type(error).__name__}: the command anypool plan says why")
            return "plan: none"
        return f"plan: {_shape(found.plan)}, by {found.source}"

    def _pool(self) -> str:
        name = "process:1" if find("process").missing() is None else "multiprocess:1"
        begun = time.perf_counter()
        try:
            with get_pool(name) as pool:
                answer = pool.submit(abs, -1).get(_LIMIT)
                started = time.perf_counter()
                pool.pipe(abs, -1)
                ended = time.perf_counter()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
            self.problems.append(f"{name} does not work, {type(error).__name__}: {error}")
            return f"{name}: broken"
        if answer != 1:
            self.problems.append(f"{name} gave {answer!r} for abs(-1)")
        return f"{name}: first result after {1e3 * (started - begun):.0f} ms, the next {1e6 * (ended - started):.0f} us"

    def _launchers(self) -> Iterator[str]:
        yield "launchers:"
        for backend in backends():
            yield f"  {backend.name:<18}{backend.version:<8}{backend.why or 'runs here'}"


def doctor() -> int:
    """Print the report; 0, or 1 with what is wrong at its end."""
    found = Doctor()
    for line in found.lines():
        print(line, flush=True)
    for problem in found.problems:
        print(f"problem: {problem}")
    print(f"{len(found.problems) or 'no'} problem{'s' * (len(found.problems) != 1)} found")
    return bool(found.problems)


def _required() -> list[str]:
    try:
        return [line for line in requires("anypool") or () if "extra ==" not in line]
    except PackageNotFoundError:
        return []


def _shape(plan: Plan) -> str:
    """The names and sizes of a plan: its arguments and options may be addresses."""
    return " > ".join(_names(level) for level in plan)


def _names(launcher: object) -> str:
    if isinstance(launcher, Nested):
        return "/".join(map(_names, launcher.parts))
    if isinstance(launcher, Mixed):
        return " + ".join(map(_names, launcher.groups))
    workers = getattr(launcher, "workers", None)
    return f"{getattr(launcher, 'name', launcher)}{'' if workers is None else f':{workers}'}"


def _is_plain(value: str) -> bool:
    return _PLAIN.fullmatch(value) is not None


def _gibibytes(kilobytes: str) -> str:
    number = kilobytes.split()[:1]
    return f"{int(number[0]) / 2**20:.1f} GiB" if number and number[0].isdecimal() else "unknown"


def _limit(number: int) -> str:
    return "unlimited" if number < 0 else str(number)
