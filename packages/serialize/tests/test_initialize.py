"""What an initializer sets is there for the functions that arrive after it, and nothing else is held back."""

from collections.abc import Callable

import pytest

from anypool_serialize import initialize

SCRIPT = """
from functools import partial
from anypool_serialize import initialize
from peer import Peer

connection = None
cache = {}
scale = 1

class State:
    pass

state = State()

def connect(where):
    global connection, extra
    connection = extra = where
    cache["where"] = where
    state.where = where
    return scale

def look():
    return connection, extra, cache, vars(state)

def scaled(x):
    return scale * x

with Peer() as peer:
    peer.call(initialize, FORM(connect), ("here",))
    assert peer.call(look) == ("here", "here", {"where": "here"}, {"where": "here"})
    scale = 3
    assert peer.call(scaled, 2) == 6
    look.__globals__["__name__"] = "elsewhere"
    extra = None
    assert peer.call(look) == (None, None, {}, {})
"""


@pytest.mark.parametrize("form", ["", "partial"], ids=["function", "partial"])
def test_what_it_sets_is_seen_by_later_functions_of_its_module_only(script: Callable[..., str], form: str) -> None:
    script(SCRIPT.replace("FORM", form))


def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        initialize(divmod, (1, 0))
