"""Shared objects: what `pool.share` gives, wherever it is used."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from operator import add
from typing import Any

import pytest

from anypool import Launcher, Pool, Shared, Unserializable
from anypool.testing._base import Kit, on_few_cpus, open_pool
from anypool.testing._remains import until
from anypool.testing._tasks import (
    Block,
    Door,
    blocks,
    byte_beyond,
    byte_of,
    bytes_by_pool,
    marks,
    overwritten,
)
from anypool.testing._terms import copies

__all__: list[str] = []

_SIZE = 100_000


class Sharing(Kit):
    """Behaviours of `share`."""

    @pytest.fixture
    def block(self, path: Callable[[str], str]) -> Block:
        """Bytes from 0 to 255, again and again."""
        return Block(bytearray(bytes(range(256)) * (_SIZE // 256)), path("rebuilt"))

    def test_a_shared_object_is_the_argument_of_every_method(self, pool: Pool, block: Block) -> None:
        shared: Any = pool.share(block)
        rows, options, wanted = [shared] * 6, {"block": shared}, [*range(6)]
        assert pool.map(byte_of, range(6), rows) == pool.map(byte_of, range(6), kwargs=options) == wanted
        assert list(pool.imap(byte_of, range(6), rows)) == wanted
        assert sorted(pool.uimap(byte_of, range(6), kwargs=options, chunksize=2)) == wanted
        assert pool.amap(byte_of, range(6), rows, seed=1).get(self.limit) == wanted
        assert pool.starmap(byte_of, zip(range(6), rows, strict=True), timeout=60.0) == wanted
        assert pool.map_reduce(byte_of, add, range(6), rows) == 15
        assert pool.pipe(byte_of, 7, shared) == pool.apipe(byte_of, 7, block=shared).get(self.limit) == 7
        assert pool.submit(byte_of, pool.submit(abs, -8), shared).result(self.limit) == 8

    def test_within_something_else_it_stays_a_handle(self, pool: Pool, block: Block) -> None:
        shared: Any = pool.share(block)

        def read(held: Any) -> tuple[bool, int, bool]:
            return type(held[0]) is Shared, held[0].value.data[5], held[0].value is shared.value

        assert pool.map(read, [[shared]] * 3) == [(True, 5, True)] * 3
        assert pool.pipe(read, [shared]) == (True, 5, True)
        assert pool.pipe(lambda: [shared])[0] is shared

    def test_a_shared_object_crosses_once_to_each_process(
        self, recipe: Launcher, opened: Callable[..., Pool], block: Block, path: Callable[[str], str]
    ) -> None:
        pool = opened()
        shared: Any = pool.share(block)
        for _ in range(3):
            pool.map(byte_of, range(8 * len(pool)), kwargs={"block": shared}, chunksize=1)
            pool.pipe(byte_of, 1, shared)
            pool.pipe(lambda held: held[0].value.data[1], [shared])
        crossed = Counter(marks(path("rebuilt")))
        assert bool(crossed) == (recipe.traits.crosses == "bytes" and shared.readonly)
        assert set(crossed.values()) <= {1}

    def test_its_buffers_are_read_only_where_the_handle_says_so(self, pool: Pool, block: Block) -> None:
        shared: Any = pool.share(block)
        assert pool.map(overwritten, [shared] * 3) == [not shared.readonly] * 3
        assert overwritten(shared.value) is not shared.readonly
        assert ("not read-only" in repr(shared)) is not shared.readonly
        assert "Block" in repr(shared)
        assert pool.launcher.name in repr(shared)

    def test_who_waits_keeps_what_is_released_and_nobody_else_gets_it(
        self, recipe: Launcher, opened: Callable[..., Pool], block: Block, path: Callable[[str], str]
    ) -> None:
        pool = opened()
        shared: Any = pool.share(block)
        with Door(path("door"), path("begun")) as door:
            if recipe.starts_workers:
                later = [pool.submit(byte_beyond, at, shared, door) for at in range(4 * len(pool))]
                until(lambda: door.begun, self.limit, "a call that runs")
            shared.release()
        if recipe.starts_workers:
            assert [each.result(self.limit) for each in later] == [*range(4 * len(pool))]
        with pytest.raises(ValueError, match="released"):
            _ = shared.value
        with pytest.raises(ValueError, match="released"):
            pool.pipe(byte_of, 1, shared)
        with pytest.raises(ValueError, match="released"):
            pool.map(byte_of, [1], [shared])
        with pytest.raises(ValueError, match="released"):
            pool.map(byte_of, [1], kwargs={"block": shared})
        with pytest.raises(ValueError, match="released"):
            pool.pipe(lambda held: held[0].value, [shared])

    def test_dropping_the_handle_has_workers_forget_the_object(
        self, opened: Callable[..., Pool], path: Callable[[str], str]
    ) -> None:
        pool, before = opened(), blocks()
        for use in ({"b": [1]}, {"b": [1, 2]}):
            shared: Any = pool.share(Block(bytearray(_SIZE), path("rebuilt")))
            assert not any(pool.map(byte_of, range(4 * len(pool)), kwargs={"block": shared}, chunksize=1))
            assert not any(pool.map(byte_of, range(8), [shared] * 8))
            assert pool.pipe(lambda held, _: held[0].value.data[0], [shared], use) == 0
            del shared
        gc.collect()

        def forgotten() -> bool:
            return max(pool.map(blocks, range(4 * len(pool)), chunksize=1)) <= before

        until(forgotten, self.limit, "workers without the object")

    def test_leaving_its_block_or_the_end_of_its_pool_releases_it(self, opened: Callable[..., Pool]) -> None:
        with opened() as pool:
            shared: Any = pool.share([1, 2])
            with shared:
                assert pool.pipe(len, shared) == 2
            assert shared.released
            other: Any = pool.share([1, 2, 3])
            assert (pool.pipe(len, other), other.released) == (3, False)
        assert other.released
        assert "released" in repr(other)

    def test_a_shared_object_outlives_the_workers_of_its_pool(self, opened: Callable[..., Pool], block: Block) -> None:
        pool = opened()
        shared: Any = pool.share(block)
        for change in (pool.clear, pool.restart, lambda: pool.resize(2), lambda: pool.resize(1)):
            with on_few_cpus():
                change()
            assert pool.map(byte_of, range(4), [shared] * 4, chunksize=1) == [0, 1, 2, 3]

    def test_a_handle_works_in_other_pools_and_in_those_of_tasks(self, pool: Pool, block: Block) -> None:
        shared: Any = pool.share(block)
        with open_pool("thread:1") as other:
            assert other.map(byte_of, [1, 2], [shared] * 2) == [1, 2]
            own: Any = other.share(block)
            assert pool.map(byte_of, [1, 2], [own] * 2) == [1, 2]
        assert pool.pipe(bytes_by_pool, [shared]) == ([1, 2], [1, 2])

    @copies
    def test_what_can_not_be_serialised_is_refused_when_it_is_shared(self, pool: Pool) -> None:
        with pytest.raises(Unserializable, match=r"obj\[1\]"):
            pool.share([1, (x for x in "ab")])
