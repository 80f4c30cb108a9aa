"""`explain` draws what does not serialize and why."""

import socket
import threading
from typing import Any

import pytest

from anypool_serialize import explain


class Base:
    def __init__(self, connection):
        self._socket = connection
        self.lock = threading.Lock()
        self.table = bytes(2_000_000)


@pytest.fixture
def broken():
    with socket.socket() as connection:
        db = Base(connection)
        numbers = list(range(1000))

        def f():
            return db, numbers

        yield f


def test_the_tree_names_culprit_reason_copies_and_sizes(broken):
    told = explain(broken)
    text = str(told)
    assert not told.ok
    assert "f: function, does not serialize\n" in text
    assert "├─ .__closure__['db']: " in text
    assert "._socket: socket.socket, does not serialize: cannot pickle 'socket' object. Open the" in text
    assert ".lock: _thread.lock, " in text
    assert "with a copy of a lock or file" in text
    assert ".table: bytes, 2 MB" in text
    assert ".__closure__['numbers']: list, 2.76 kB" in text


def test_the_parts_can_be_asked(broken):
    told = explain(broken)
    db = next(part for part in told.parts if not part.ok)
    culprit = next(part for part in db.parts if not part.ok)
    assert culprit.path == "f.__closure__['db']._socket"
    assert culprit.reason.startswith("cannot pickle 'socket' object")
    assert "does not serialize" in repr(told)


def test_what_serializes_is_shown_with_its_largest_parts():
    told = explain({f"key{i}": bytes(i) for i in range(100)})
    assert told.ok
    assert str(told).splitlines()[1].startswith("├─ ['key99']: bytes, ")
    assert str(told).splitlines()[-1] == "└─ 90 more, smaller"


def test_cycles_end():
    loop: list[Any] = [1]
    loop.append(loop)
    assert explain(loop).ok
    broken: list[Any] = [0, 1, 2, (n for n in "")]
    broken.append(broken)
    assert "[3]: generator, does not serialize" in str(explain(broken))


def test_who_shares_a_culprit_is_not_blamed_for_it(broken):
    connection = broken()[0]._socket
    text = str(explain({"first": [connection], "second": [connection], "f": lambda: connection}))
    assert "['second']: list, does not serialize\n" in text
    assert text.count("does not serialize: see obj['first'][0]\n") + text.endswith("see obj['first'][0]") == 2
    assert text.count("cannot pickle 'socket' object") == 1


def test_the_culprit_is_found_however_many_parts_there_are():
    told = explain([{} for _ in range(5000)] + [(n for n in "")])
    assert [part.path for part in told.parts if not part.ok] == ["obj[5000]"]
    assert told.parts[0].reason.startswith("cannot pickle 'generator' object")
    assert not told.reason
    assert str(told).splitlines()[-1].endswith(" of them not looked at")
