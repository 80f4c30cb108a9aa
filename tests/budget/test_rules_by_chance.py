"""The rules of the budget for whatever levels, CPUs and variables there may be."""

from __future__ import annotations

import warnings
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from anypool import Oversubscribed, Plan, Process, Thread
from anypool._budget import check_plan
from anypool._context import Scope, entered
from anypool._cpus import Cpus
from anypool._schedulers import allocations

VARIABLES = [
    "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_STEP_TASKS_PER_NODE", "SLURM_JOB_CPUS_PER_NODE", "SLURM_NODEID",
    "PBS_NUM_PPN", "NCPUS", "PBS_NODEFILE", "LSB_MCPU_HOSTS", "LSB_DJOB_NUMPROC", "PE_HOSTFILE", "NSLOTS",
]  # fmt: skip
JOBS = {"SLURM_JOB_ID": "7", "PBS_JOBID": "7", "LSB_JOBID": "7", "JOB_ID": "7"}

CPUS = patch("anypool._cpus.usable_cpus", return_value=Cpus(64, "a test"))

sizes = st.none() | st.integers(1, 40)
texts = st.text("0123456789(),x abc.-:\n\u0664", max_size=12)


def outcome(levels: Plan, cpus: int) -> int | None:
    """How many levels are warned of; None for an error."""
    with CPUS, entered(Scope((), float(cpus))), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_plan(levels)
        except Oversubscribed:
            return None
    return len(caught)


@given(st.integers(1, 64), st.lists(sizes, min_size=1, max_size=4))
def test_each_level_is_measured_by_what_those_above_it_leave(cpus, levels):
    share, many = float(cpus), 0
    expected: int | None = 0
    for size in levels:
        workers = size if size is not None else max(1, int(share))
        if workers > 1 and workers > 3 * share:
            expected = None
            break
        many += workers > 1 and workers > share
        expected = many
        share /= workers
    assert outcome(Plan(tuple(map(Process, levels))), cpus) == expected


@given(st.integers(1, 64), st.integers(1, 5))
def test_levels_of_default_sizes_fill_the_machine_and_no_more(cpus, depth):
    plan, share, processes = Plan((Process(),) * depth), float(cpus), 1
    for level in plan:
        with CPUS, entered(Scope((), share)):
            processes *= level.size
            share /= level.size
    assert outcome(plan, cpus) == 0
    assert processes == cpus


@given(st.integers(1, 64), st.lists(st.integers(1, 1000), max_size=3))
def test_threads_alone_are_never_too_many(cpus, levels):
    assert outcome(Plan((Thread(), *map(Thread, levels))), cpus) == 0


@given(st.dictionaries(st.sampled_from(VARIABLES), texts))
def test_whatever_a_scheduler_says_is_a_number_of_at_least_one_or_nothing(environ):
    for name, cpus, note, garbage in allocations({**JOBS, **environ}):
        assert cpus is None or (cpus >= 1 and not garbage), name
        assert note
