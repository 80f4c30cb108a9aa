"""The text of a plan: read, written, and refused with the place of what is wrong."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypool import Launcher, LauncherNotFound, Mixed, Multiprocess, Nested, Plan, PlanError, Process, Serial, Thread
from anypool._grammar import parse
from anypool._hooks import hookimpl
from anypool._plan import mixed, nested
from anypool._plugins import plugins
from anypool._recipe import recipe


@recipe
class Hosts(Launcher):
    """A launcher of hosts, with an option of each kind that text can say."""

    name: ClassVar[str] = "hosts"
    argument: ClassVar[str] = "names"

    names: tuple[str, ...] = ()
    text: str = ""
    maybe: str | None = None
    number: int = 0
    ratio: float = 0.5
    flag: bool = False
    limit: int | float | None = 10
    kind: Literal["fast", "slow", 3] = "fast"
    paths: tuple[str, ...] | None = ("a",)
    ports: tuple[int, ...] = (80, 443)
    switch: bool | str = True
    folder: Path = Path()


@dataclass(frozen=True)
class Address(Launcher):
    """One whose argument is a single text, and whose options text can't say all. A dataclass as anybody writes it."""

    name: ClassVar[str] = "address"
    argument: ClassVar[str] = "url"

    url: str = ""
    begin: Callable[[], None] | None = None
    table: Mapping[str, str] | None = None
    stuff: tuple[Any, ...] = ()
    items: list[str] | None = None
    trust_network: bool = False


class Plugin:
    """What gives them."""

    @hookimpl
    def anypool_launchers(self) -> list[type[Launcher]]:
        return [Hosts, Address]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    plugin = Plugin()
    plugins.register(plugin)
    yield
    plugins.unregister(plugin)


AWKWARD = st.sampled_from(
    [
        "https://node:8786/path?a=b&c=d",
        "/opt/venv/bin/python",
        "C:\\data\\x",
        "12:00:00",
        "node1.example.org:22",
        "[::1]:80",
        "fe80::1%eth0",
        "alice@n1",
        'say "hi"',
        "it's",
        "'",
        '"',
        '""',
        "a > b",
        "a + b/c",
        "a,b",
        ",",
        " leading",
        "trailing ",
        "two words",
        "tab\tnewline\n",
        "none",
        "None",
        "true",
        "0",
        "-1",
        "1e5",
        "nan",
        "über/日本",
        "\N{NO-BREAK SPACE}",
        "\0",
        "?",
        "=",
        "&",
        "<here>",
        "1+1",
    ]
)
TEXTS = AWKWARD | st.text(max_size=12) | st.text(alphabet="a,?&=/+>\"' :", max_size=8)
LISTS = st.lists(TEXTS, max_size=4).map(tuple)
NUMBERS = st.integers(-(10**20), 10**20)
RATIOS = st.floats(allow_nan=False)
SIZES = st.none() | st.integers(1, 64)
HOSTS = st.builds(
    Hosts,
    workers=SIZES,
    oversubscribe=st.booleans(),
    tags=st.lists(TEXTS.filter(bool), max_size=3).map(tuple),
    names=LISTS,
    text=TEXTS,
    maybe=st.none() | TEXTS,
    number=NUMBERS,
    ratio=RATIOS,
    flag=st.booleans(),
    limit=st.none() | NUMBERS | RATIOS,
    kind=st.sampled_from(["fast", "slow", 3]),
    paths=st.none() | LISTS,
    ports=st.lists(NUMBERS, max_size=3).map(tuple),
    switch=st.booleans() | TEXTS,
    folder=TEXTS.map(lambda text: Path(text or ".")),
)
ADDRESSES = st.builds(Address, url=TEXTS)
PROCESSES = st.builds(Process, workers=SIZES, max_tasks_per_worker=st.none() | st.integers(1, 9), cwd=st.just("/"))
OUTER = HOSTS | ADDRESSES | PROCESSES
INNER = (
    OUTER | st.builds(Thread, workers=SIZES) | st.builds(Multiprocess, start_method=st.sampled_from(["spawn", "fork"]))
)
PATHS = st.builds(lambda outer, last: nested(*outer, last), st.lists(OUTER, min_size=1, max_size=2), INNER)
MIXES = st.lists(INNER | PATHS, min_size=2, max_size=3).map(lambda groups: mixed(*groups))
PLANS = st.lists(st.builds(Serial) | INNER | PATHS | MIXES, min_size=1, max_size=3).map(
    lambda levels: Plan(tuple(levels))
)


@given(PLANS)
def test_what_a_plan_prints_is_read_back_as_the_same_plan(plan: Plan) -> None:
    again = Plan.parse(str(plan))
    assert again == plan
    assert str(again) == str(plan)
    assert hash(again) == hash(plan)


@given(PLANS)
def test_a_plan_can_be_pickled_and_is_the_same_after_it(plan: Plan) -> None:
    again = pickle.loads(pickle.dumps(plan))
    assert again == plan
    assert hash(again) == hash(plan)


