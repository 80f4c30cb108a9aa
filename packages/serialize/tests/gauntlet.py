"""What must travel by value, as a script: all of it lives in `__main__`. Argument: the name of a case."""

# mypy: ignore-errors
# (classes are changed and inspected at run time on purpose)

import abc
import collections
import dataclasses
import enum
import functools
import math
import sys
import threading
import typing
import weakref
import xml.dom
import xml.sax.saxutils

from peer import Peer

T = typing.TypeVar("T")
P = typing.ParamSpec("P")
UserId = typing.NewType("UserId", int)
count = 0
there = Peer()


class Color(enum.Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1  # noqa: PIE796  an alias is what is tested

    def shout(self):
        return self.name + "!"


class Planet(enum.Enum):
    EARTH = (5.97e24, 6.37e6)
    MARS = (6.4e23, 3.39e6)

    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius


class Described(enum.Enum):
    @property
    def described(self):
        return f"<{self.value}>"

    @classmethod
    def _missing_(cls, value):
        return next(iter(cls))


class Animal(Described):
    CAT = "cat"
    DOG = "dog"


class Word(enum.StrEnum):
    YES = enum.auto()


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


Point = collections.namedtuple("Point", "x y")


class Typed(typing.NamedTuple):
    x: int
    y: str = "b"


class Record(typing.TypedDict):
    x: int


class LongRecord(Record):
    text: str


class Sized(typing.Protocol):
    def __len__(self) -> int: ...


@dataclasses.dataclass
class Plain:
    a: int
    _: dataclasses.KW_ONLY
    b: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    a: int
    b: str = "x"


class ByHand:
    __slots__ = ("__hidden", "a")

    def __init__(self, a):
        self.a = a
        self.__hidden = a * 2

    def hidden(self):
        return self.__hidden


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2


@Shape.register
class Registered:
    pass


class Meta(type):
    made = 0

    def __call__(cls, *args):
        made = super().__call__(*args)
        made.by_meta = True
        return made


class WithMeta(metaclass=Meta):
    pass


class Box(typing.Generic[T]):
    def __init__(self, value: T):
        self.value = value


class IntBox(Box[int]):
    pass


class AbstractPlugin(abc.ABC):
    def __init_subclass__(cls):
        cls.shown = cls.label


class GenericPlugin(typing.Generic[T]):
    def __init_subclass__(cls):
        super().__init_subclass__()
        cls.shown = cls.label


class AbstractlyPlugged(AbstractPlugin):
    label = "a"


class GenericallyPlugged(GenericPlugin[int]):
    label = "g"


class OfOneBase(type):
    def __new__(cls, name, bases, namespace):
        if bases:
            (_,) = bases
        return super().__new__(cls, name, bases, namespace)


class Hooked(metaclass=OfOneBase):
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)


class HookedToo(Hooked):
    x = 1


class Base:
    registry = {}  # noqa: RUF012  shared by design

    def __init_subclass__(cls, *, key, **kwargs):
        super().__init_subclass__(**kwargs)
        Base.registry[key] = cls.label

    def name(self):
        return "base"


class Derived(Base, key="derived"):
    label = "Derived!"

    def name(self):
        return super().name() + "/derived"

    @classmethod
    def make(cls):
        return cls()

    @staticmethod
    def double(x):
        return 2 * x

    @property
    def size(self):
        return 3


class Left(Base, key="left"):
    label = "L"

    def name(self):
        return "left/" + super().name()


class Right(Base, key="right"):
    label = "R"

    def name(self):
        return "right/" + super().name()


class Diamond(Left, Right, key="diamond"):
    label = "D"


class Strict(type):
    def __new__(cls, name, bases, namespace, flag=None):
        return super().__new__(cls, name, bases, namespace)

    def __init__(cls, name, bases, namespace, flag=None):
        super().__init__(name, bases, namespace)


class Flagged(metaclass=Strict, flag=3):
    default = None


Flagged.default = Flagged()


class Table(dict):
    pass


class Text(str):
    __slots__ = ("note",)


class Stateful:
    def __init__(self):
        self.x = 1

    def __getstate__(self):
        return {"y": self.x}

    def __setstate__(self, state):
        self.x = state["y"] + 1


class Named:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        return self.name


class Parts:
    attribute = Named()

    def base(self, x, y):
        return x + y

    add_one = functools.partialmethod(base, 1)


class Outer:
    class Inner:
        class Innermost:
            pass


class Touchy:
    """Whoever looks at it too closely gets an exception (A17)."""

    def _refuse(self, *_):
        raise RuntimeError("touched")

    __bool__ = __eq__ = __ne__ = __lt__ = __len__ = __contains__ = __iter__ = _refuse
    __hash__ = _refuse

    def value(self):
        return 5


