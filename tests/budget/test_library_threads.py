"""Numerical libraries in workers use as many threads as the worker has CPUs, unless the user has said it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from anypool import get_pool
from anypool._threads import NAMES

# A library uses no more threads than there are CPUs, whatever it is told.
CPUS = len(os.sched_getaffinity(0))
BOTH = min(2, CPUS)


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYPOOL_CPUS", "2")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def threads(_: Any = None) -> set[int]:
    """Of each library that numpy has loaded."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.dot(np.ones((4, 4)), np.ones((4, 4)))
    return {library["num_threads"] for library in threadpool_info()}


def said(_: Any = None) -> dict[str, str]:
    return {name: os.environ[name] for name in NAMES if name in os.environ}


processes = pytest.mark.parametrize("name", ["process", "multiprocess"])


@processes
def test_two_workers_on_two_cpus_have_a_thread_each(name):
    with get_pool(f"{name}:2") as pool:
        assert pool.map(threads, range(4)) == [{1}] * 4
        assert pool.map(said, [0]) == [dict.fromkeys(NAMES, "1")]


@processes
def test_one_worker_on_two_cpus_has_two(name):
    with get_pool(f"{name}:1") as pool:
        assert pool.pipe(threads) == {BOTH}
        assert pool.pipe(said) == dict.fromkeys(NAMES, str(BOTH))


@processes
def test_inside_a_worker_its_threads_are_split_further(name):
    def inside(workers):
        with get_pool(f"{name}:{workers}") as inner:
            return threads(), inner.pipe(threads)

    with get_pool(f"{name}:1") as pool:
        assert pool.map(inside, [1, 2]) == [({BOTH}, {BOTH}), ({BOTH}, {1})]


@processes
def test_the_levels_of_a_plan_split_them(name):
    with get_pool(f"{name}:1", f"{name}:2", "serial") as pool:
        assert pool.pipe(lambda: [threads(), *get_pool().map(threads, range(2))]) == [{BOTH}, {1}, {1}]


@processes
def test_what_the_user_has_set_for_a_library_is_kept(name, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "6")
    with get_pool(f"{name}:2") as pool:
        told = pool.pipe(said)
        assert (told["OPENBLAS_NUM_THREADS"], told["MKL_NUM_THREADS"], told["OMP_NUM_THREADS"]) == ("7", "6", "1")
        assert pool.pipe(threads) == {min(7, CPUS)}


@processes
def test_what_the_user_has_set_for_openmp_holds_for_those_that_follow_it(name, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with get_pool(f"{name}:2") as pool:
        own = {"VECLIB_MAXIMUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        assert pool.pipe(said) == {"OMP_NUM_THREADS": "2", **own}
        assert pool.pipe(threads) == {BOTH}


@processes
def test_what_the_pools_environment_says_is_kept(name):
    with get_pool(f"{name}:2", env={"OMP_NUM_THREADS": "3"}) as pool:
        told = pool.pipe(said)
        assert told["OMP_NUM_THREADS"] == "3"
        assert "OPENBLAS_NUM_THREADS" not in told
        assert pool.pipe(threads) == {min(3, CPUS)}


def test_what_a_task_says_for_its_own_pool_is_kept():
    def inside():
        with get_pool("process:1", env={"OMP_NUM_THREADS": "3"}) as inner:
            return inner.pipe(said)

    with get_pool("process:1") as pool:
        told = pool.pipe(inside)
    assert told["OMP_NUM_THREADS"] == "3"
    assert "OPENBLAS_NUM_THREADS" not in told


def test_what_a_task_starts_itself_inherits_them():
    import subprocess

    def ask():
        return subprocess.run(["printenv", "OMP_NUM_THREADS"], capture_output=True, text=True, check=True).stdout

    with get_pool("process:2") as pool:
        assert pool.pipe(ask) == "1\n"


def test_the_callers_own_libraries_are_left_alone(run_script):
    text = """
        import os, numpy
        from threadpoolctl import threadpool_info
        from anypool import get_pool
        numpy.ones((4, 4)) @ numpy.ones((4, 4))
        before = threadpool_info(), dict(os.environ)
        for name in ("process:2", "thread:2", "multiprocess:2"):
            with get_pool(name) as pool:
                pool.map(abs, [-1, 2])
        print(before == (threadpool_info(), dict(os.environ)))
    """
    assert run_script(text) == "True\n"


FORKING = """
    import os, sys, numpy
    from threadpoolctl import threadpool_info
    from anypool import get_pool
    numpy.ones((4, 4)) @ numpy.ones((4, 4))

    def threads(_=None):
        return sorted({library["num_threads"] for library in threadpool_info()})

    env = dict(word.split("=") for word in sys.argv[1:])
    with get_pool("multiprocess:2", start_method="fork", env=env) as pool:
        print(threads(), pool.pipe(threads))
"""


def test_libraries_that_a_forked_worker_finds_loaded_are_limited(run_script):
    assert run_script(FORKING) == f"[{CPUS}] [1]\n"


def test_of_libraries_that_a_forked_worker_finds_loaded_what_the_user_has_said_is_kept(run_script):
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        assert run_script(FORKING, env={name: "2"}) == f"[{BOTH}] [{BOTH}]\n"
        assert run_script(FORKING, f"{name}=2").endswith(f" [{BOTH}]\n")