def refusal(read: Callable[[str], object], text: str) -> Exception | None:
    try:
        read(text)
    except (LauncherNotFound, TypeError, ValueError) as error:
        return error
    return None


def place(error: PlanError) -> int:
    found = re.search(r"at character (\d+) of ", str(error))
    assert found is not None, error
    return int(found[1])


@given(
    st.text(alphabet="ab1:?,=&/+>\"' \t.-_")
    | st.text()
    | PLANS.map(str).flatmap(lambda text: st.permutations(text[:12])).map("".join)
)
def test_any_text_is_a_plan_or_an_error_with_a_place_in_it(text: str) -> None:
    error = refusal(parse, text)
    if error is None:
        parts = [part for level in parse(text) for group in level for part in group]
        assert all(part.name and 0 <= part.at < len(text) for part in parts)
    else:
        assert isinstance(error, PlanError)
        assert 1 <= place(error) <= len(text) + 1
        assert repr(text) in str(error)


@given(
    st.lists(
        st.sampled_from([*"/+>:?=&,\"'", " ", "hosts", "process", "serial", "number", "ratio", "ports", "2", "x"]),
        max_size=9,
    ).map("".join)
)
def test_no_text_fails_otherwise_than_with_words(text: str) -> None:
    error = refusal(Plan.parse, text)
    if error is None:
        plan = Plan.parse(text)
        assert Plan.parse(str(plan)) == plan
    elif not isinstance(error, (PlanError, LauncherNotFound)):
        assert re.search("has no option|must be at least", str(error))


MEANS = [
    ("process:4", Process(4)),
    ("  process : 4  ", Process(4)),
    ("process?workers=4", Process(4)),
    ("process?workers='4'", Process(4)),
    ("process?workers=none", Process()),
    ("process:4?oversubscribe=yes&tags=gpu,big", Process(4, oversubscribe=True, tags=("gpu", "big"))),
    ("process?tags=", Process()),
    ('process?cwd="/"', Process(cwd="/")),
    ("hosts:n1,n2", Hosts(names=("n1", "n2"))),
    ("hosts: n1 , 'n 2' ,\"n,3\"", Hosts(names=("n1", "n 2", "n,3"))),
    ("hosts:alice@n1,[::1]:80", Hosts(names=("alice@n1", "[::1]:80"))),
    ("hosts:", Hosts()),
    ('hosts:""', Hosts(names=("",))),
    ("hosts?text=12:00:00&number=-3", Hosts(text="12:00:00", number=-3)),
    ("hosts?text=a,b,c", Hosts(text="a,b,c")),
    ("hosts?text=a?b=c", Hosts(text="a?b=c")),
    ("hosts?text=it's", Hosts(text="it's")),
    ("hosts?text='it''s'", Hosts(text="it's")),
    ("hosts?text='a & b > c'", Hosts(text="a & b > c")),
    ("hosts?maybe=none", Hosts()),
    ("hosts?maybe='none'", Hosts(maybe="none")),
    ("hosts?flag=on", Hosts(flag=True)),
    ("hosts?switch='no'", Hosts(switch="no")),
    ("hosts?switch=no", Hosts(switch=False)),
    ("hosts?switch=noon", Hosts(switch="noon")),
    ("hosts?kind=3", Hosts(kind=3)),
    ("hosts?limit=2", Hosts(limit=2)),
    ("hosts?limit=2.5", Hosts(limit=2.5)),
    ("hosts?limit=none", Hosts(limit=None)),
    ("hosts?ratio='1e+3'", Hosts(ratio=1000.0)),
    ("hosts?ports=1,2", Hosts(ports=(1, 2))),
    ("hosts?paths=", Hosts(paths=())),
    ("hosts?folder='/a/b'", Hosts(folder=Path("/a/b"))),
    ("address:'tls://head:8786'", Address(url="tls://head:8786")),
    ("address:head:8786", Address(url="head:8786")),
    ("process:2/thread:4", Nested(parts=(Process(2), Thread(4)))),
    ("process:2 + thread:4", Mixed(groups=(Process(2), Thread(4)))),
    ("hosts:n1/process:2/thread+process:1", mixed(nested(Hosts(names=("n1",)), Process(2), Thread()), Process(1))),
]


@pytest.mark.parametrize("text, launcher", MEANS, ids=[text for text, _ in MEANS])
def test_a_text_means_its_launcher(text: str, launcher: Launcher) -> None:
    assert Plan.parse(text) == Plan((launcher,))


def test_levels_are_in_their_order() -> None:
    assert Plan.parse("process:2 > thread:3 > serial").levels == (Process(2), Thread(3), Serial())


def test_a_slash_binds_tighter_than_a_plus() -> None:
    left, right = Process(8) / Thread(2), Thread(2)
    assert left + right == Mixed(groups=(Nested(parts=(Process(8), Thread(2))), Thread(2)))
    assert str(left + right) == "process:8/thread:2 + thread:2"


