"""What a batch scheduler has given this job of the machine, by the variables it sets for Slurm, PBS, LSF and SGE."""

from __future__ import annotations

import os

from anypool._cgroups import MOST_CPUS, read

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from anypool._cgroups import Told

    # Makes a number of a variable's text, with the environment and a root folder at hand; None if it says nothing.
    _Reader = Callable[[str, Mapping[str, str], str], "int | None"]

__all__: list[str] = []


def allocations(environ: Mapping[str, str], root: str = "") -> list[Told]:
    """What each scheduler says of the job that this process is in."""
    return [_allocation(*scheduler, environ, root) for scheduler in _SCHEDULERS]


def whole(text: str) -> int:
    """A number of CPUs. Raises `ValueError` for anything else."""
    number = int(text) if text.strip().isascii() and text.strip().isdecimal() else 0
    if not 1 <= number < MOST_CPUS:
        raise ValueError("expected a whole number of CPUs, at least 1")
    return number


def _allocation(
    name: str, jobs: tuple[str, ...], readers: tuple[tuple[str, _Reader], ...], environ: Mapping[str, str], root: str
) -> Told:
    if not any(environ.get(job) for job in jobs):
        return name, None, f"no job of its: {jobs[0]} is not set", False
    garbage = []
    for variable, number_of in readers:
        text = environ.get(variable)
        if text is None:
            continue
        try:
            number = number_of(text, environ, root)
        except ValueError as error:
            garbage.append(f"{variable}={text[:80]!r}, {error}")
            continue
        if number is not None:
            return name, number, f"{variable}={text[:80]}", False
    if garbage:
        return name, None, f"ignored: {'; '.join(garbage)}", True
    return name, None, f"the job says nothing in {', '.join(variable for variable, _ in readers)}", False


def _plain(text: str, _: Mapping[str, str], __: str) -> int:
    return whole(text)


def _slurm_node(text: str, environ: Mapping[str, str], _: str) -> int:
    """This node's CPUs; in a step, which `srun` starts, a task's share of them."""
    return max(1, whole(text) // (_slurm_entry("SLURM_STEP_TASKS_PER_NODE", environ) or 1))


def _slurm_job(_: str, environ: Mapping[str, str], __: str) -> int | None:
    return _slurm_entry("SLURM_JOB_CPUS_PER_NODE", environ)


def _slurm_entry(variable: str, environ: Mapping[str, str]) -> int | None:
    """Of a list such as `4(x2),3` the number for this node."""
    numbers: list[int] = []
    text = environ.get(variable) or ""
    try:
        for part in filter(None, text.split(",")):
            number, _, times = part.partition("(x")
            numbers += [whole(number)] * min(whole(times.rstrip(")") or "1"), 1 << 16)
    except ValueError:
        raise ValueError(f"expected {variable} to be a list such as 4(x2),3, got {text[:80]!r}") from None
    node = environ.get("SLURM_NODEID", "")
    place = int(node) if node.isdecimal() else 0
    return numbers[place] if place < len(numbers) else None


def _pbs_nodes(text: str, _: Mapping[str, str], root: str) -> int | None:
    """A file with a line for each place, which is the name of its host."""
    return _of_this_host((line.strip(), 1) for line in _lines(root + text))


def _sge_hosts(text: str, _: Mapping[str, str], root: str) -> int | None:
    """A file with lines of a host, its number of slots, and more."""
    fields = [line.split() for line in _lines(root + text)]
    if any(len(words) < 2 for words in fields):
        raise ValueError("expected a host and its number of slots in each line")
    return _of_this_host((host, whole(slots)) for host, slots, *_ in fields)


def _lsf_hosts(text: str, _: Mapping[str, str], __: str) -> int | None:
    """Pairs of a host and its number of slots."""
    words = text.split()
    if len(words) % 2:
        raise ValueError("expected pairs of a host and its number of slots")
    return _of_this_host(zip(words[::2], map(whole, words[1::2]), strict=True))


def _lines(path: str) -> list[str]:
    text = read(path)
    if text is None:
        raise ValueError("expected a file that can be read")
    return [line for line in text.splitlines() if line.strip()]


def _of_this_host(slots: Iterable[tuple[str, int]]) -> int | None:
    """The slots here: a host may be listed several times, and be named in full or in short."""
    found: dict[str, int] = {}
    for host, number in slots:
        short = host.partition(".")[0]
        found[short] = found.get(short, 0) + number
    if len(found) == 1:
        return next(iter(found.values()))
    return found.get(os.uname().nodename.partition(".")[0])


_SCHEDULERS: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, _Reader], ...]], ...] = (
    (
        "Slurm",
        ("SLURM_JOB_ID", "SLURM_JOBID"),
        (
            ("SLURM_CPUS_PER_TASK", _plain),
            ("SLURM_CPUS_ON_NODE", _slurm_node),
            ("SLURM_JOB_CPUS_PER_NODE", _slurm_job),
        ),
    ),
    ("PBS", ("PBS_JOBID",), (("PBS_NUM_PPN", _plain), ("NCPUS", _plain), ("PBS_NODEFILE", _pbs_nodes))),
    # Those of this host first: the other number is that of all hosts.
    ("LSF", ("LSB_JOBID",), (("LSB_MCPU_HOSTS", _lsf_hosts), ("LSB_DJOB_NUMPROC", _plain))),
    ("SGE", ("JOB_ID",), (("PE_HOSTFILE", _sge_hosts), ("NSLOTS", _plain))),
)
