"""A digest stands for content: stable over runs, places and hash seeds, different when the content is."""

import os
import subprocess
import sys
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anypool_serialize import Unserializable, digest

PROGRAM = """
import functools, math, sys, threading
import numpy as np
from dataclasses import dataclass
from enum import Enum
from anypool_serialize import digest

WORDS = {"one", "two", "three", "four"}
TABLE = {"b": 1, "a": {3, 1, 2}, ("k", 2): None}
ARRAY = np.arange(5)
lock = threading.Lock()

class Color(Enum):
    RED = 1

@dataclass
class Point:
    x: int
    def norm(self): return math.sqrt(self.x) + helper(1)

def helper(x): return x + CONSTANT

CONSTANT = 5

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)

def make(n):
    def inner(x, *, k=(1, 2)):
        class Deep:
            y = n
        return x in {"p", "q", "r"} and n and Deep
    return inner

@functools.lru_cache
def cached(x): return helper(x)

class Callback:
    def __init__(self): self.links = {self.run}
    def run(self): return CALLBACK
CALLBACK = Callback()

CASES = [
    lambda: WORDS, lambda: TABLE, lambda: ARRAY, lambda: lock, lambda: Color.RED, Point, Point(3),
    helper, even, odd, make(3), cached, Point(1).norm, functools.partial(helper, 1), lambda:
    sys.modules, lambda: CALLBACK,
    lambda x=lambda: [WORDS]: x,
]
for case in CASES: print(digest(case))
"""


def run(text: str, path: Path, seed: int) -> list[str]:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_digests_survive_another_run_place_line_and_seed(tmp_path):
    first = run(PROGRAM, tmp_path / "a.py", 1)
    moved = PROGRAM.replace("def even", "\n\n\n# moved\ndef even").replace("def make", "\n\ndef make")
    second = run("\n\n" + moved, tmp_path / "other" / "b.py", 2)
    assert len(first) == 17
    assert first == second
    assert len(set(first)) == 17


@pytest.mark.parametrize(
    "old,new,changed",
    [
        ("CONSTANT = 5", "CONSTANT = 6", {6, 5, 7, 11, 12, 13}),
        ('"four"', '"for"', {0, 16}),
        ("return n != 0 and", "return n > 0 and", {8, 9}),
        ("make(3)", "make(4)", {10}),
        ("k=(1, 2)", "k=(1, 3)", {10}),
        ("np.arange(5)", "np.arange(6)", {2}),
        ("RED = 1", "RED = 2", {4}),
    ],
)
def test_a_change_reaches_what_depends_on_it_and_nothing_else(old, new, changed, tmp_path):
    assert old in PROGRAM
    before = run(PROGRAM, tmp_path / "a.py", 1)
    after = run(PROGRAM.replace(old, new), tmp_path / "a.py", 1)
    assert {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b} == changed


def test_equal_content_has_equal_digests_and_types_are_told_apart():
    assert digest(lambda x: x + 1) == digest(lambda x: x + 1)
    assert digest(lambda x: x + 1) != digest(lambda x: x + 2)
    assert digest(lambda x: x + 1) != digest(lambda x: x + 1.0)
    assert digest({1: 2, 3: 4}) == digest({3: 4, 1: 2})
    assert digest(["ab"]) != digest(["a", "b"])
    assert len({digest(v) for v in (1, True, 1.0, "1", b"1", (1,), [1], {1}, None)}) == 9


def test_subclasses_of_sets_and_dicts_have_no_order_either():
    class Words(set[str]):
        pass

    assert digest(Words("abcdef")) == digest(Words("fedcba")) != digest(Words("abc"))
    assert digest(Counter("aab")) == digest(Counter("baa")) != digest(Counter("ab"))
    assert digest(OrderedDict(a=1, b=2)) != digest(OrderedDict(b=2, a=1))


def test_arrays_count_by_content_not_by_layout():
    array = np.arange(12).reshape(3, 4)
    assert digest(array) == digest(np.asfortranarray(array)) == digest(array[:, :])
    assert digest(array) != digest(array.astype("f8"))
    assert digest(array) != digest(array.reshape(4, 3))
    assert digest(np.array(["a", 1], object)) == digest(np.array(["a", 1], object))


def test_installed_code_counts_by_name_and_fast():
    assert digest(os.path.join) == digest(os.path.join)
    assert digest(lambda: np.linalg) == digest(lambda: np.linalg)
    assert digest(print) != digest(len)


def test_containers_that_hold_themselves_end():
    loop: list[Any] = [1]
    loop.append(loop)
    table: dict[str, Any] = {"a": 1}
    table["t"] = [table]
    assert digest(loop) == digest(loop)
    assert digest(table) == digest(table)


def test_what_has_no_content_is_refused():
    with pytest.raises(Unserializable, match="generator has no content"):
        digest([(n for n in "")])
