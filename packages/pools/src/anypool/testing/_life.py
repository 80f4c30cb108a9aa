"""Life: pools open, close, open again, live beside each other, and leave nothing behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from anypool import Launcher, Pool, PoolClosed
from anypool._borrowed import Borrowed
from anypool.testing._base import METHODS, Kit, Script, on_few_cpus, open_pool
from anypool.testing._remains import is_gone, leaving_nothing, until
from anypool.testing._tasks import marks, where
from anypool.testing._terms import a_recipe, ended, parts_of

__all__: list[str] = []

# Seconds in which workers of this machine are gone after their owner was killed, with some to spare.
_ORPHAN_SECONDS = 10.0
_THREADS = 8

_FORGETFUL = """
    from anypool.testing._tasks import mark
    if __name__ == "__main__":
        pool = get_pool(recipe)
        for number in range(20):
            pool.submit(mark, sys.argv[2], str(number))
        later = pool.amap(mark, [sys.argv[2]] * 20)
"""
_KILLED = """
    import time
    from anypool.testing._tasks import where
    if __name__ == "__main__":
        pool = get_pool(recipe)
        places = pool.map(lambda _: (time.sleep(0.02), where())[1], range(8), chunksize=1)
        print(*{pid for host, pid in places if host == where()[0]}, flush=True)
        pool.map(time.sleep, [60] * 4)
"""
_UNGUARDED = """
    class Point:
        def __init__(self, x):
            self.x = x

    def double(point):
        return Point(point.x * FACTOR)

    FACTOR = 2
    with get_pool(recipe) as pool:
        print([point.x for point in pool.map(double, map(Point, range(4)))])
