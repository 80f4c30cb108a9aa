"""The syntax for type parameters, which Python has from 3.12 on; `conftest` leaves this file out before."""

PROGRAM = """
import dataclasses
from peer import Peer

class Box[T]:
    def __init__(self, value: T): self.value = value
    def get(self) -> T: return self.value

class Sub[T, *Ts, **P](Box[T]): pass

def first[T](items: list[T]) -> T: return items[0]

type Pair[T] = tuple[T, T]

@dataclasses.dataclass(slots=True, kw_only=True)
class Point[T]:
    x: T
    y: int = 3
    def up(self): return type(self)(x=self.x, y=self.y + 1)

with Peer() as there:
    assert there.call(lambda box: box.get(), Box(3)) == 3
    assert there.call(first, [1]) == 1
    assert there.call(lambda: Sub[int, str, [int]](4).get()) == 4
    assert there.call(lambda: Box.__type_params__)[0] is Box.__type_params__[0]
    assert there.call(lambda: first.__type_params__[0].__name__) == "T"
    assert there.call(lambda point: point.up(), Point(x=1)) == Point(x=1, y=4)
    assert there.call(lambda: Pair).__name__ == "Pair"
    assert there.call(lambda: Pair[int].__value__) == tuple[Pair.__type_params__ * 2]
"""


def test_type_parameters_and_aliases_travel(script):
    script(PROGRAM)


RECURSIVE = """
from peer import Peer

type Json = dict[str, Json] | list[Json] | int
type Tree[T, *Ts, **P] = dict[T, Tree[T, *Ts, P]] | T
class Node[T: Node]: pass
class Either[T: (Either, int)]: pass
def parse(text: str) -> Json: return len(text)

with Peer() as there:
    assert there.call(parse, "abc") == 3
    assert there.call(lambda: (Json.__name__, Json.__module__)) == ("Json", "__main__")
    assert there.call(lambda: Json.__value__.__args__[1].__args__[0] is Json)
    home = there.call(lambda: Json)
    assert home.__value__.__args__[1].__args__[0] is home
    assert there.call(lambda: Tree.__value__.__args__[0].__origin__ is dict)
    assert there.call(lambda: Tree.__value__.__parameters__ == Tree.__type_params__)
    assert there.call(lambda: Node.__type_params__[0].__bound__ is Node)
    assert there.call(lambda: Node) is Node
    assert there.call(lambda t: t.__bound__ is Node, Node.__type_params__[0])
    assert there.call(lambda: Either.__type_params__[0].__constraints__ == (Either, int))
"""


def test_what_mentions_itself_in_its_alias_or_bound_travels(script):
    script(RECURSIVE)


UNDEFINED = """
from peer import Peer

type Later = Missing | int
def f[T: Missing](x: T, y: Later = 3): return y

def name_of_the_missing():
    try:
        return f.__annotations__["y"].__value__
    except NameError as error:
        return error.name

with Peer() as there:
    assert there.call(f, 1) == 3
    assert there.call(name_of_the_missing) == "Missing"
    try:
        there.call(lambda: f.__type_params__[0].__bound__)
    except RuntimeError as error:
        assert "name 'Missing' is not defined" in str(error)
    else:
        raise SystemExit("what was not defined is")
"""


def test_what_mentions_an_undefined_name_travels_and_says_so_when_asked(script):
    script(UNDEFINED)
