"""Functions and classes of a script travel by value, whatever they are made of, and keep their identity."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

# Defined in `__main__`, where a user's script defines it; each line that maps prints what every launcher must print.
SCRIPT = """
import collections, dataclasses, enum, functools, math, sys, typing, abc
from anypool import get_pool

class Colour(enum.Enum):
    RED = 1
    BLUE = 2
    def shout(self): return self.name + "!"
Flag = enum.Flag("Flag", "A B")
Point = collections.namedtuple("Point", "x y")
class Typed(typing.NamedTuple):
    a: int
    b: str = "b"
@dataclasses.dataclass(kw_only=True, frozen=True)
class Data:
    n: int
    tags: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(slots=True)
class Slotted:
    n: int
class Base(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
    def twice(self): return 2 * self.area()
class Square(Base):
    __slots__ = ("side",)
    def __init__(self, side):
        super().__init__()
        self.side = side
    def area(self): return self.side ** 2
    def twice(self): return super().twice()
class Meta(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.stamped = cls.__name__
        return made
class Stamped(metaclass=Meta):
    pass
T = typing.TypeVar("T")
class Box(typing.Generic[T]):
    def __init__(self, item: T): self.item = item
    def get(self) -> T: return self.item
class Hostile:
    def __bool__(self): raise RuntimeError("bool")
    def __eq__(self, other): raise RuntimeError("eq")
    def __hash__(self): raise RuntimeError("hash")
    value = 5
hostile = Hostile()
counter = 0
table = {"offset": 100}
@functools.lru_cache(maxsize=None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def even(n): return True if n == 0 else odd(n - 1)
def odd(n): return False if n == 0 else even(n - 1)
def helper(x): return x + table["offset"]
def uses_globals(x): return helper(x) + math.floor(1.5) + len(sys.argv[0][:0])
def uses_hostile(x): return hostile.value + x
def unassigned():
    if False:
        cell = 1
    def inner(x):
        try:
            return cell
        except NameError:
            return ("unassigned", x)
    return inner
power = functools.partial(pow, 2)
nested = functools.partial(functools.partial(lambda a, b, c: (a, b, c), 1), 2)
class Holder:
    def __init__(self): self.items = [Colour.RED, Point(1, 2), Data(n=1)]
    def method(self, x): return x, self.items[0] is Colour.RED
bound = (lambda self, x: (self, x)).__get__("self")

def identity(x): return x
def is_mine(x):
    return (type(x.items[0]) is Colour, x.items[0] is Colour.RED, type(x.items[1]) is Point, type(x.items[2]) is Data)

def count_up(x):
    global counter
    counter += 1
    return read_counter()
def read_counter(): return counter

def checks(pool):
    yield pool.map(Colour.shout, [Colour.RED, Colour.BLUE])
    yield [a is b for a, b in zip(pool.map(identity, list(Colour)), Colour)]
    yield pool.map(identity, [Flag.A | Flag.B])[0] == Flag.A | Flag.B
    yield pool.map(lambda p: p._replace(x=9), [Point(1, 2)]) == [Point(9, 2)]
    yield [type(x) is Typed for x in pool.map(identity, [Typed(1)])]
    yield pool.map(lambda n: Data(n=n, tags=[n]), [1, 2]) == [Data(n=1, tags=[1]), Data(n=2, tags=[2])]
    yield pool.map(lambda s: Slotted(s.n + 1), [Slotted(1)]) == [Slotted(2)]
    yield pool.map(lambda s: (s.area(), s.twice(), isinstance(s, Base)), [Square(3)])
    yield pool.map(lambda _: Stamped().stamped, [0])
    yield pool.map(lambda b: b.get(), [Box(5), Box[int](6)])
    yield pool.map(fib, [30])
    yield pool.map(even, range(5))
    yield pool.map(uses_globals, [1, 2])
    yield pool.map(uses_hostile, [1])
    yield pool.map(unassigned(), [1])
    yield pool.map(power, [10]), pool.map(nested, [3])
    yield pool.map(Holder().method, [1])
    yield pool.map(bound, [1])
    holder = Holder()
    yield pool.map(is_mine, [holder, [holder][0]])
    (back,) = pool.map(identity, [[[holder]]])
    yield type(back[0][0]) is Holder, is_mine(back[0][0])
    yield pool.map(lambda x: isinstance(x, Holder), pool.map(identity, [holder] * 2))
    yield pool.map(count_up, [0])[0] == counter + (0 if pool.launcher.name in ("serial", "thread") else 1)
    table["offset"] = 200
    yield pool.map(uses_globals, [1])
    table["offset"] = 100

with get_pool(sys.argv[1]) as pool:
    for number, result in enumerate(checks(pool)):
        print(number, result)
"""
EXPECTED = """\
0 ['RED!', 'BLUE!']
1 [True, True]
2 True
3 True
4 [True]
5 True
6 True
7 [(9, 18, True)]
8 ['Stamped']
9 [5, 6]
10 [832040]
11 [True, False, True, False, True]
12 [102, 103]
13 [6]
14 [('unassigned', 1)]
15 ([1024], [(1, 2, 3)])
16 [(1, True)]
17 [('self', 1)]
18 [(True, True, True, True), (True, True, True, True)]
19 (True, (True, True, True, True))
20 [True, True]
21 True
22 [202]
"""


def test_everything_a_script_defines_travels(launcher: str, run_script) -> None:
    assert run_script(SCRIPT, launcher) == EXPECTED


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_everything_a_script_defines_travels_by_each_start_method(run_script, method: str) -> None:
    text = SCRIPT.replace("get_pool(sys.argv[1])", f"get_pool('multiprocess:2', start_method={method!r})")
    assert run_script(text) == EXPECTED


def test_a_global_that_changes_between_two_maps_is_seen_by_the_second(launcher: str, run_script) -> None:
    text = """
        import sys
        from anypool import get_pool
        factor = 2
        def scale(x): return factor * x
        def make(offset): return lambda x: x + offset
        with get_pool(sys.argv[1]) as pool:
            print(pool.map(scale, [1, 2]))
            factor = 3
            print(pool.map(scale, [1, 2]))
            held = [1]
            inner = lambda x: held[-1]
            print(pool.map(inner, [0]))
            held.append(7)
            print(pool.map(inner, [0]))
            print(pool.map(make(1), [0]), pool.map(make(2), [0]))
    """
    assert run_script(text, launcher) == "[2, 4]\n[3, 6]\n[1]\n[7]\n[1] [2]\n"


def test_using_a_pool_leaves_pickle_as_it_was() -> None:
    before = dict(pickle._Pickler.dispatch)
    text = (
        "import pickle; before = dict(pickle._Pickler.dispatch)\n"
        "import anypool\n"
        "with anypool.get_pool('process:1') as pool: pool.map(lambda x: x, [1])\n"
        "assert dict(pickle._Pickler.dispatch) == before\n"
        "import sys; print(sorted({'dill', 'numpy', 'multiprocess', 'pluggy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert before == pickle._Pickler.dispatch
