"""Enumerations of a script arrive with their members as they are."""

PROGRAM = """
import dataclasses, datetime, decimal, enum, functools
import numpy as np
from peer import Peer

class Coordinate(bytes, enum.Enum):
    def __new__(cls, value, label):
        member = bytes.__new__(cls, [value])
        member._value_ = value
        member.label = label
        return member
    PX = (0, "P.X")
    PY = (1, "P.Y")

class Labelled(enum.Enum):
    def __new__(cls, value, label):
        member = object.__new__(cls)
        member._value_ = value
        member.label = label
        return member

class Child(Labelled):
    A = (1, "a")
    B = (2, "b")
    ALIAS = (1, "c")

@dataclasses.dataclass(frozen=True)
class Creature:
    size: str
    legs: int = 4

class Beast(Creature, enum.Enum):
    BEETLE = "small", 6
    DOG = "large"

@dataclasses.dataclass
class Slotted:
    __slots__ = ("size",)
    size: int

class InSlots(Slotted, enum.Enum):
    S = 1

class Function(enum.Enum):
    ADD = enum.member(lambda x: (x + 1, Function.ADD))
    SUB = enum.member(functools.partial(lambda x: (x - 1, Function.SUB.name)))
    TWO = 2
    def __call__(self, x): return self.value(x)

class Day(datetime.date, enum.Enum):
    FIRST = 2026, 1, 1

class Moment(datetime.datetime, enum.Enum):
    FIRST = 2026, 1, 1, 5

class Price(decimal.Decimal, enum.Enum):
    LOW = "1.50"

class Pair(tuple, enum.Enum):
    P = 1, 2

class Steps(list, enum.Enum):
    UP = [1, 2]

class Code(np.int64, enum.Enum):
    LOW = 1

class Word(str, enum.Enum):
    A = "a"

class Named(enum.StrEnum):
    ONE = enum.auto()

class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

class Access(enum.Flag, boundary=enum.KEEP):
    READ = 1
    WRITE = 2
    WIDE = 12

class Meta(enum.EnumMeta):
    tag = "meta"

class Tagged(enum.Enum, metaclass=Meta):
    X = 1

class Unhashable(enum.Enum):
    L = [1]
    M = [2]
    def __init__(self, first): self.twice = first * 2

def check():
    assert [(m.label, m.value, bytes(m)) for m in Coordinate] == [("P.X", 0, bytes([0])), ("P.Y", 1, bytes([1]))]
    assert Coordinate(1) is Coordinate.PY and Coordinate.PY == bytes([1])
    assert [(m.value, m.label) for m in Child] == [(1, "a"), (2, "b")] and Child.ALIAS is Child.A
    assert Beast.BEETLE.legs == 6 and Beast.DOG.size == "large" and Beast(Creature("small", 6)) is Beast.BEETLE
    assert InSlots.S.size == 1
    assert Function.ADD(1) == (2, Function.ADD) and len(Function) == 3 and Function.SUB(1) == (0, "SUB")
    assert Day.FIRST.isoformat() == "2026-01-01" and Moment.FIRST.hour == 5
    assert Price.LOW + 1 == decimal.Decimal("2.5")
    assert Pair.P == (1, 2) and Word.A == "a" and Word("a") is Word.A and Named.ONE.upper() == "ONE"
    assert Steps.UP == [1, 2] and Steps.UP.value == [1, 2] and Code.LOW + 1 == 2
    assert Level.LOW < Level.HIGH == 2 and Level.LOW + 1 == 2
    assert Access.READ | Access.WRITE == Access(3) and Access(16).value == 16 and Access.WIDE.value == 12
    assert list(Access) == [Access.READ, Access.WRITE]
    assert Tagged.tag == "meta" and type(Tagged) is Meta
    assert Unhashable([1]) is Unhashable.L and Unhashable.M.twice == [2, 2]
    assert [repr(e) for e in (Child.A, Level.LOW, Access.READ)] == SHOWN
    assert [str(e) for e in (Child.A, Level.LOW, Named.ONE)] == ["Child.A", "1", "one"]

SHOWN = [repr(e) for e in (Child.A, Level.LOW, Access.READ)]
every = (Coordinate, Child, Beast, InSlots, Function, Day, Price, Pair, Word, Named, Level, Access, Tagged, Unhashable)

def own(cls):
    return {name for name in vars(cls) if name != "__static_attributes__"}

check()
with Peer() as there:
    there.call(check)
    assert there.call(lambda: Coordinate.PY) is Coordinate.PY
    names = there.call(lambda: [own(e) for e in every])
    assert names == [own(e) for e in every], [n ^ own(e) for n, e in zip(names, every)]
"""


def test_members_are_restored_without_what_made_them(script):
    script(PROGRAM)
