"""The text of a plan: `name[:arg[,arg...]][?option=value[&...]]`, joined by `/`, `+` and `>`, read and written.

    plan   := level (">" level)*          level := path ("+" path)*        path := part ("/" part)*
    part   := name [":" arg ("," arg)*] ["?" option "=" value ("&" option "=" value)*]

A quote at the beginning of an argument, a value or an element of a value's list ends at the next one of its kind, and
nothing between them separates; two of them in a row stand for one. After `=` only `&`, `/`, `+` and `>` separate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anypool._errors import PlanError
from anypool._recipe import field_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anypool._launcher import Launcher

__all__: list[str] = []

_JOINTS = "/+>"
_QUOTES = "\"'"
# What ends a name, an argument and a value where it isn't quoted.
_AFTER_NAME = ":?" + _JOINTS
_AFTER_ARGUMENT = ",?" + _JOINTS
_AFTER_VALUE = "&" + _JOINTS
_SPECIAL = frozenset(",?&=" + _JOINTS + _QUOTES)


@dataclass
class Part:
    """One launcher as it is written; `at` is its place in the text, arguments and values are still quoted."""

    name: str
    at: int
    arguments: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> list[list[list[Part]]]:
    """Levels of groups of parts. Raises `PlanError` with the place of what is wrong."""
    return _Reader(text).plan()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def plan(self) -> list[list[list[Part]]]:
        levels: list[list[list[Part]]] = [[[]]]
        while True:
            levels[-1][-1].append(self._part())
            joint = self._next()
            if joint == ">":
                levels.append([[]])
            elif joint == "+":
                levels[-1].append([])
            elif joint != "/":
                return levels

    def _next(self) -> str:
        """The character here, which is passed over; none at the end."""
        here = self._text[self._at : self._at + 1]
        self._at += len(here)
        return here

    def _part(self) -> Part:
        start = self._at
        name = self._raw(_AFTER_NAME).strip()
        if not name:
            raise self._wrong(start, "expected the name of a launcher")
        part = Part(name, start)
        ended = self._peek()
        while ended in (":", ","):
            self._at += 1
            part.arguments.append(self._raw(_AFTER_ARGUMENT).strip())
            ended = self._peek()
            if ended == ":":
                raise self._wrong(self._at, "expected ',', '?' or the end of the arguments")
        if ended == "?":
            self._options(part)
        return part

    def _options(self, part: Part) -> None:
        while self._peek() in ("?", "&"):
            self._at += 1
            start = self._at
            name = self._raw("=" + _AFTER_VALUE).strip()
            if self._peek() != "=" or not name:
                raise self._wrong(start, "expected option=value")
            if name in part.options:
                raise self._wrong(start, f"option {name!r} is given twice")
            self._at += 1
            part.options[name] = self._raw(_AFTER_VALUE).strip()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _raw(self, ends: str) -> str:
        """What stands here up to one of the `ends`, quotes included."""
        start, begins = self._at, True
        while (here := self._peek()) and here not in ends:
            if begins and here in _QUOTES:
                self._pass_quoted(here)
                begins = False
                continue
            begins = here == "," or (begins and here == " ")
            self._at += 1
        return self._text[start : self._at]

    def _pass_quoted(self, quote: str) -> None:
        start = self._at
        self._at += 1
        while here := self._next():
            if here == quote:
                if self._peek() != quote:
                    return
                self._at += 1
        raise self._wrong(start, f"this quote ({quote}) is never closed")

    def _wrong(self, at: int, expected: str) -> PlanError:
        return PlanError(f"{expected} at character {at + 1} of {self._text!r}: {pointed(self._text, at)}")


def pointed(text: str, at: int) -> str:
    """A text with a mark before the character at a place."""
    return f"{text[:at]} <here> {text[at:]}".strip()


def unquoted(text: str) -> str:
    """An argument, a value or an element without its quotes."""
    quote = text[:1]
    if quote and quote in _QUOTES and len(text) > 1 and text.endswith(quote):
        return text[1:-1].replace(quote * 2, quote)
    return text


def elements(text: str) -> list[str]:
    """A value as the list that it is, separated by commas outside of quotes."""
    if not text:
        return []
    reader = _Reader(text)
    found = [reader._raw(",").strip()]  # noqa: SLF001 - its own module's
    while reader._next():  # noqa: SLF001
        found.append(reader._raw(",").strip())  # noqa: SLF001
    return [unquoted(each) for each in found]


def quoted(text: str) -> str:
    """A text as it is written in a plan: in quotes if it would not be read back as it is."""
    plain = text and text == text.strip() and not _SPECIAL.intersection(text) and text.isprintable()
    return text if plain else '"' + text.replace('"', '""') + '"'


def written(launcher: Launcher) -> str:
    """A launcher as the text that makes it: what differs from the defaults, as far as text can say it."""
    joint = {"nested": ("parts", "/"), "mixed": ("groups", " + ")}.get(launcher.name)
    if joint is not None:
        return joint[1].join(map(str, getattr(launcher, joint[0])))
    argument = getattr(launcher, launcher.argument)
    text = launcher.name
    if argument != getattr(type(launcher), launcher.argument, None):
        text += ":" + ",".join(_values(argument))
    options = "&".join(f"{name}={value}" for name, value in _options_of(launcher))
    return f"{text}?{options}" if options else text


def _options_of(launcher: Launcher) -> Iterator[tuple[str, str]]:
    defaults = _defaults(type(launcher))
    for name in field_names(type(launcher)):
        value = getattr(launcher, name)
        if name != launcher.argument and value != defaults.get(name):
            yield name, ",".join(_values(value))


def _defaults(kind: type[Launcher]) -> dict[str, Any]:
    return {name: getattr(kind, name, None) for name in field_names(kind)}


def _values(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(each, bool):
            yield str(each).lower()
        elif isinstance(each, (str, int, float)):
            yield quoted(str(each))
        else:
            # Text can't say it; that it is there should show.
            yield quoted(f"<{getattr(each, '__qualname__', type(each).__qualname__)}>")