touchy = Touchy()


@functools.lru_cache(maxsize=7)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)


def is_even(n):
    return True if n == 0 else is_odd(n - 1)


def is_odd(n):
    return False if n == 0 else is_even(n - 1)


def countdown(step, n):
    return 0 if n <= 0 else 1 + countdown_by_two(n - step)


countdown_by_two = functools.partial(countdown, 2)


def twice(func):
    @functools.wraps(func)
    def wrapper(*args):
        return func(*args), func(*args)

    return wrapper


@twice
def decorated(x):
    return x + 1


class Counting:
    def __init__(self, func):
        functools.update_wrapper(self, func)
        self.func = func
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        return self.func(*args), self.calls


@Counting
def counted(x):
    return x


def increment():
    global count
    count += 1
    return count


def read():
    return count


@functools.singledispatch
def kind(x):
    return "object"


@kind.register
def _(x: int):
    return "int"


def case_a_function_takes_its_imports_helpers_globals_and_classes_along():
    def work(n):
        return Point(math.sqrt(n), factorial(3)), Color.GREEN.shout(), Derived().name()

    assert there.call(work, 16) == ((4.0, 6), "GREEN!", "base/derived")


def case_two_functions_share_their_global():
    assert there.call(lambda inc, get: (inc(), inc(), get())[2], increment, read) == 2
    assert count == 0


def case_two_closures_share_their_variable():
    def make():
        n = 0

        def up():
            nonlocal n
            n += 1

        return up, lambda: n

    up, get = make()
    assert there.call(lambda up, get: (up(), up(), get())[2], up, get) == 2


def case_an_enum_keeps_identity_aliases_and_state():
    assert there.call(lambda c: c, Color.GREEN) is Color.GREEN
    assert there.call(lambda: (Color["CRIMSON"] is Color.RED, len(Color), Color(2).shout())) == (
        True,
        2,
        "GREEN!",
    )
    assert there.call(lambda p: (p.mass, Planet.MARS.radius), Planet.EARTH) == (5.97e24, 3.39e6)
    assert there.call(lambda: Access.READ | Access.WRITE) is Access.READ | Access.WRITE


def case_enums_of_every_kind():
    assert there.call(lambda: (Animal("cat").described, Animal("?"))) == ("<cat>", Animal.CAT)
    assert there.call(lambda: Animal.DOG) is Animal.DOG
    assert there.call(lambda w: w + "!", Word.YES) == "yes!"
    assert there.call(lambda b: b | Bits.B, Bits.A) == Bits.A | Bits.B
    assert type(there.call(lambda: Bits.A | Bits.B)) is Bits


def case_a_named_tuple_comes_home_as_itself():
    back = there.call(lambda p: p._replace(x=9), Point(1, 2))
    assert type(back) is Point
    assert back == (9, 2)
    assert type(there.call(lambda: Typed(1))) is Typed
    assert there.call(lambda: Typed.__annotations__)["x"] is int


def case_typed_dicts_and_protocols_travel():
    assert there.call(lambda: (Record(x=1), Record.__annotations__)) == ({"x": 1}, {"x": int})
    assert there.call(lambda: Sized) is Sized
    assert there.call(lambda: (LongRecord.__annotations__, LongRecord.__required_keys__)) == (
        {"x": int, "text": str},
        {"x", "text"},
    )


def case_a_dataclass_keeps_its_sentinels():
    def look(p):
        fields = {f.name: f for f in dataclasses.fields(p)}
        child = dataclasses.make_dataclass("Child", [("c", int, 5)], bases=(type(p),), kw_only=True)
        return fields["a"].default is dataclasses.MISSING, fields["b"].kw_only, child(1).b, type(p)(2, b=[3])

    missing, kw_only, fresh, made = there.call(look, Plain(1))
    assert (missing, kw_only, fresh) == (True, True, [])
    assert made == Plain(2, b=[3])


def case_slots_stay_slots():
    def look(s, h):
        return hasattr(s, "__dict__"), hasattr(h, "__dict__"), h.hidden(), dataclasses.replace(s, b="y")

    assert there.call(look, Slotted(1), ByHand(4)) == (False, False, 8, Slotted(1, "y"))
    assert there.call(lambda h: h, ByHand(4)).hidden() == 8


def case_an_abstract_class_stays_abstract():
    def look(square):
        try:
            Shape()
        except TypeError:
            return square.area(), isinstance(square, Shape), issubclass(Registered, Shape)

    assert there.call(look, Square(3)) == (9, True, True)


