"""A digest stays as it is while its object is used, and takes time as its object has parts."""

import abc
import enum
import functools
import time
import typing
from collections.abc import Callable
from typing import Any

import pytest

from anypool_serialize import Unserializable, digest

LIMIT = 20  # seconds; what is not linear in the parts takes years or at least minutes


class Part:
    pass


def test_combining_flags_changes_nothing():
    class Access(enum.Flag):
        READ = 1
        WRITE = 2

    before = digest(Access)
    assert Access.READ | Access.WRITE
    assert digest(Access) == before


def test_values_of_an_enum_that_pickles_by_name_count():
    def colors(red):
        class Color(enum.Enum):
            RED = red

            def __reduce_ex__(self, protocol):
                return getattr, (Color, self.name)

        return Color

    assert digest(colors(1)) == digest(colors(1)) != digest(colors(2))


@pytest.mark.parametrize("registered", [int, abc.ABC])
def test_calling_a_single_dispatch_function_changes_nothing(registered):
    @functools.singledispatch
    def name(value):
        return "object"

    name.register(registered, lambda value: "registered")
    before = digest(name)
    name(1)
    abc.ABCMeta("Unrelated", (), {}).register(float)
    name("")
    assert digest(name) == before
    name.register(str, lambda value: "text")
    assert digest(name) != before


def test_asking_a_protocol_changes_nothing():
    @typing.runtime_checkable
    class Closes(typing.Protocol):
        def close(self): ...

    before = digest(Closes)
    assert not isinstance(3, Closes)
    assert digest(Closes) == before


def nested(make: Callable[[Any], Any]) -> Any:
    value: Any = ()
    for _ in range(60):
        value = make(value)
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda x: [x, x],
        lambda x: (x, x),
        lambda x: {"a": x, "b": x},
        lambda x: {1: x, "b": x},
        lambda x: frozenset([x, (x, 1)]),
    ],
    ids=["list", "tuple", "dict of names", "dict", "set"],
)
def test_shared_containers_are_read_once(make):
    start = time.monotonic()
    assert digest(nested(make)) == digest(nested(make))
    assert time.monotonic() - start < LIMIT


def test_what_elements_of_a_set_share_is_read_once():
    shared, parts = [Part() for _ in range(2000)], {Part() for _ in range(300)}
    for part in parts:
        vars(part)["shared"] = shared
    start = time.monotonic()
    assert digest(parts) == digest(set(parts))
    assert time.monotonic() - start < LIMIT


def test_a_chain_may_be_longer_than_the_stack_is_deep():
    def chain(end):
        for _ in range(5000):
            part = Part()
            vars(part)["next"] = [end]
            end = part
        return end

    assert digest(chain(1)) == digest(chain(1)) != digest(chain(2))
    with pytest.raises(Unserializable, match="generator has no content"):
        digest(chain(n for n in ""))


def ring(*values: object) -> list[Part]:
    parts = [Part() for _ in values]
    for part, following, value in zip(parts, [*parts[1:], parts[0]], values, strict=True):
        vars(part).update(next=following, value=value)
    return parts


def test_objects_of_a_ring_have_the_same_digest_wherever_it_was_entered():
    assert digest(ring(1, 2, 3)[0]) == digest(ring(3, 1, 2)[1]) != digest(ring(1, 2, 3)[1])
    assert digest(ring(1, 2, 3)[0]) != digest(ring(1, 3, 2)[0])
    assert digest(ring(1, 2, 3, 4)[0]) != digest(ring(1, 2, 3, 5)[0])
    assert digest(set(ring(1, 2, 3))) == digest(set(ring(3, 1, 2))) != digest(set(ring(1, 3, 2)))


def test_sharing_does_not_count():
    part = Part()
    assert digest([part, part]) == digest([Part(), Part()])
