"""Exceptions travel as what they are, whatever their classes are made from."""

import copyreg
from dataclasses import dataclass
from typing import Any

import pytest

from anypool_serialize import copy


class Needs(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class Renamed(Exception):
    def __init__(self, name):
        super().__init__(f"no {name}")


class ByKeyword(Exception):
    def __init__(self, *, code):
        self.code = code


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Made(Exception):
    def __new__(cls, first, second):
        return super().__new__(cls, first + second)


class Both(ValueError, OSError):
    def __init__(self, code):
        super().__init__(code, "text")


@dataclass
class Data(Exception):
    a: int
    b: int = 2


class NoFile(OSError):
    def __init__(self, path):
        super().__init__(2, "no such file", path)


class BadText(UnicodeDecodeError):
    def __init__(self, data):
        super().__init__("utf-8", data, 0, 1, "bad")


class Group(ExceptionGroup):
    def __new__(cls, errors):
        return super().__new__(cls, "several", errors)

    def __init__(self, errors):
        self.count = len(errors)


class Own(Exception):
    def __init__(self, a, b):
        super().__init__(a, b, "more")
        self.a, self.b = a, b

    def __reduce__(self):
        return Own, (self.a, self.b), vars(self)


CASES: list[BaseException] = [
    Needs(1, "why"),
    Renamed("bread"),
    ByKeyword(code=3),
    Slotted(4),
    Made("a", "b"),
    Both(5),
    Data(a=1),
    NoFile("/x"),
    BadText(b"\xff"),
    Own(1, 2),
]


@pytest.mark.parametrize("error", CASES, ids=lambda error: type(error).__name__)
def test_an_exception_with_an_init_of_its_own_keeps_its_args_and_attributes(error: Any) -> None:
    error.note = "kept"
    twin = copy([error])[0]
    assert (type(twin), twin.args, str(twin), vars(twin)) == (type(error), error.args, str(error), vars(error))
    names = [name for name in dir(type(error)) if name in ("code", "errno", "filename", "start", "object", "reason")]
    assert [getattr(twin, name) for name in names] == [getattr(error, name) for name in names]


def test_a_group_keeps_the_exceptions_in_it() -> None:
    twin = copy(ExceptionGroup("both", [Needs(1, "why"), Group([ByKeyword(code=2)])]))
    assert type(twin) is ExceptionGroup
    needs: Any
    group: Any
    needs, group = twin.exceptions
    assert (type(needs), needs.code, type(group), group.count) == (Needs, 1, Group, 1)
    assert group.exceptions[0].code == 2


def test_who_has_told_pickle_how_is_asked() -> None:
    asked: list[BaseException] = []

    def reduce(error: Renamed) -> Any:
        asked.append(error)
        return Renamed, ("registered",)

    copyreg.pickle(Renamed, reduce)
    try:
        assert str(copy(Renamed("bread"))) == "no registered"
    finally:
        del copyreg.dispatch_table[Renamed]
    assert asked


def test_a_function_by_value_knows_the_file_that_its_lines_are_in():
    local = copy(lambda: None)
    assert local.__code__.co_filename == __file__
