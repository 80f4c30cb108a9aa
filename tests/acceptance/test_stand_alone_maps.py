"""The maps that are objects of their own, and the pools under the names that users bring along."""

from __future__ import annotations

import pickle

import pytest

import anypool
from anypool import Amap, Asmap, Imap, Ismap, Map, ProcessPool, SerialPool, Smap, ThreadPool, Uimap

POOLS = {"serial": SerialPool, "thread:2": ThreadPool, "process:2": ProcessPool}


def listed(kind, answer):
    return answer.get(10) if kind in (Amap, Asmap) else list(answer)


@pytest.mark.parametrize("kind", [Map, Imap, Amap, Uimap, Smap, Ismap, Asmap])
@pytest.mark.parametrize("name", POOLS)
def test_a_map_object_maps_as_its_pool_does(kind, name: str) -> None:
    mapped = kind(POOLS[name], 2)
    if kind in (Smap, Ismap, Asmap):
        answer = listed(kind, mapped(pow, [(2, 3), (3, 2)]))
    else:
        answer = listed(kind, mapped(pow, [2, 3], [3, 2]))
    assert sorted(answer) == [8, 9]


@pytest.mark.parametrize("place", ["thread:2", "multiprocess:2"])
@pytest.mark.parametrize("kind", [Map, Imap, Uimap, Amap, Smap, Ismap, Asmap])
def test_a_map_object_travels(kind, place: str) -> None:
    mapped = pickle.loads(pickle.dumps(kind(place)))
    items = [(-1,), (2,)] if kind in (Smap, Ismap, Asmap) else [-1, 2]
    assert sorted(listed(kind, mapped(abs, items))) == [1, 2]


@pytest.mark.parametrize("kind", [Map, Imap, Smap, Ismap])
def test_without_a_pool_a_map_object_is_the_builtin(kind) -> None:
    mapped = kind()
    columns = [[(2, 3)]] if kind in (Smap, Ismap) else [[2], [3]]
    assert list(mapped(pow, *columns)) == [8]


@pytest.mark.parametrize("ending", [{"close": True}, {"join": True}, {"clear": True}, {"close": True, "join": True}])
def test_a_map_object_takes_its_old_options(ending: dict[str, bool]) -> None:
    mapped = Map(ProcessPool, 2, **ending)
    assert mapped(abs, [-1, 2]) == [1, 2]
    assert mapped(abs, [-3]) == [3]


def test_threads_map_over_processes() -> None:
    inner = Map(ProcessPool, 2, oversubscribe=True)
    outer = Map(ThreadPool, 2)

    def work(x):
        return sum(inner(lambda y: x * y, range(4)))

    assert outer(work, range(4)) == [0, 6, 12, 18]


def test_a_map_object_is_an_argument_of_another_map() -> None:
    outer = Map(ProcessPool, 2)
    inner = Map(ThreadPool, 2)
    assert outer(inner, [abs] * 2, [[-1, 2], [-3]]) == [[1, 2], [3]]


@pytest.mark.parametrize("option", ["nodes", "ncpus"])
@pytest.mark.parametrize("kind", [ProcessPool, ThreadPool])
def test_a_pool_under_its_old_name_takes_its_old_options(kind, option: str) -> None:
    with kind(**{option: 2}) as pool:
        assert isinstance(pool, anypool.Pool)
        assert len(pool) == 2
        assert pool.map(abs, [-1]) == [1]
    with kind(2) as pool:
        assert len(pool) == 2


def test_a_serial_pool_has_its_old_name() -> None:
    with SerialPool() as pool:
        assert pool.map(abs, [-1]) == [1]