WRONG = [
    ("", "expected the name of a launcher at character 1 of ''"),
    ("process:2 >", "expected the name of a launcher at character 12"),
    (":4", "expected the name of a launcher at character 1"),
    ("process//thread", "expected the name of a launcher at character 9"),
    ("proc ess", "expected one of ':' '?' '/' '+' '>' or the end, after 'proc', at character 6"),
    ("process,4", "or the end, after 'process', at character 8"),
    ("process:x", "after 'process': expected a number of workers, at least 1, got 'x' at character 9"),
    ("process:0", "expected a number of workers, at least 1, got '0'"),
    ("process:4,5", "expected a number of workers, at least 1, got '4,5'"),
    ("process:" + "9" * 5000, "expected a number of workers, at least 1"),
    ("process:4?", "expected option=value at character 11"),
    ("process:4?workers", "expected '=' and a value after the option 'workers' at character 18"),
    ("process:4?=3", "expected option=value at character 11"),
    ("process?tags=a&tags=b", "option 'tags' is given twice, at character 16"),
    ("process:4?workers=5", "workers is given twice, after 'process' and at character 19"),
    ("process?cwd='/tmp", "this quote (') is never closed, at character 13"),
    ("hosts:'a'b", "the end after what is quoted; a quote inside of it is doubled: 'b' at character 10"),
    ("hosts:a,,b", 'hosts?names=: expected a value, or "" for an empty text, at character 9'),
    ("hosts?text=", 'hosts?text=: expected a value, or "" for an empty text, at character 12'),
    ("process?cwd=/tmp", "process?cwd=: expected a value, in quotes if it has a '/', or \"\" for an empty text, at"),
    ("hosts?text=a,'b'", "hosts?text= is one value, put all of it in quotes: expected no quote at character 14"),
    ("hosts?number=x", "hosts?number= takes a whole number, got 'x' at character 14"),
    ("hosts?number=1_0", "hosts?number= takes a whole number, got '1_0'"),
    ("hosts?number=" + "9" * 5000, "takes a whole number"),
    ("hosts?ratio=x", "takes a number, got 'x'"),
    ("hosts?flag=maybe", "takes true or false, got 'maybe'"),
    ("hosts?limit=x", "takes a whole number or a number or none, got 'x'"),
    ("hosts?kind=medium", "hosts?kind= takes fast or slow or 3, got 'medium' at character 12"),
    ("hosts?ports=1,x", "hosts?ports= takes a whole number, got 'x' at character 15"),
    ("address?begin=f", "begin= can't be said in text: give it to get_pool as begin=, or to Address(...);"),
    ("address?table=f", "table= can't be said in text"),
    ("address?stuff=a", "stuff= can't be said in text"),
    ("address?items=a", "items= can't be said in text"),
    ("address?trust_network=true", "trust_network= is said in the call, never in text"),
    ("process?env=a", "env= can't be said in text: give it to get_pool as env=, or to Process(...)"),
    ("thread/process", "'thread' runs in this process, so nothing is inside it; put 'thread' last at character 1"),
    ("process/serial", "'serial' has no workers of its own; leave it out at character 1"),
    ("process + serial", "'serial' is the caller itself, and can't be mixed with workers at character 1"),
]  # fmt: skip


@pytest.mark.parametrize("text, message", WRONG, ids=[text[:40] for text, _ in WRONG])
def test_an_error_says_what_was_expected_and_where(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.parse(text)
    assert message in str(caught.value)
    assert 1 <= place(caught.value) <= len(text) + 1


def test_a_name_after_a_value_may_be_the_rest_of_it() -> None:
    hint = "; if 'dota' is part of the value before it, put that in quotes"
    with pytest.raises(LauncherNotFound, match=hint):
        Plan.parse("process?tags=a/dota")
    with pytest.raises(LauncherNotFound) as caught:
        Plan.parse("process?tags=a > dota")
    assert hint not in str(caught.value)


def test_an_unknown_option_is_a_type_error_that_says_which_are_known() -> None:
    with pytest.raises(TypeError, match="launcher 'process' has no option 'worker'; did you mean 'workers'"):
        Plan.parse("process?worker=3")


def test_an_unknown_name_is_told_what_is_alike() -> None:
    with pytest.raises(LauncherNotFound, match="did you mean 'process'"):
        Plan.parse("proces:3")


def hello() -> None: ...


SHOWN = [
    (Process(2, initializer=hello), 'process:2?initializer="<hello>"'),
    (Process(2, initializer=hello, initargs=("secret",)), 'process:2?initializer="<hello>"&initargs="<tuple>"'),
    (Process(2, env={"TOKEN": "secret"}), 'process:2?env="<dict>"'),
    (Address(items=["secret"]), 'address?items="<list>"'),
]


@pytest.mark.parametrize("launcher, text", SHOWN, ids=[text for _, text in SHOWN])
def test_what_text_cant_say_is_shown_by_its_kind_and_refused_when_it_is_read(launcher: Launcher, text: str) -> None:
    assert str(launcher) == text
    with pytest.raises(PlanError, match="can't be said in text: give it to get_pool as "):
        Plan.parse(text)
