"""What configuration files say: the plan, named pools, hosts and observers, each key checked where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from anypool._errors import PlanError
from anypool._files import File, files
from anypool._grammar import in_name, parse
from anypool._select import BUILT_IN, similar

__all__: list[str] = []

_KEYS = ("plan", "pools", "hosts", "observers")
_HOST_KEYS = ("address", "python", "workers", "tags")
# What no shell and no ssh takes for something else than a host.
_ADDRESS = r"[A-Za-z0-9_.\[\]][A-Za-z0-9_.@:%+\[\]-]*"
_HOST = "a host as ssh knows it, such as user@node.example.org, that begins with no '-' and holds nothing a shell reads"
_OBJECT = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"


class Text(NamedTuple):
    """A text of a file, and which file and key it is."""

    text: str
    source: str


class Host(NamedTuple):
    """A machine of a plan: what ssh calls it, its Python, how many workers, and by which tags maps ask for it."""

    name: str
    address: str
    python: str | None
    workers: int | None
    tags: tuple[str, ...]
    source: str


class Settings(NamedTuple):
    """What one file says."""

    path: str
    plan: Text | None
    pools: dict[str, Text]
    hosts: dict[str, Host]
    observers: tuple[Text, ...]


def settings() -> list[Settings]:
    """What holds here, the project's file first. Raises `PlanError` that names file, key and what was expected."""
    return [checked(file) for file in files()]


def pools() -> dict[str, Text]:
    """The named pools; of two of one name the project's."""
    return {name: text for each in reversed(settings()) for name, text in each.pools.items()}


def hosts() -> dict[str, Host]:
    """The named hosts; of two of one name the project's, all of it."""
    return {name: host for each in reversed(settings()) for name, host in each.hosts.items()}


def observers() -> tuple[Text, ...]:
    """The objects, as `package.module:object`, that watch every pool: those of both files once, the user's first."""
    said = [text for each in reversed(settings()) for text in each.observers]
    return tuple({each.text: each for each in reversed(said)}.values())[::-1]


def checked(file: File) -> Settings:
    """The settings of a file, all of which have to be right even if only one of them is asked for."""
    top = _Table(file, "", file.table)
    top.only(_KEYS)
    plan = top.text("plan", "a plan, as text")
    return Settings(
        file.path,
        None if plan is None else _plan(plan),
        {name: _pool(table) for name, table in top.tables("pools")},
        {name: _host(name, table) for name, table in top.tables("hosts")},
        tuple(_observer(text) for text in top.texts("observers", "a list of texts")),
    )


class _Table:
    """A table of a file; `key` is where it is."""

    def __init__(self, file: File, key: str, table: dict[str, Any]) -> None:
        self.file, self.key, self.table = file, key, table

    def place(self, name: str) -> str:
        return f"{self.file.path}: {self.file.prefix}{self.key}{name}"

    def wrong(self, name: str, expected: str) -> PlanError:
        try:
            got = repr(self.table[name])
        except ValueError:
            got = "a number of more digits than can be shown"
        return PlanError(f"{self.place(name)}: expected {expected}, got {got}")

    def only(self, known: Iterable[str]) -> None:
        for name in self.table:
            if name not in known:
                close = similar(name, known)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise PlanError(f"{self.place(name)}: unknown key, expected one of {', '.join(known)}{hint}")

    def tables(self, name: str) -> list[tuple[str, _Table]]:
        inside = self.table.get(name, {})
        if not isinstance(inside, dict):
            raise self.wrong(name, f"tables [{self.file.prefix}{self.key}{name}.NAME]")
        here = _Table(self.file, f"{self.key}{name}.", inside)
        found = []
        for each, table in inside.items():
            if not isinstance(table, dict):
                raise here.wrong(each, f"a table [{self.file.prefix}{here.key}{each}]")
            if not (each and all(map(in_name, each))):
                expected = "expected a name of letters, digits, '-', '_' and '.'"
                raise PlanError(f"{here.place(each)}: {expected}, got {each!r}")
            found.append((each, _Table(self.file, f"{here.key}{each}.", table)))
        return found

    def text(self, name: str, expected: str) -> Text | None:
        if name not in self.table:
            return None
        value = self.table[name]
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(name, expected)
        return Text(value, self.place(name))

    def texts(self, name: str, expected: str) -> list[Text]:
        values = self.table.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise self.wrong(name, expected)
        return [Text(value, self.place(name)) for value in values]


def _plan(said: Text) -> Text:
    """Its grammar is checked; whether its launchers can run here is for whoever opens it."""
    try:
        parse(said.text)
    except PlanError as error:
        raise PlanError(f"{said.source}: {error}") from error
    return said


def _pool(table: _Table) -> Text:
    name = table.key.rstrip(".").partition(".")[2]
    table.only(("plan",))
    plan = table.text("plan", "a plan, as text")
    if plan is None:
        raise PlanError(f"{table.place('plan')}: expected a plan, as text, got none")
    if name in BUILT_IN:
        raise PlanError(f"{table.place('plan')}: {name!r} is the name of a launcher; give the pool another one")
    return _plan(plan)


def _host(name: str, table: _Table) -> Host:
    table.only(_HOST_KEYS)
    said, python = table.text("address", _HOST), table.text("python", "the path of a Python there")
    address = said.text if said is not None else name
    if not _matches(_ADDRESS, address):
        raise PlanError(f"{table.place('address')}: expected {_HOST}, got {address!r}")
    if python is not None and (python.text.startswith("-") or not python.text.isprintable()):
        raise table.wrong("python", "the path of a Python there")
    workers = table.table.get("workers")
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise table.wrong("workers", "a whole number, at least 1")
    tags = tuple(tag.text for tag in table.texts("tags", "a list of names"))
    return Host(name, address, None if python is None else python.text, workers, tags, table.place("").rstrip("."))


def _observer(said: Text) -> Text:
    if not _matches(_OBJECT, said.text):
        raise PlanError(f"{said.source}: expected package.module:object, got {said.text!r}")
    return said


def _matches(pattern: str, text: str) -> bool:
    # Imported where there is something to match: most pools are opened without a file.
    import re

    return re.fullmatch(pattern, text) is not None
