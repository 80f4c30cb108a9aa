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
