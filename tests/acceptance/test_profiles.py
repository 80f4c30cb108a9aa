"""`profile=` beyond what the kit asks of every launcher: what is refused, large ones, other profilers, and no cost."""

from __future__ import annotations

import cProfile
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anypool import Map, Pool, Profile, get_pool
from anypool._tracing import Tracer

LIMIT = 60  # seconds
# Python 3.11 has one profiler per thread; later ones let functions of `sys.setprofile` be beside the one of a process.
ONE_ONLY = sys.version_info < (3, 12)


def work(x: int) -> int:
    return help_with(x)


def help_with(x: int) -> int:
    return abs(x)


def calls(profile: Profile, name: str) -> int:
    stats: Any = profile.stats()
    return sum(entry[1] for label, entry in stats.stats.items() if label[2] == name)


def meet(x: int, meeting: threading.Barrier) -> int:
    """Return when another task is in here too."""
    meeting.wait(LIMIT)
    return work(x)


def test_what_is_no_profile_is_refused(pool: Pool) -> None:
    wrong: Any = "out.prof"
    with pytest.raises(TypeError, match=r"profile is True, False or a Profile, got 'out\.prof'"):
        pool.map(abs, [1], profile=wrong)
    with pytest.raises(TypeError, match="profile is True"):
        pool.imap(abs, [1], profile=wrong)


def test_an_empty_profile_is_not_dumped_to_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    profile = Profile()
    with pytest.raises(ValueError, match="nothing has been profiled"):
        profile.dump(tmp_path / "none.prof")
    assert not list(tmp_path.iterdir())
    assert profile.workers == {}


def test_a_profile_can_be_cleared_and_goes_on(pool: Pool) -> None:
    profile = Profile()
    pool.map(work, range(3), profile=profile)
    profile.clear()
    assert (calls(profile, "work"), profile.workers) == (0, {})
    pool.map(work, range(4), profile=profile)
    assert calls(profile, "work") == 4
    assert repr(profile).endswith(" s>"), repr(profile)


def test_a_profile_can_be_looked_at_while_the_map_goes_on(pool: Pool) -> None:
    profile = Profile()
    stream = pool.imap(work, range(1000), profile=profile, chunksize=1, buffersize=8)
    assert next(stream) == 0
    assert 1 <= calls(profile, "work") <= 10
    assert len(list(stream)) == 999
    assert calls(profile, "work") == 1000


def test_one_profile_can_be_given_to_several_maps_at_once() -> None:
    profile = Profile()
    with get_pool("process:1") as first, get_pool("thread:1") as second:
        results = [pool.amap(work, range(100), profile=profile) for pool in (first, second)]
        assert [len(result.get(LIMIT)) for result in results] == [100, 100]
        assert calls(profile, "work") == 200
        assert len(profile.workers) == 2


def test_threads_that_run_at_the_same_time_have_profiles_of_their_own() -> None:
    profile, meeting = Profile(), threading.Barrier(2)
    with get_pool("thread:2") as pool:
        pool.map(meet, range(10), [meeting] * 10, profile=profile, chunksize=1)
    counts = [calls(own, "work") for own in profile.workers.values()]
    assert counts == [5, 5]
    assert [calls(own, "help_with") for own in profile.workers.values()] == counts
    assert all("anypool-thread-" in name for name in profile.workers)


def test_a_profile_of_many_functions_comes_home_whole(pool: Pool) -> None:
    many = 3000

    def call_many(_: int) -> int:
        names: dict[str, Any] = {}
        source = "".join(f"def function_{number}(): pass\n" for number in range(many))
        exec(source, names)
        for number in range(many):
            names[f"function_{number}"]()
        return many

    profile = Profile()
    assert pool.map(call_many, range(2), profile=profile, chunksize=1) == [many] * 2
    assert calls(profile, f"function_{many - 1}") == 2
    assert sum(calls(own, "function_0") for own in profile.workers.values()) == 2


def test_maps_as_objects_take_it_too() -> None:
    profile = Profile()
    with Map("thread:2") as mapped:
        mapped(work, range(10), profile=profile)
        mapped(work, range(10), profile=True)
        assert calls(profile, "work") == calls(mapped.pool.profile, "work") == 10


