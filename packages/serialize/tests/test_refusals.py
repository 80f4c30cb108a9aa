"""What cannot travel is refused with the path to the culprit, the reason and a way out."""

import contextlib
import ctypes
import functools
import multiprocessing
import socket
import sqlite3
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import anypool_serialize
from anypool_serialize import AnypoolError, Unserializable, dumps


class Base:
    def __init__(self, connection: Any) -> None:
        self._socket = connection

    def use(self):
        pass


class Places(NamedTuple):
    first: int
    second: Any


@pytest.fixture
def sock():
    with socket.socket() as connection:
        yield connection


def in_closure(db: Any) -> Callable[[], Any]:
    def f():
        return db

    return f


def with_default(db: Any) -> Callable[[], Any]:
    def f(_a=1, _b=db):
        pass

    return f


def with_keyword(db: Any) -> Callable[[], Any]:
    def f(*, key=db):
        pass

    return f


def with_global(db: Any) -> Callable[[], Any]:
    return types.FunctionType(compile("db", "<text>", "eval"), {"db": db}, "f")


def with_attribute(db: Any) -> Callable[[], Any]:
    def f():
        pass

    f.__dict__["db"] = db
    return f


def in_class(db: Any) -> type:
    class Local:
        pool = db

    return Local


@pytest.mark.parametrize(
    "make,path",
    [
        (lambda s: s, "obj"),
        (lambda s: [0, {"x": (s,)}], "obj[1]['x'][0]"),
        (lambda s: {"key": s}, "obj['key']"),
        (Base, "obj._socket"),
        (lambda s: in_closure(Base(s)), "f.__closure__['db']._socket"),
        (with_default, "f.__defaults__[1]"),
        (with_keyword, "f.__kwdefaults__['key']"),
        (with_global, "f.__globals__['db']"),
        (with_attribute, "f.db"),
        (in_class, "Local.pool"),
        (lambda s: functools.partial(print, s), "obj.__getstate__()[1][0]"),
        (lambda s: Places(1, s), "obj.second"),
        (lambda s: in_closure(in_closure(s)), "f.__closure__['db'].__closure__['db']"),
        (lambda s: Base(s).use, "use.__self__._socket"),
    ],
)
def test_the_path_leads_to_the_culprit(make, path, sock):
    with pytest.raises(Unserializable) as caught:
        dumps(make(sock))
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path} (socket.socket) cannot be serialized: ")
    assert "Open the connection inside the function" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_the_error_is_a_type_error_of_the_package_and_travels_itself():
    error = Unserializable("why", "f.x")
    assert isinstance(error, (TypeError, AnypoolError))
    assert Unserializable.__module__ == "anypool_serialize"
    twin = anypool_serialize.copy(error)
    assert (str(twin), twin.path, type(twin)) == ("why", "f.x", Unserializable)


@pytest.mark.parametrize(
    "make,advice",
    [
        (lambda: (n for n in ""), "Send a list"),
        (lambda: sys._getframe(), "Send the values"),
        (multiprocessing.Lock, "multiprocessing.Manager().Lock()"),
        (multiprocessing.Queue, "multiprocessing.Manager().Queue()"),
        (threading.local, "once per worker"),
        (lambda: memoryview((ctypes.c_int * 3)(1, 2, 3)), "Send the object that it views"),
        (lambda: np.zeros(2, "i4,f8").data, "Send the object that it views"),
        (lambda: np.empty((0, 3)).data, "Send the object that it views"),
    ],
)
def test_what_nothing_carries_is_refused_with_advice(make, advice):
    with pytest.raises(Unserializable, match="cannot be serialized") as caught:
        dumps([make()])
    assert advice in str(caught.value)
    assert caught.value.path == "obj[0]"


def test_a_users_own_error_is_the_cause():
    class Proud:
        def __getstate__(self):
            raise LookupError("not me")

    with pytest.raises(Unserializable, match="LookupError: not me") as caught:
        dumps({"a": Proud()})
    assert caught.value.path == "obj['a']"
    assert isinstance(caught.value.__cause__, LookupError)


def test_too_deep_nesting_is_refused_with_advice():
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    with pytest.raises(Unserializable, match=r"nested too deeply.*Send it flat") as caught:
        dumps(nest)
    # It does nothing for the pickler from Python 3.12 on.
    assert ("sys.setrecursionlimit" in str(caught.value)) == (sys.version_info < (3, 12))
    while nest:
        nest = nest[0]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, MemoryError, SystemExit])
def test_what_is_not_the_objects_fault_passes_through(signal):
    class Interrupted:
        def __reduce__(self):
            raise signal

    with pytest.raises(signal):
        dumps(Interrupted())


def test_the_elements_of_a_tuple_may_be_named(sock):
    with pytest.raises(Unserializable) as caught:
        dumps((in_closure(Base(sock)), {"a": 1}), names=("f", "kwargs"))
    assert caught.value.path == "f.__closure__['db']._socket"
    with pytest.raises(Unserializable) as caught:
        dumps((print, {"a": sock}), names=("f", "kwargs"))
    assert caught.value.path == "kwargs['a']"


def test_a_graph_with_cycles_is_searched_once(sock):
    loop: list[Any] = [0]
    loop.append({"loop": loop, "s": sock})
    with pytest.raises(Unserializable) as caught:
        dumps(loop)
    assert caught.value.path == "obj[1]['s']"


def test_an_open_pipe_is_refused_for_its_number_names_something_else_elsewhere():
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs, pytest.raises(Unserializable, match=r"pipe of this process.*queue of multiprocessing.Manager"):
        dumps(ours)


def test_the_connection_of_a_database_is_not_taken_for_a_pipe():
    database = sqlite3.connect(":memory:")
    with contextlib.closing(database), pytest.raises(Unserializable, match="Open the database inside the function"):
        dumps(database)


def test_an_exception_that_is_nobodys_refusal_is_raised():
    class Once:
        failed = False

        def __reduce__(self):
            if not Once.failed:
                Once.failed = True
                raise TimeoutError("as the handler of a time limit raises")
            return object, ()

    with pytest.raises(TimeoutError, match="time limit"):
        dumps([Once()])
