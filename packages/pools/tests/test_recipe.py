"""Dataclasses that are finished late are dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from anypool import _recipe
from anypool._recipe import field_names, recipe


def family() -> tuple[type[Any], type[Any]]:
    """A base and its child, both unfinished."""

    @recipe
    class Base:
        kind: ClassVar[str] = "base"
        size: int | None = None

        def __post_init__(self) -> None:
            if self.size == 0:
                raise ValueError("no size")

    @recipe
    class Child(Base):
        color: str = "red"

    Base.__module__ = "anypool"
    return Base, Child


def refuses_unknown_options(child: type[Any]) -> bool:
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        child(weight=1)
    return True


def is_frozen(child: type[Any]) -> bool:
    with pytest.raises(dataclasses.FrozenInstanceError):
        child().color = "blue"
    return True


LOOKS: dict[str, Callable[[type[Any]], object]] = {
    "text": lambda child: repr(child(size=2)).endswith("Child(size=2, color='red')"),
    "equality": lambda child: child(size=2) == child(size=2) != child(size=3),
    "hash": lambda child: hash(child(size=2)) == hash(child(size=2)),
    "fields": lambda child: [field.name for field in dataclasses.fields(child)] == ["size", "color"],
    "replace": lambda child: dataclasses.replace(child(size=2), size=3).size == 3,
    "signature": lambda child: list(inspect.signature(child).parameters) == ["size", "color"],
    "copy": lambda child: copy.copy(child(size=2)) == child(size=2),
    "no option": refuses_unknown_options,
    "frozen": is_frozen,
    "is one": dataclasses.is_dataclass,
    "names": lambda child: field_names(child) == ["size", "color"],
}


@pytest.mark.parametrize("first", LOOKS)
def test_whatever_is_asked_first_it_answers_as_a_frozen_dataclass(first: str) -> None:
    _, child = family()
    for look in (LOOKS[first], *LOOKS.values()):
        assert look(child)


def test_its_defaults_options_and_post_init_hold_before_and_after_it_is_finished() -> None:
    base, child = family()
    for _ in range(2):
        made = child(color="blue")
        assert (made.size, made.color, made.kind) == (None, "blue", "base")
        for cls in (base, child):
            with pytest.raises(ValueError, match="no size"):
                cls(size=0)
        assert repr(made)


def test_a_dataclass_may_extend_it() -> None:
    base, child = family()

    @dataclass(frozen=True, kw_only=True)
    class Mine(base):  # type: ignore[valid-type, misc]
        depth: int = 1

    assert repr(Mine(size=2)).endswith("Mine(size=2, depth=1)")
    assert field_names(Mine) == ["size", "depth"]
    assert repr(child(size=2)).endswith("Child(size=2, color='red')")


def test_threads_that_make_instances_while_it_is_finished_get_them() -> None:
    _, child = family()
    start, seen = threading.Barrier(8), []

    def make() -> None:
        start.wait(10)
        for size in range(1, 200):
            made = child(size=size)
            seen.append((made.size, dataclasses.replace(made, size=1).size))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(seen) == sorted([(size, 1) for size in range(1, 200)] * 8)


def test_a_launcher_travels_finished_or_not() -> None:
    from anypool.launchers.process import Process

    assert pickle.loads(pickle.dumps(Process(workers=2))) == Process(workers=2)


def test_a_pool_comes_up_without_the_dataclass_machinery() -> None:
    code = """
import sys
from anypool import get_pool
with get_pool("process:2", oversubscribe=True) as pool:
    assert pool.map(abs, [-1, 2]) == [1, 2]
assert not {"dataclasses", "inspect"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_recipes_of_launchers_are_all_known_to_it() -> None:
    from anypool._launcher import Launcher, ProcessOptions, WorkerOptions
    from anypool.launchers import multiprocess, process, serial, thread

    for cls in (Launcher, WorkerOptions, ProcessOptions, process.Process, thread.Thread, serial.Serial,
                multiprocess.Multiprocess):  # fmt: skip
        assert cls in _recipe._fields
        assert field_names(cls) == [field.name for field in dataclasses.fields(cls)]
