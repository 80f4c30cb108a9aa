"""Locks and open files travel as copies, and it is said once."""

import collections
import datetime as dt
import functools
import gc
import io
import logging
import queue
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from anypool_serialize import CopiedState, Unserializable, copy, dumps, loads, pickles


class Base:
    def __init__(self) -> None:
        self._lock = threading.Lock()


def in_closure(db: Any) -> Any:
    def f():
        return db

    return f


def test_a_lock_arrives_as_a_copy_with_one_warning_that_names_the_path():
    f = in_closure(Base())
    with pytest.warns(CopiedState) as caught:
        twin = copy(f)
    assert [str(w.message) for w in caught] == ["f.__closure__['db']._lock: a copy, not the same lock"]
    assert caught[0].filename == __file__
    assert twin()._lock.acquire(blocking=False)
    assert not f()._lock.locked()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dumps(f)


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_strict_refuses_a_lock_with_its_path(make):
    with pytest.raises(Unserializable, match="strict=True") as caught:
        dumps({"a": make()}, strict=True)
    assert caught.value.path == "obj['a']"


def test_a_warning_turned_into_an_error_is_that_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lock = threading.Lock()
        for _ in range(2):
            with pytest.raises(CopiedState):
                dumps(lock)


def test_asking_whether_a_lock_survives_leaves_the_warning_to_who_sends_it():
    lock = threading.Lock()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickles(lock)
    with pytest.warns(CopiedState):
        dumps(lock)


def test_one_lock_in_two_places_is_one_copy():
    lock = threading.Lock()
    with pytest.warns(CopiedState) as caught:
        first, second = copy([lock, lock])
    assert first is second
    assert len(caught) == 1


def test_what_is_made_of_locks_travels():
    with pytest.warns(CopiedState):
        event, line = copy((threading.Event(), queue.Queue()))
    event.set()
    assert event.wait(0)
    line.put(1)
    assert line.get(timeout=1) == 1


def test_an_open_file_arrives_open_at_its_position(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text("abcdef")
    with open(path) as file:
        file.read(3)
        with pytest.warns(CopiedState, match="obj: a copy, not the same file"):
            twin = copy(file)
        with twin:
            assert twin.read() == "def"


def test_standard_streams_are_those_of_the_far_side(script):
    assert "said there" in script("""
        import sys
        from peer import Peer
        out = sys.stdout
        with Peer() as there:
            there.call(lambda: out.write("lost"))
            print(there.call(lambda: type(out).__name__ and "said there"))
    """)


def test_a_lock_that_is_held_here_arrives_free():
    for lock in (threading.Lock(), threading.RLock()):
        with lock, pytest.warns(CopiedState):
            twin = copy(lock)
        assert type(twin) is type(lock)
        assert twin.acquire(blocking=False)


def test_a_copy_of_a_file_that_is_being_written_does_not_empty_it(tmp_path):
    path = tmp_path / "log"
    with path.open("w") as file:
        file.write("precious")
        file.flush()
        with pytest.warns(CopiedState):
            copy(file).close()
    assert path.read_text() == "precious"


def test_a_cached_property_is_no_copied_lock():
    class Local:
        @functools.cached_property
        def value(self):
            return [1]

    twin = loads(dumps(Local(), strict=True))
    assert twin.value is twin.value


def test_streams_in_memory_and_loggers_need_no_copy():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert copy(io.BytesIO(b"x")).read() == b"x"
        assert copy(logging.getLogger("a.b")) is logging.getLogger("a.b")


def test_dill_carries_what_neither_pickle_nor_cloudpickle_does():
    odd = collections.OrderedDict(a=1).keys()
    assert list(copy({"odd": odd})["odd"]) == ["a"]
    with pytest.raises(Unserializable, match="only dill carries it") as caught:
        dumps({"odd": odd}, strict=True)
    assert caught.value.path == "obj['odd']"


def test_a_capsule_is_refused_because_it_is_a_bare_pointer():
    capsule = dt.datetime_CAPI
    with pytest.raises(Unserializable, match="PyCapsule"):
        dumps([capsule])


def test_sys_stdout_of_this_moment_is_found_by_identity(monkeypatch):
    replaced = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", replaced)
    assert copy(replaced) is replaced


def test_a_copy_of_a_temporary_file_leaves_the_file_to_its_owner(tmp_path):
    with tempfile.NamedTemporaryFile("w+", dir=tmp_path) as file:
        file.write("text")
        file.flush()
        write = file.write
        with pytest.warns(CopiedState):
            twin, other = copy((file, write))
        assert twin.name == file.name
        twin.close()
        del twin, other
        gc.collect()
        assert Path(file.name).read_text() == "text"
    assert not Path(file.name).exists()
