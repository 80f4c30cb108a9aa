"""Real plans of several levels: which processes there are, how many threads they have, and that forgotten pools end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NESTED = """
    import json, os, sys, time
    from anypool import get_pool
    folder = sys.argv[1]

    def wait():
        open(os.path.join(folder, f"here-{os.getpid()}"), "w").close()
        limit = time.monotonic() + 30
        while not os.path.exists(os.path.join(folder, "go")):
            assert time.monotonic() < limit
            time.sleep(0.01)

    def third(_):
        return os.getpid()

    def second(_):
        import numpy
        from threadpoolctl import threadpool_info
        numpy.ones((4, 4)) @ numpy.ones((4, 4))
        wait()
        below = get_pool()
        libraries = max(library["num_threads"] for library in threadpool_info())
        return os.getpid(), below.launcher.name, len(below), below.map(third, range(2)), libraries

    def first(_):
        return os.getpid(), get_pool().map(second, range(4), chunksize=1)

    with get_pool(*sys.argv[2:]) as pool:
        print(json.dumps(pool.map(first, range(4), chunksize=1)))
"""

ONE_LEVEL = """
    import os, sys, time
    from anypool import get_pool
    folder = sys.argv[1]

    def inner(x):
        return os.getpid()

    def outer(_):
        open(os.path.join(folder, f"here-{os.getpid()}"), "w").close()
        limit = time.monotonic() + 30
        while not os.path.exists(os.path.join(folder, "go")):
            assert time.monotonic() < limit
            time.sleep(0.01)
        return set(get_pool().map(inner, range(10))) == {os.getpid()}

    with get_pool() as pool:
        print(len(pool), all(pool.map(outer, range(20), chunksize=1)))
"""


def workers_of(script: Any) -> dict[int, int]:
    """Each worker that descends from a script, with the number of its threads."""
    found = {}
    for pid in script.descendants():
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith("anypool:"):
                found[pid] = len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    return found


def waiting(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in folder.glob("here-*")}


def most_workers_until_the_end(script: Any) -> int:
    most, limit = 0, time.monotonic() + 30
    while script.process.poll() is None:
        assert time.monotonic() < limit
        most = max(most, len(workers_of(script)))
    return most


def test_the_processes_and_threads_of_two_levels_are_those_of_the_budget(start_script, tmp_path, wait_until):
    meant = "process:2?oversubscribe=true"
    script = start_script(NESTED, str(tmp_path), meant, meant, env={"ANYPOOL_CPUS": "2"})
    wait_until(lambda: len(waiting(tmp_path)) == 4, 20, "four workers of the second level wait")
    inner, there = waiting(tmp_path), workers_of(script)
    # An outer worker has another thread while it waits for a pool of its own, at most.
    assert len(there) == 6
    assert [there[pid] for pid in inner] == [1] * 4
    assert all(threads <= 2 for pid, threads in there.items() if pid not in inner)
    (tmp_path / "go").touch()
    assert most_workers_until_the_end(script) <= 6
    code, out, err = script.finish()
    assert code == 0, err
    told = json.loads(out)
    assert {pid for pid, _ in told} == set(there) - inner
    for _, leaves in told:
        for pid, name, size, pids, libraries in leaves:
            assert (name, size, libraries) == ("serial", 1, 1)
            assert pids == [pid, pid]
    assert len({pid for _, leaves in told for pid, *_ in leaves} & inner) == 4


def test_a_plan_in_the_environment_never_has_more_processes_than_it_says(start_script, tmp_path, wait_until):
    environment = {"ANYPOOL_PLAN": "process:4?oversubscribe=true"}
    script = start_script(ONE_LEVEL, str(tmp_path), env=environment)
    wait_until(lambda: len(waiting(tmp_path)) == 4, 20, "four workers wait")
    assert set(workers_of(script)) == waiting(tmp_path)
    (tmp_path / "go").touch()
    assert most_workers_until_the_end(script) <= 4
    assert script.finish()[:2] == (0, "4 True\n")


FORGETFUL = """
    import os, sys
    from anypool import get_pool

    def children(pid):
        found = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                found += map(int, open(f"/proc/{pid}/task/{thread}/children").read().split())
            except OSError:
                continue  # It has just ended.
        return found + [grand for child in found for grand in children(child)]

    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def settled():
        open_files, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
        return len(children(os.getpid())), open_files, resident(), threads

    for number in range(200):
        pool = get_pool(sys.argv[1])
        assert pool.map(abs, [-number, number]) == [number, number]
        if number == 20:
            before = settled()
    after = settled()
    assert after[0] <= before[0] + 2, (before, after)
    assert after[1] <= before[1] + 4, (before, after)
    assert after[2] <= before[2] + (8 << 20), (before, after)
    assert after[3] <= before[3] + 2, (before, after)
    print("done")
"""


@pytest.mark.parametrize("name", ["process", "process:1", "thread:2"])
def test_a_script_that_makes_200_pools_and_closes_none_does_not_grow(name: str, run_script: Callable[..., str]) -> None:
    flags = ("-W", "error")
    assert run_script(FORGETFUL, name, flags=flags, env={"ANYPOOL_CPUS": "2"}, seconds=50) == "done\n"


def test_pools_that_are_forgotten_together_end_together(run_script: Callable[..., str]) -> None:
    text = """
        import gc, os, time
        from anypool import get_pool

        def workers():
            mine = 0
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{name}/comm") as comm, open(f"/proc/{name}/environ", "rb") as environ:
                        mine += comm.read().startswith("anypool:") and mark in environ.read()
                except OSError:
                    continue
            return mine

        mark = os.environ["ANYPOOL_TEST_RUN"].encode()
        pools = [get_pool("process:1") for _ in range(20)]
        assert [pool.pipe(abs, -1) for pool in pools] == [1] * 20
        print(workers())
        del pools
        gc.collect()
        limit = time.monotonic() + 5
        while workers() and time.monotonic() < limit:
            time.sleep(0.02)
        print(workers())
    """
    assert run_script(text, env={"ANYPOOL_CPUS": "1"}) == "20\n0\n"