"""


class Life(Kit):
    """Behaviours of a pool's life."""

    def test_a_closed_pool_takes_no_work(self, opened: Callable[..., Pool]) -> None:
        pool = opened()
        pool.close()
        for method in METHODS:
            with pytest.raises(PoolClosed, match="restart"):
                getattr(pool, method)(abs, [(1,)])
        for call in (pool.pipe, pool.apipe, pool.submit):
            with pytest.raises(PoolClosed):
                call(abs, 1)
        with pytest.raises(PoolClosed):
            pool.resize(1)
        pool.join()
        with pytest.raises(PoolClosed), pool:
            pass

    def test_closing_twice_is_closing_once(self, opened: Callable[..., Pool]) -> None:
        pool = opened()
        with pytest.raises(ValueError, match="close"):
            pool.join()
        for _ in range(2):
            pool.close()
        for _ in range(2):
            pool.join()
        for _ in range(2):
            pool.terminate()

    def test_leaving_a_pool_finishes_what_was_started(self, opened: Callable[..., Pool]) -> None:
        with opened() as pool:
            results = [pool.submit(abs, -number) for number in range(50)]
            later = pool.amap(abs, range(50))
        assert [result.result(0) for result in results] == later.get(0) == list(range(50))

    def test_leaving_a_pool_by_an_exception_cancels_what_waits(
        self, recipe: Launcher, opened: Callable[..., Pool]
    ) -> None:
        if not recipe.starts_workers:
            # The caller has done everything by then.
            return
        results: list[Any] = []

        def leave() -> None:
            with opened() as pool:
                results.extend(pool.submit(time.sleep, 0.3) for _ in range(10 * len(pool)))
                raise KeyError("left")

        with pytest.raises(KeyError, match="left"):
            leave()
        assert all(result.done() for result in results)
        assert results[-1].cancelled()

    def test_a_pool_can_be_opened_again_from_every_state(self, opened: Callable[..., Pool]) -> None:
        pool = opened()
        pool.restart()
        assert pool.map(abs, [-1]) == [1]
        pool.close()
        pool.clear()
        assert pool.map(abs, [-2]) == [2]
        pool.terminate()
        pool.restart()
        assert pool.map(abs, [-3]) == [3]

    def test_a_pool_can_be_resized(self, recipe: Launcher, opened: Callable[..., Pool]) -> None:
        pool = opened()
        for size in (3, 1):
            with on_few_cpus():
                pool.resize(size)
            assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
            if recipe.starts_workers and [*parts_of(recipe)] == [recipe]:
                assert len(pool) == size
        with pytest.raises(ValueError, match="workers"):
            pool.resize(0)

    def test_a_pool_tells_its_workers_and_what_they_did(self, opened: Callable[..., Pool]) -> None:
        with opened() as pool:
            assert pool.map(abs, range(30)) == list(range(30))
            for number in range(5):
                pool.pipe(abs, number)
            workers = pool.workers()
            assert len(workers) == len(pool)
            assert sum(worker.tasks for worker in workers) == 35
            assert all(worker.name and worker.host for worker in workers)
            assert pool.stats()["tasks"] == 35
            assert pool.launcher.name in repr(pool)
            assert str(pool.plan)
        assert pool.stats()["tasks"] == 35

    def test_two_pools_at_once_are_two_pools(self, recipe: Launcher, opened: Callable[..., Pool]) -> None:
        first, second = opened(), opened()
        streams = first.imap(abs, range(200)), second.imap(lambda x: -x, range(200))
        assert list(zip(*streams, strict=True)) == [(x, -x) for x in range(200)]
        processes = [set(pool.map(lambda _: where(), range(20), chunksize=1)) - {where()} for pool in (first, second)]
        assert isinstance(recipe, Borrowed) or not processes[0] & processes[1]
        second.close()
        second.join()
        assert first.map(abs, range(-9, 0)) == list(range(9, 0, -1))

    def test_several_threads_may_use_one_pool(self, pool: Pool) -> None:
        found: dict[int, Any] = {}

        def use(number: int) -> None:
            mapped = pool.map(lambda x: x * number, range(100))
            found[number] = mapped, pool.pipe(abs, -number), list(pool.imap(abs, [-number]))

        threads = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.limit)
        assert found == {n: ([x * n for x in range(100)], n, [n]) for n in range(_THREADS)}

    @ended
    def test_a_pool_leaves_nothing_behind(self, opened: Callable[..., Pool]) -> None:
        with opened() as first:
            # What the first one leaves may be for all later ones.
            first.map(abs, range(100))
        with leaving_nothing(), opened() as pool:
            assert pool.map(len, [bytes(2_000_000)] * 4) == [2_000_000] * 4
            pool.amap(abs, range(100))
            list(zip(pool.imap(abs, range(10**6)), range(5), strict=False))

    @ended
    def test_a_pool_that_is_forgotten_leaves_nothing_behind(
        self, recipe: Launcher, opened: Callable[..., Pool]
    ) -> None:
        opened().map(abs, range(10))
        with leaving_nothing():
            pool = open_pool(recipe)
            assert pool.map(abs, range(100)) == list(range(100))
            del pool

    @a_recipe
    def test_a_script_needs_no_main_guard(self, script: Script) -> None:
        code, out, err = script.run(_UNGUARDED)
        assert (code, out) == (0, "[0, 2, 4, 6]\n"), err

    @a_recipe
    def test_a_script_that_closes_no_pool_ends_when_all_is_done(
        self, script: Script, path: Callable[[str], str]
    ) -> None:
        code, _, err = script.run(_FORGETFUL, path("done"))
        assert code == 0, err
        assert len(marks(path("done"))) == 40

    @a_recipe
    def test_workers_end_with_an_owner_that_is_killed(self, script: Script) -> None:
        with script.start(_KILLED) as owner:
            assert owner.stdout is not None
            pids = [int(word) for word in owner.stdout.readline().split()]
            owner.kill()
            owner.wait(self.limit)
            assert pids, owner.stderr and owner.stderr.read()
            if os.path.isdir("/proc"):
                until(lambda: all(map(is_gone, pids)), _ORPHAN_SECONDS, "the end of the workers")
