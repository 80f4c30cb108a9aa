"""The text of a plan: `name[:arg[,arg...]][?option=value[&...]]`, joined by `/`, `+` and `>`, taken apart.

    plan   := level (">" level)*          level := path ("+" path)*        path := part ("/" part)*
    part   := name [":" value] ["?" option "=" value ("&" option "=" value)*]           value := word ("," word)*

A word that begins with a quote ends at the next one of its kind, and nothing between them separates; two of them in a
row stand for one. After `=` only `&`, `/`, `+` and `>` end a value, after `:` also `?`.
"""

from __future__ import annotations

from typing import NamedTuple

from anypool._errors import PlanError

__all__: list[str] = []

JOINTS = "/+>"
_QUOTES = "\"'"
_AFTER_NAME = ":?" + JOINTS
_AFTER_ARGUMENT = "?" + JOINTS
_AFTER_VALUE = "&" + JOINTS
_SPECIAL = frozenset(",?&=" + JOINTS + _QUOTES)


class Word(NamedTuple):
    """What stands between commas, without its quotes; `at` is its place in the text."""

    text: str
    at: int
    quoted: bool


class Value(NamedTuple):
    """What follows `:` or `=`: as it is written, and its words."""

    raw: str
    at: int
    words: tuple[Word, ...]


class Part:
    """One launcher, or a named pool, as it is written; `at` is its place in the text."""

    def __init__(self, at: int) -> None:
        self.name, self.at = "", at
        self.argument: Value | None = None
        self.options: dict[str, Value] = {}

    @property
    def bare(self) -> bool:
        """Whether it is a name and nothing else."""
        return self.argument is None and not self.options


def parse(text: str) -> list[list[list[Part]]]:
    """Levels of groups of parts. Raises `PlanError` with the place of what is wrong."""
    return _Reader(text).plan()


def value_of(text: str) -> Value:
    """A text as the value of an option, whole. Raises `PlanError`."""
    return _Reader(text).value("")


def wrong(text: str, at: int, expected: str) -> PlanError:
    """An error that shows a place in a text."""
    shown = f"{text[:at]} <here> {text[at:]}".strip()
    return PlanError(f"{expected} at character {at + 1} of {text!r}: {shown}")


def in_name(character: str) -> bool:
    """Whether it may be part of a name."""
    return character.isalnum() or character in "_-."


def quoted(text: str) -> str:
    """A word in quotes."""
    return '"' + text.replace('"', '""') + '"'


def is_plain(text: str) -> bool:
    """Whether a word is read back as it is without quotes."""
    return bool(text) and text == text.strip() and text.isprintable() and not _SPECIAL.intersection(text)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def plan(self) -> list[list[list[Part]]]:
        levels: list[list[list[Part]]] = [[[]]]
        while True:
            levels[-1][-1].append(self._part())
            joint = self._peek()
            self._at += 1
            if joint == ">":
                levels.append([[]])
            elif joint == "+":
                levels[-1].append([])
            elif joint != "/":
                return levels

    def value(self, ends: str) -> Value:
        start = self._at
        words = [self._word(ends)]
        while self._peek() == ",":
            self._at += 1
            words.append(self._word(ends))
        return Value(self._text[start : self._at].strip(), words[0].at, tuple(words))

    def _part(self) -> Part:
        self._pass_blanks()
        part = Part(self._at)
        part.name = self._name(_AFTER_NAME, "the name of a launcher")
        if self._peek() == ":":
            self._at += 1
            part.argument = self.value(_AFTER_ARGUMENT)
        if self._peek() == "?":
            self._options(part)
        return part

    def _options(self, part: Part) -> None:
        ended = "?"
        while ended in ("?", "&"):
            self._at += 1
            self._pass_blanks()
            start = self._at
            name = self._name("=", "option=value")
            if self._peek() != "=":
                raise wrong(self._text, self._at, f"expected '=' and a value after the option {name!r}")
            if name in part.options:
                raise wrong(self._text, start, f"option {name!r} is given twice,")
            self._at += 1
            part.options[name] = self.value(_AFTER_VALUE)
            ended = self._peek()

    def _name(self, ends: str, what: str) -> str:
        start = self._at
        while (here := self._peek()) and in_name(here):
            self._at += 1
        name = self._text[start : self._at]
        if not name:
            raise wrong(self._text, start, f"expected {what}")
        self._pass_blanks()
        if (here := self._peek()) and here not in ends:
            expected = " ".join(map(repr, ends))
            raise wrong(self._text, self._at, f"expected one of {expected} or the end, after {name!r},")
        return name

    def _word(self, ends: str) -> Word:
        self._pass_blanks()
        start = self._at
        if (here := self._peek()) and here in _QUOTES:
            return Word(self._quoted(ends), start, quoted=True)
        while (here := self._peek()) and here != "," and here not in ends:
            self._at += 1
        return Word(self._text[start : self._at].rstrip(), start, quoted=False)

    def _quoted(self, ends: str) -> str:
        quote, start, text = self._peek(), self._at, ""
        while True:
            end = self._text.find(quote, self._at + 1)
            if end < 0:
                raise wrong(self._text, start, f"this quote ({quote}) is never closed,")
            text += self._text[self._at + 1 : end]
            self._at = end + 1
            if self._peek() != quote:
                break
            text += quote
        self._pass_blanks()
        if (here := self._peek()) and here != "," and here not in ends:
            expected = "expected ',' or the end after what is quoted; a quote inside of it is doubled:"
            raise wrong(self._text, self._at, f"{expected} {here!r}")
        return text

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _pass_blanks(self) -> None:
        while self._peek().isspace():
            self._at += 1