def case_a_metaclass_travels():
    assert there.call(lambda: (WithMeta().by_meta, type(WithMeta).__name__)) == (True, "Meta")
    assert type(there.call(WithMeta)) is WithMeta


def case_generics_travel():
    assert there.call(lambda b: b.value, IntBox(3)) == 3
    assert there.call(lambda: IntBox.__orig_bases__[0].__args__) == (int,)
    assert there.call(lambda: Box[str]("x").value) == "x"
    assert there.call(lambda: T) is T
    assert there.call(lambda: (P, UserId)) == (P, UserId)
    assert there.call(lambda: Box.__parameters__)[0] is T


def case_a_restored_class_does_not_run_the_hook_for_new_subclasses():
    assert there.call(lambda: (Base.registry["derived"], Derived.label)) == ("Derived!", "Derived!")
    assert there.call(lambda: sorted(Base.registry)) == ["derived", "diamond", "left", "right"]


def case_a_restored_class_does_not_run_the_hook_under_an_abstract_or_generic_base_either():
    assert there.call(lambda: AbstractlyPlugged.shown + GenericallyPlugged.shown) == "ag"
    assert there.call(lambda: GenericallyPlugged.__mro__[1:3]) == (GenericPlugin, typing.Generic)


def case_a_metaclass_may_look_at_the_bases():
    assert there.call(lambda: HookedToo.x) == 1


def case_every_kind_of_method_travels():
    d = Derived()
    assert there.call(d.name) == "base/derived"
    assert type(there.call(Derived.make)) is Derived
    assert there.call(Derived.double, 4) == 8
    assert there.call(lambda d: d.size, d) == 3
    assert there.call([1, 2].__len__) == 2
    assert there.call((lambda self, x: self + x).__get__(40), 2) == 42
    bound = super(Derived, d).name
    assert there.call(bound) == "base"
    assert there.call(lambda s: s.name(), super(Derived, d)) == "base"
    assert there.call(str.upper, "a") == "A"
    assert there.call("a".upper) == "A"


class NamedProperty(property):
    def __init__(self, getter, unit):
        super().__init__(getter, doc=f"in {unit}")
        self.unit = unit


class TaggedStatic(staticmethod):
    __slots__ = ("tag",)


class WithOwnDescriptors:
    length = NamedProperty(lambda self: 3, "m")
    area = abc.abstractproperty(lambda self: 9)
    three = TaggedStatic(lambda: 3)
    three.tag = "t"


def case_properties_and_static_methods_of_their_own_classes():
    def look(x):
        own = vars(type(x))
        return x.length, x.area, x.three(), own["length"].unit, own["length"].__doc__, own["three"].tag

    assert there.call(look, WithOwnDescriptors()) == look(WithOwnDescriptors())


def case_recursion_in_every_form():
    assert there.call(fib, 20) == 6765
    assert there.call(lambda: fib.cache_info().maxsize) == 7
    assert there.call(factorial, 5) == 120
    assert there.call(is_even, 10) is True
    assert there.call(countdown_by_two, 6) == 3
    local = lambda n: 1 if n == 0 else n * local(n - 1)
    assert there.call(local, 5) == 120


def case_decorated_functions():
    assert there.call(decorated, 1) == (2, 2)
    assert there.call(counted, 1) == (1, 1)
    assert there.call(kind, 1) == "int"
    assert there.call(kind, "s") == "object"


def case_an_unassigned_cell_stays_unassigned():
    def make():
        def early():
            return late

        if len(sys.argv) > 100:
            late = 1
        return early

    def look(early):
        try:
            return early()
        except NameError:
            return "unassigned"

    assert there.call(look, make()) == "unassigned"


def case_a_class_in_a_function_reads_globals_in_its_body():
    def work():
        class Local:
            value = factorial(4)

        return Local.value

    assert there.call(work) == 24


def case_a_class_in_a_function_leaves_globals_that_it_only_hides():
    def work():
        class Local:
            unsendable = 3
            value = factorial(3)

        return Local.value + Local.unsendable

    globals()["unsendable"] = (n for n in ())
    assert there.call(work) == 9


def case_inheritance_metaclass_arguments_and_descriptors():
    assert there.call(Diamond().name) == "left/right/base"
    assert there.call(lambda: type(Flagged.default) is Flagged) is True
    assert there.call(lambda: (Parts.attribute, Parts().add_one(2))) == ("attribute", 3)