def test_a_large_function_that_workers_know_already_is_profiled_as_well(pool: Pool) -> None:
    table = bytes(100_000)

    def look(x: int) -> int:
        return table[x]

    profile = Profile()
    pool.map(look, range(5))
    pool.map(look, range(5), profile=profile)
    pool.map(look, range(5))
    assert calls(profile, "look") == 5


def test_a_profiled_caller_can_profile_on_serial_where_python_lets_two_profilers_be() -> None:
    profile, outer = Profile(), cProfile.Profile()

    def use() -> Any:
        return get_pool("serial").map(work, range(3), profile=profile)

    if ONE_ONLY:
        with pytest.raises(ValueError, match="Another profiling tool is already active"):
            outer.runcall(use)
        assert calls(profile, "work") == 0
    else:
        assert outer.runcall(use) == [0, 1, 2]
        assert calls(profile, "work") == 3
    outer.create_stats()
    assert any(label[2] == "use" for label in outer.stats)


def test_a_profiled_task_can_profile_its_own_maps_where_they_run_elsewhere(pool: Pool) -> None:
    def outer(count: int) -> int:
        inner = Profile()
        with get_pool("thread:1") as beside:
            beside.map(work, range(count), profile=inner)
        return calls(inner, "work")

    profile = Profile()
    assert pool.map(outer, [3], profile=profile) == [3]
    assert calls(profile, "outer") == 1


def test_a_profiler_that_a_task_leaves_behind_does_not_outlive_its_item() -> None:
    def leave(_: int) -> None:
        sys.setprofile(lambda *_: None)

    with get_pool("thread:1") as pool:
        profile = Profile()
        outcomes: list[Any] = pool.map(leave, range(3), profile=profile, on_error="return", chunksize=3)
        assert [str(outcome) for outcome in outcomes] == ["Another profiling tool is already active"] * 3
        assert pool.pipe(sys.getprofile) is None
        assert pool.map(work, range(3), profile=profile) == [0, 1, 2]
        assert calls(profile, "work") == 3


def test_a_pool_that_profiles_nothing_imports_no_profiler() -> None:
    code = """
import sys
from anypool import get_pool
def loaded(_):
    return sorted({"cProfile", "profile", "pstats", "anypool._profiling", "anypool._tracing"} & sys.modules.keys())
with get_pool("process:1") as pool:
    print(pool.map(loaded, [0]), loaded(0))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout) == (0, "[[]] []\n"), done.stderr


# What is recorded where cProfile can't be used.


def fall(depth: int) -> int:
    return depth if depth == 0 else fall(depth - 1) + len([depth])


def raise_deep(depth: int) -> None:
    if depth == 0:
        [].pop()
    raise_deep(depth - 1)


def everything() -> None:
    fall(5)
    try:
        raise_deep(3)
    except IndexError:
        pass
    stream = (help_with(x) for x in range(4))
    next(stream)
    sum(stream)
    "a".upper()
    sorted([3, 1], key=lambda x: -x)
    dict.fromkeys([1])
    _Meta().method()


class _Meta:
    def method(self) -> None:
        str.upper("a")


def counted(profiler: Any, function: Callable[[], object]) -> dict[Any, Any]:
    profiler.enable()
    try:
        function()
    finally:
        profiler.disable()
    profiler.snapshot_stats()
    return {
        label: (*entry[:2], {caller: part[:2] for caller, part in entry[4].items()})
        for label, entry in profiler.stats.items()
        if "disable" not in label[2]
    }


def test_what_counts_for_one_thread_is_what_cprofile_counts() -> None:
    expected = counted(cProfile.Profile(), everything)
    assert counted(Tracer(), everything) == expected
    tracer = Tracer()
    assert counted(tracer, everything) == expected
    assert counted(tracer, lambda: None)[next(label for label in expected if label[2] == "fall")][:2] == (1, 6)
    tracer.clear()
    assert [label[2] for label in counted(tracer, lambda: None)] == ["<lambda>"]


def test_its_times_are_those_of_the_calls() -> None:
    clock = threading.Event()
    tracer = Tracer()

    def nap() -> None:
        clock.wait(0.05)

    def twice() -> None:
        nap()
        nap()

    counted(tracer, twice)
    times = {label[2]: entry[2:4] for label, entry in tracer.stats.items()}
    assert times["twice"][1] >= 0.1
    assert times["twice"][0] < 0.05
    assert times["nap"][1] >= 0.1
