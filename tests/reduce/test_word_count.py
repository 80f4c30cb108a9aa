"""The words of a real corpus, the standard library's sources, counted on the workers."""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from functools import reduce
from operator import add
from pathlib import Path

import pytest

from anypool import Pool
from anypool_serialize import dumps

STDLIB = Path(sysconfig.get_path("stdlib"))
FILES = sorted(STDLIB.glob("*.py"))[:60]
CHUNK = 20


def words_of(path: Path) -> Counter[str]:
    return Counter(re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace")))


@pytest.fixture(scope="module")
def counts() -> list[Counter[str]]:
    """Each file's words, counted here."""
    return [words_of(path) for path in FILES]


def size_of(partial: Counter[str]) -> int:
    return len(dumps([partial]).header)


def test_a_word_count_is_that_of_the_builtin_in_chunks_of_any_size(somewhere: Pool, counts: list[Counter[str]]) -> None:
    expected = reduce(add, counts)
    assert len(FILES) == 60
    assert expected["return"] > 1000
    assert somewhere.map_reduce(words_of, add, FILES) == expected
    assert somewhere.map_reduce(words_of, add, iter(FILES), chunksize=7, initial=Counter()) == expected


def test_what_comes_home_of_a_word_count_is_one_partial_count_for_each_chunk(
    somewhere: Pool, counts: list[Counter[str]], home
) -> None:
    assert somewhere.map_reduce(words_of, add, FILES, chunksize=CHUNK) == reduce(add, counts)
    assert sorted(reply.first for reply in home) == list(range(0, 60, CHUNK))
    assert {(reply.items, reply.values) for reply in home} == {(CHUNK, 1)}
    for reply in home:
        partial = reduce(add, counts[reply.first : reply.first + CHUNK])
        assert reply.size in (0, size_of(partial))


@pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2", "parallel-python:2"], scope="module")
def test_fewer_bytes_come_home_of_a_word_count_than_of_a_map(pool: Pool, counts: list[Counter[str]], home) -> None:
    assert reduce(add, pool.map(words_of, FILES, chunksize=CHUNK)) == reduce(add, counts)
    mapped = sum(reply.size for reply in home)
    home.clear()
    pool.map_reduce(words_of, add, FILES, chunksize=CHUNK)
    reduced = sum(reply.size for reply in home)
    print(f"{mapped} bytes came home of the map, {reduced} of the reduction")
    assert 0 < reduced < 0.7 * mapped
