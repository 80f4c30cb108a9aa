"""A path of launchers is one flat pool: size, methods, buffers and life, with real processes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ClassVar

import pytest

from anypool import Launcher, LauncherUnavailable, Pool, Process, Thread, WorkerLost, get_pool
from anypool._context import scope
from anypool._recipe import recipe
from anypool._wire import Kind

FLAT = [("process:2/process:3", 6), ("process:2/thread:4", 8), ("process:2/process:2/thread:2", 8)]


def opened(text: str) -> Pool:
    return get_pool(text, oversubscribe=True)


@pytest.fixture(scope="module", params=[text for text, _ in FLAT])
def launcher(request):
    return request.param


@pytest.fixture(scope="module")
def pool(launcher):
    with opened(launcher) as shared:
        yield shared


@pytest.mark.parametrize("text, size", FLAT)
def test_a_path_is_as_large_as_all_of_its_innermost_workers(text, size):
    with opened(text) as pool:
        assert len(pool) == size
        assert str(pool.plan) == text
        assert len(pool.workers()) == size
        assert len(set(pool.map(meet, range(size), chunksize=1))) == size


def meet(_):
    """Who is here: each worker holds its one item for a while."""
    time.sleep(0.3)
    return os.getpid(), threading.get_ident()


def test_a_path_claims_what_all_of_its_parts_do():
    assert (Process(2) / Process(2)).traits == Process.traits
    assert (Process(2) / Thread(2)).traits == Process.traits._replace(isolates=False)
    assert (Process(2) / Standard(2)).traits == Launcher.traits


def test_workers_say_where_they_are(pool, launcher):
    pool.map(meet, range(len(pool)), chunksize=1)
    names = [worker.name for worker in pool.workers()]
    assert len(set(names)) == len(pool)
    depth = launcher.count("/")
    kinds = [part.partition(":")[0] for part in launcher.split("/")]
    assert all(name.count("/") == depth for name in names)
    assert all(name.split("/")[at].startswith(f"{kind}-") for name in names for at, kind in enumerate(kinds))
    assert all(worker.pid and worker.host == os.uname().nodename for worker in pool.workers())


def test_every_method_works(pool):
    xs = list(range(100))
    assert pool.map(abs, xs) == xs
    assert list(pool.imap(abs, xs)) == xs
    assert sorted(pool.uimap(abs, xs)) == xs
    assert pool.amap(abs, xs).get(20) == xs
    assert pool.starmap(pow, [(x, 2) for x in xs]) == [x * x for x in xs]
    assert pool.pipe(sorted, [3, 1, 2], reverse=True) == [3, 2, 1]
    assert [each.result(20) for each in [pool.submit(abs, -x) for x in xs]] == xs
    assert pool.map(lambda x, y=0: x + y, xs, kwargs={"y": 1}) == [x + 1 for x in xs]


def test_errors_arrive_as_their_own_type_with_the_remote_traceback(pool):
    with pytest.raises(ZeroDivisionError) as caught:
        pool.map(lambda x: 1 // x, [1, 0])
    assert "<lambda>" in str(caught.value.__cause__)


def test_a_generator_is_read_lazily(pool):
    read: Counter[str] = Counter()

    def items():
        for x in range(10**9):
            read["items"] += 1
            yield x

    stream = pool.imap(abs, items(), buffersize=50)
    assert [next(stream) for _ in range(10)] == list(range(10))
    del stream
    assert read["items"] < 10_000


def test_large_arrays_travel_by_reference(pool):
    import numpy as np

    before = pool.stats()["inline"]
    array = np.arange(1 << 20)
    for result in pool.imap(lambda a: a + 1, (array for _ in range(40))):
        assert result[-1] == 1 << 20
    assert pool.stats()["inline"] == before


def test_the_memory_of_results_is_given_back(pool):
    import numpy as np

    # Eight times as much as an arena may hold: without it, results would go through pipes.
    for result in pool.uimap(lambda n: np.ones(n), [4 << 20] * 40, chunksize=1):
        assert result[-1] == 1
    segments = 0
    for pid in {worker.pid for worker in pool.workers()}:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            segments += sum(int(line.split()[1]) for line in file if line.startswith("RssShmem"))
    assert segments < len(pool) * 400_000


def test_a_large_function_crosses_once_to_each_hub(monkeypatch):
    from anypool._channels import ProcessCrew

    bodies: Counter[int] = Counter()
    write = ProcessCrew._write

    def counting(crew, channel, message, claim=False):
        if message.kind == Kind.RUN and sum(map(len, message.parts)) > 50_000:
            bodies[channel.slot] += 1
        write(crew, channel, message, claim)

    monkeypatch.setattr(ProcessCrew, "_write", counting)
    data = os.urandom(60_000)
    with opened("process:2/process:3") as pool:
        assert pool.map(lambda x: data[x], range(600), chunksize=5) == list(data[:600])
    assert bodies == {0: 1, 1: 1}


def test_a_tasks_share_of_the_cpus_is_its_workers(launcher, pool):
    shares = set(pool.map(lambda _: round(_share(), 6), range(20)))
    assert shares == {round(len(os.sched_getaffinity(0)) / len(pool), 6)}


def _share() -> float:
    here = scope()
    assert here is not None
    assert here.cpus is not None
    return here.cpus


def test_a_task_gets_the_next_level():
    with get_pool("process:1/process:1", "thread:1") as pool:
        assert pool.map(lambda x: str(get_pool().plan), [1]) == ["thread:1"]
    with get_pool("process:1/process:1") as pool:
        assert pool.map(lambda x: get_pool().launcher.name, [1]) == ["serial"]


def test_what_workers_print_reaches_the_caller(launcher, capsys):
    with opened(launcher) as pool:
        pool.map(lambda x: print(f"out {x}"), range(20))
        pool.map(lambda x: print(f"err {x}", file=sys.stderr), range(20))
    shown = capsys.readouterr()
    assert sorted(shown.out.split("\n")) == sorted([*(f"out {x}" for x in range(20)), ""])
    assert set(shown.err.split("\n")) >= {f"err {x}" for x in range(20)}


@pytest.mark.parametrize("text", ["process:2/process:2", "process:2/thread:2"])
def test_an_initializer_runs_in_each_worker_and_not_in_hubs(text, tmp_path):
    def note(folder):
        (folder / f"{os.getpid()}-{threading.get_ident()}").touch()

    inner = Process if text.endswith("process:2") else Thread
    with get_pool(Process(1) / inner(2, initializer=note, initargs=(tmp_path,))) as pool:
        pool.map(meet, range(2), chunksize=1)
        assert len(list(tmp_path.iterdir())) == 2
        if inner is Process:
            assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {
                str(worker.pid) for worker in pool.workers()
            }


@pytest.mark.parametrize("inner", [Process, Thread])
def test_an_initializer_that_fails_ends_the_maps(inner, within):
    def fail():
        raise KeyError("mine")

    with within(20), get_pool(Process(1) / inner(2, initializer=fail)) as pool:
        with pytest.raises(WorkerLost, match="initializer raised KeyError"):
            pool.map(abs, [1])
        with pytest.raises(WorkerLost):
            pool.submit(abs, 1).result(10)


@recipe
class Absent(Launcher):
    name: ClassVar[str] = "absent"

    def launch(self) -> Executor:
        raise LauncherUnavailable("launcher 'absent' can't run here: install nothing")


@recipe
class Broken(Launcher):
    name: ClassVar[str] = "broken"

    def launch(self) -> Executor:
        raise OSError(28, "no space is left")


@recipe
class Standard(Launcher):
    name: ClassVar[str] = "standard"

    def launch(self) -> Executor:
        return ThreadPoolExecutor(self.size)


@recipe
class Lacking(Standard):
    name: ClassVar[str] = "lacking"

    @classmethod
    def missing(cls) -> str | None:
        return "launcher 'lacking' lacks an engine"


@recipe
class Forgetful(Launcher):
    name: ClassVar[str] = "forgetful"

    def launch(self) -> Executor:  # type: ignore[return]  # what is tested
        Standard.launch(self)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "inner, error, words",
    [
        (Absent(), LauncherUnavailable, "install nothing"),
        (Broken(), OSError, "no space is left"),
        (Lacking(), LauncherUnavailable, "launcher 'lacking' lacks an engine"),
        (Forgetful(), LauncherUnavailable, r"launch\(\) of launcher 'forgetful' returns .* got None"),
    ],
)
def test_an_inner_launcher_that_cannot_start_says_so(inner, error, words, within):
    with within(20), get_pool(Process(2) / inner) as pool:
        with pytest.raises(error, match=words):
            pool.map(abs, [1])
        with pytest.raises(error, match=words):
            pool.pipe(abs, 1)


def test_a_launcher_that_forgets_its_return_is_told_what_was_expected():
    with pytest.raises(LauncherUnavailable, match=r"launch\(\) of launcher 'forgetful' returns .* got None"):
        get_pool(Forgetful()).map(abs, [1])


def test_hubs_are_not_started_where_their_launcher_can_not_run(monkeypatch):
    monkeypatch.setattr(Process, "missing", classmethod(lambda _: "launcher 'process' needs Linux"))
    with pytest.raises(LauncherUnavailable, match="needs Linux"):
        get_pool("process:1/thread:1").map(abs, [1])


def test_a_strangers_executor_can_be_inside():
    with get_pool(Process(1) / Standard(2)) as pool:
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
        assert pool.map(abs, range(-50, 0), retries=0) == list(range(50, 0, -1))
        assert pool.map(len, [b"x" * (1 << 20)] * 4) == [1 << 20] * 4
        assert pool.workers()[0].name == "process-0/standard-0"


def test_any_launcher_of_an_executor_can_be_inside():
    with get_pool("process:1/multiprocess:2") as pool:
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
        assert pool.map(len, [b"x" * (1 << 20)] * 4) == [1 << 20] * 4


def test_workers_are_replaced_after_so_many_tasks():
    with get_pool(Process(1) / Process(2, max_tasks_per_worker=3)) as pool:
        done = Counter(pool.map(lambda _: os.getpid(), range(30)))
    assert max(done.values()) <= 3
    assert len(done) >= 10


def test_a_path_can_be_resized():
    with opened("process:2/process:2") as pool:
        for size in (6, 1, 3):
            pool.resize(size)
            assert pool.map(abs, range(50)) == list(range(50))
            assert len(pool) == size
        assert len(pool.workers()) == 3
        pool.restart()
        assert pool.map(abs, range(50)) == list(range(50))
        assert len(pool.workers()) == 3


def enter(shared, x):
    shared[x] = x * x


def test_managers_work_as_arguments_behind_hubs():
    import multiprocessing.managers

    manager = multiprocessing.managers.SyncManager()
    manager.start()
    try:
        shared = manager.dict()
        with get_pool("process:1/process:2") as pool:
            pool.map(enter, [shared] * 5, range(5))
        assert dict(shared) == {x: x * x for x in range(5)}
    finally:
        manager.shutdown()
