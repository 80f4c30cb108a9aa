"""The command `anypool doctor`: what it tells, what it keeps to itself, and its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from anypool import usable_cpus

LIMIT = 100  # seconds
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("ANYPOOL_", "OMP_", "SLURM_"))}


def doctor(*before: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [*before, sys.executable, "-m", "anypool", "doctor"],
        env={**CLEAN, **environ}, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_it_tells_what_a_bug_report_needs():
    code, text = doctor()
    assert code == 0, text
    for what in (
        r"anypool \d+\.\d+\S*, CPython 3\.\d+\.\d+, Linux-",
        r"packages: anypool-serialize \d.*pluggy \d.*threadpoolctl \d",
        rf"usable CPUs: {usable_cpus()}, by ",
        r"  affinity +\d+  ",
        r"  cgroup v2 quota +\S+  .*",
        r"  cgroup v1 cpuset +\S+  .*",
        r"  Slurm +-  no job of its: SLURM_JOB_ID is not set",
        r"control groups: ",
        r"memory: [\d.]+ GiB, [\d.]+ GiB available",
        r"/dev/shm: ",
        r"limits: open files \d+ \(at most \S+\), processes \S+ \(at most \S+\), locked bytes ",
        r"environment: ",
        r"plan: process, by the default",
        r"process:1: first result after \d+ ms, the next \d+ us",
        r"  process +\S+ +runs here",
        r"no problems found",
    ):
        assert re.search(f"^{what}", text, flags=re.MULTILINE), what


def test_a_variable_that_is_ignored_is_a_problem_with_its_name():
    code, text = doctor(ANYPOOL_CPUS="many", SLURM_JOB_ID="7", SLURM_CPUS_PER_TASK="0")
    assert code == 1
    assert re.search(r"^problem: ANYPOOL_CPUS .*'many', expected a whole number", text, flags=re.MULTILINE)
    assert re.search(r"^problem: Slurm .*SLURM_CPUS_PER_TASK='0'", text, flags=re.MULTILINE)
    assert text.endswith("2 problems found\n")


def test_a_plan_that_cannot_be_read_is_a_problem_and_stays_secret():
    code, text = doctor(ANYPOOL_PLAN="proces:4?password=hunter2")
    assert code == 1
    assert "problem: no plan holds here, LauncherNotFound" in text
    assert "hunter2" not in text


def test_a_pool_that_does_not_work_is_a_problem_with_its_cause():
    code, text = doctor("sh", "-c", 'ulimit -n 12 && exec "$@"', "limited")
    assert code == 1
    assert re.search(r"^problem: process:1 does not work, LauncherUnavailable: ", text, flags=re.MULTILINE)
    assert "problem: only 12 files may be open at a time" in text


def test_only_counts_and_numbers_of_jobs_are_shown_of_the_environment():
    secrets = {
        "ANYPOOL_SECRET": "hunter2",
        "SLURM_JWT": "hunter3",
        "PYTHONSTARTUP": "/home/hunter4/start.py",
        "OMP_NUM_THREADS": "/home/hunter5",
        "ANYPOOL_PLAN": 'process:2?cwd="/tmp"',
        "AWS_SECRET_ACCESS_KEY": "hunter6",
    }
    code, text = doctor(**secrets, MKL_NUM_THREADS="3", SLURM_JOB_ID="77", SLURM_CPUS_ON_NODE="5")
    assert code == 0, text
    assert "environment: MKL_NUM_THREADS=3 SLURM_CPUS_ON_NODE=5 SLURM_JOB_ID=77" in text
    assert "plan: process:2, by the environment variable ANYPOOL_PLAN" in text
    assert all(name in text for name in secrets if name != "AWS_SECRET_ACCESS_KEY")
    assert "hunter" not in text
    assert "AWS" not in text