def case_subclasses_of_containers_and_states_of_their_own():
    table, text = Table(a=1), Text("x")
    table.extra, text.note = 2, "n"
    back, word = there.call(lambda *both: both, table, text)
    assert (type(back), back, back.extra) == (Table, {"a": 1}, 2)
    assert (type(word), word, word.note) == (Text, "x", "n")
    assert there.call(lambda s: s.x, Stateful()) == 2
    assert there.call(lambda d: d["missing"], collections.defaultdict(lambda: factorial(3))) == 6


def case_functions_made_at_run_time():
    namespace = {}
    exec("def dyn(x): return x + hidden\nhidden = 3", namespace)
    assert there.call(namespace["dyn"], 1) == 4
    chain = functools.reduce(lambda f, g: lambda x: f(g(x)), [lambda x: x + 1] * 50)
    assert there.call(chain, 0) == 50


def case_a_local_class_comes_home():
    class Local:
        pass

    assert type(there.call(lambda: Local())) is Local
    assert there.call(lambda x: x, Local) is Local


def case_nothing_touches_the_objects_that_are_sent():
    assert there.call(lambda: touchy.value()) == 5
    assert there.call(lambda t: t.value(), touchy) == 5
    inner = touchy
    assert there.call(lambda: inner.value()) == 5
    assert type(there.call(lambda t: t, touchy)) is Touchy


def case_one_identity_per_class_at_every_depth():
    def look(items, cls):
        deep = items[1]["x"][0]
        return type(items[0]) is cls, type(deep) is cls, isinstance(deep, cls)

    assert there.call(look, [Outer.Inner(), {"x": (Outer.Inner(),)}], Outer.Inner) == (True, True, True)
    assert there.call(lambda: Outer.Inner.Innermost.__qualname__) == "Outer.Inner.Innermost"
    assert there.call(lambda: Outer.Inner) is Outer.Inner


def case_one_identity_per_class_over_messages():
    there.call(lambda x: sys.__dict__.__setitem__("kept", x), Square(2))
    assert there.call(lambda x: (type(x) is type(sys.kept), isinstance(sys.kept, Square)), Square(3)) == (
        True,
        True,
    )


def case_what_comes_home_does_not_set_the_class_back():
    kept = Square(1)
    Square.unit = "m"
    there.call(lambda x: sys.__dict__.__setitem__("kept", x), kept)
    Square.unit = "km"
    assert type(there.call(lambda: sys.kept)) is Square
    assert Square.unit == "km"


def case_a_changed_class_arrives_changed():
    Square.unit = "m"
    assert there.call(lambda s: s.unit, Square(1)) == "m"
    Square.unit = "km"
    assert there.call(lambda s: s.unit, Square(1)) == "km"


def case_a_changed_global_is_seen_by_the_next_call():
    global count
    assert there.call(read) == 0
    count = 7
    assert there.call(read) == 7


def case_submodules_are_imported():
    assert there.call(lambda: xml.dom.EMPTY_NAMESPACE) is None
    assert there.call(lambda: xml.sax.saxutils.escape("<")) == "&lt;"


def case_built_in_types_and_views():
    types = [type(None), type(...), type(lambda: 0), type(i for i in ()), type({}.keys()), type(threading)]
    assert there.call(lambda t: t, types) == types
    assert there.call(lambda d: sorted(d), {"a": 1}.items()) == [("a", 1)]
    assert there.call(lambda v: v.tolist(), memoryview(bytearray(range(6)))[::2]) == [0, 2, 4]
    assert there.call(lambda v: v.format, memoryview(b"12345678").cast("d")) == "d"


def case_weak_references():
    target = Square(4)
    assert there.call(lambda pair: pair[1]() is pair[0], (target, weakref.ref(target))) is True
    assert there.call(lambda ref: ref(), weakref.ref(target)) is None


def case_weak_proxies_stand_for_what_is_sent_along():
    def use(owner, proxy, fib_itself, call, dead):
        proxy.z = call(1)
        try:
            return dead.z
        except ReferenceError:
            return owner.z

    owner = Square(4)
    assert there.call(use, owner, weakref.proxy(owner), fib, weakref.proxy(fib), weakref.proxy(Square(4))) == fib(1)


def case_function_attributes_defaults_and_annotations():
    def rich(a: int, b=(1,), *, c: Color = Color.RED) -> "str":
        """Tell."""
        return f"{a}{b}{c.name}"

    rich.tag = [1]

    def look(f):
        return f(0), f.tag, f.__doc__, f.__annotations__["a"], f.__qualname__, f.__kwdefaults__["c"]

    text, tag, doc, annotation, qualname, default = there.call(look, rich)
    assert (text, tag, doc, annotation) == ("0(1,)RED", [1], "Tell.", int)
    assert qualname == rich.__qualname__
    assert default is Color.RED


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    there.close()
