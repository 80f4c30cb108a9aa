"""`get_pool(executor)`: a pool over an executor that the user made, and whose owner the user stays."""

from __future__ import annotations

import concurrent.futures as cf
import os
import sys
from collections.abc import Callable, Iterator

import pytest

from anypool import get_pool, usable_cpus

# How each is made by who uses it; `executor` is what `get_pool` is given.
EXECUTORS = {
    "standard processes, forked": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
with ProcessPoolExecutor(2, get_context("fork")) as executor:
    use(executor)
""",
    "standard processes, spawned": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        use(executor)
""",
    "standard processes of a fork server": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("forkserver")) as executor:
        use(executor)
""",
    "standard threads": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as executor:
    use(executor)
""",
    "loky": """
from loky import ProcessPoolExecutor
with ProcessPoolExecutor(2) as executor:
    use(executor)
""",
    "mpi4py.futures": """
from mpi4py.futures import MPIPoolExecutor
with MPIPoolExecutor(2, main=False) as executor:
    use(executor)
""",
    "executorlib": """
from executorlib import SingleNodeExecutor
if __name__ == "__main__":
    with SingleNodeExecutor(max_workers=2, block_allocation=True) as executor:
        use(executor)
""",
    "dask": """
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        use(client.get_executor(pure=False))
""",
}
USE = """
import traceback
from anypool import get_pool

class Odd(Exception):
    def __init__(self, number, word):
        super().__init__(f"{number} {word}")
        self.number = number

def fail(x):
    if x == 3:
        raise Odd(x, "is odd")
    return x

def inner(x):
    return str(get_pool().plan), sum(get_pool().map(abs, range(x)))

def use(executor):
    factor = 3
    with get_pool(executor) as pool:
        assert len(pool) == 2, pool
        assert pool.map(lambda x: x * factor, range(1000)) == [3 * x for x in range(1000)]
        assert list(pool.imap(pow, range(50), [2] * 50)) == [x * x for x in range(50)]
        assert sorted(pool.uimap(abs, range(-50, 0))) == list(range(1, 51))
        assert pool.amap(abs, [-1, -2]).get(timeout=60) == [1, 2]
        assert pool.pipe(divmod, 7, 2) == (3, 1) and pool.submit(divmod, 9, 2).result(60) == (4, 1)
        try:
            pool.map(fail, range(5))
        except Odd as error:
            assert error.number == 3
            assert "in fail" in "".join(traceback.format_exception(error))
        else:
            raise AssertionError("no error")
        assert pool.pipe(inner, 4) == ("serial", 6)
    # It is still its owner's to use.
    assert executor.submit(abs, -3).result(60) == 3
    print("done")
"""


@pytest.mark.parametrize("kind", EXECUTORS)
def test_a_pool_over_it_does_what_every_pool_does_and_leaves_it_open(kind: str, run_script: Callable[..., str]) -> None:
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))  # mpiexec is there
    assert run_script(USE + EXECUTORS[kind], env={"PATH": path}, seconds=60).splitlines()[-1] == "done"


@pytest.fixture
def threads() -> Iterator[cf.ThreadPoolExecutor]:
    with cf.ThreadPoolExecutor(3) as executor:
        yield executor


class Plain(cf.Executor):
    """One that does not tell how many calls it takes at a time."""

    def __init__(self, executor: cf.Executor) -> None:
        self._inner = executor

    def submit(self, *call, **kwargs):
        return self._inner.submit(*call, **kwargs)


class Telling(Plain):
    """One that tells it as executorlib's do."""

    max_workers = 5


def test_the_number_of_workers_is_the_executors_own_or_what_is_said(threads: cf.ThreadPoolExecutor) -> None:
    for executor, options, expected in (
        (threads, {}, 3),
        (threads, {"workers": 2}, 2),
        (Plain(threads), {}, usable_cpus()),
        (Telling(threads), {}, 5),
    ):
        with get_pool(executor, **options) as pool:
            assert len(pool) == expected
            assert pool.map(abs, [-1, -2]) == [1, 2]


def test_options_of_launchers_are_refused(threads: cf.ThreadPoolExecutor) -> None:
    with pytest.raises(TypeError, match="has the options workers and tags, got 'initializer'"):
        get_pool(threads, initializer=print)


def test_such_a_pool_can_not_be_sent_and_says_why(threads: cf.ThreadPoolExecutor) -> None:
    refused = pytest.raises(TypeError, match="a pool over your own ThreadPoolExecutor can't be sent")
    with get_pool(threads) as pool, get_pool("process:1") as other, refused:
        other.pipe(len, pool)


def test_a_level_below_an_executor_is_for_its_tasks(threads: cf.ThreadPoolExecutor) -> None:
    with get_pool(threads, "process:1") as pool:
        assert str(pool.plan) == "executor:3 > process:1"
        assert pool.pipe(lambda: str(get_pool().plan)) == "process:1"


def test_what_waits_in_it_is_taken_back_when_the_pool_is_terminated(threads: cf.ThreadPoolExecutor) -> None:
    # Tasks of an executor get copies, so these speak through pipes, which are the same in all threads.
    told, tell = os.pipe()
    gate, opened = os.pipe()

    def task(number: int) -> None:
        os.write(tell, bytes([number]))
        os.read(gate, 1)

    pool = get_pool(threads, workers=6)
    results = [pool.submit(task, number) for number in range(12)]
    begun = b"".join(os.read(told, 1) for _ in range(3))
    pool.terminate()
    os.write(opened, b"...")
    threads.submit(int).result(30)
    assert sorted(begun) == [0, 1, 2]
    assert all(result.ready() for result in results)
    os.set_blocking(told, False)
    with pytest.raises(BlockingIOError):
        os.read(told, 1)
    for fd in (told, tell, gate, opened):
        os.close(fd)


def test_an_executor_that_breaks_is_told_and_not_waited_for(run_script: Callable[..., str]) -> None:
    said = run_script("""
        import os
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from anypool import WorkerLost, get_pool

        if __name__ == "__main__":
            with ProcessPoolExecutor(2, get_context("spawn")) as executor:
                pool = get_pool(executor)
                try:
                    pool.map(os._exit, [3])
                except WorkerLost as error:
                    print(error)
                pool.terminate()
    """)
    assert "launcher 'executor' broke" in said
    assert "BrokenProcessPool" in said
