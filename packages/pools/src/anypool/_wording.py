"""What a launcher's fields make of text, by their annotations, and the text that makes a launcher again."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from anypool._errors import PlanError
from anypool._grammar import JOINTS, Value, Word, is_plain, quoted, value_of, wrong
from anypool._recipe import field_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anypool._launcher import Launcher

__all__: list[str] = []

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NAMES = {"int": "int", "float": "float", "bool": "bool", "str": "str", "PathLike": "path", "Path": "Path"}
_EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "path": "a path",
    "Path": "a path", "none": "none",
}  # fmt: skip


class Form(NamedTuple):
    """What may stand in a field: `kinds` of single values, `choices` of a `Literal`, elements of a tuple.

    `other`: also what text can't say, such as a function.
    """

    kinds: frozenset[str] = frozenset()
    choices: tuple[Any, ...] = ()
    elements: Form | None = None
    other: bool = False

    @property
    def textual(self) -> bool:
        """Whether text can say anything that it takes, but for None."""
        return bool(self.kinds - {"none"} or self.choices or self.elements)

    @property
    def expected(self) -> str:
        """In words."""
        words = [_EXPECTED[kind] for kind in _EXPECTED if kind in self.kinds]
        return " or ".join(dict.fromkeys([*map(_shown, self.choices), *words]))


def form_of(kind: type[Any], name: str) -> Form:
    """The form of a launcher's field."""
    for base in kind.__mro__:
        try:
            annotation = getattr(base, "__annotations__", {}).get(name)
        except NameError:
            continue  # Since Python 3.14 they may be there only for type checkers.
        if annotation is not None:
            return _annotated(annotation)
    return Form(other=True)


def _annotated(annotation: Any) -> Form:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        annotation = annotation.__name__
    try:
        return _form(ast.parse(str(annotation).strip(), mode="eval").body)
    except SyntaxError:
        return Form(other=True)


def _form(node: ast.expr) -> Form:
    match node:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _either(_form(left), _form(right))
        case ast.Constant(value=None):
            return Form(frozenset({"none"}))
        case ast.Constant(value=str(text)):
            return _annotated(text)
        case ast.Subscript(value=value, slice=inside):
            return _subscripted(_last(value), inside)
    known = _NAMES.get(_last(node))
    return Form(frozenset({known})) if known else Form(other=True)


def _subscripted(name: str, inside: ast.expr) -> Form:
    elements = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if name == "Literal":
        values = [element.value for element in elements if isinstance(element, ast.Constant)]
        none = frozenset({"none"}) if None in values else frozenset[str]()
        return Form(none, tuple(value for value in values if value is not None))
    if name in ("Optional", "Union"):
        forms = [*map(_form, elements), *[Form(frozenset({"none"}))] * (name == "Optional")]
        return _either(*forms)
    if name == "Annotated":
        return _form(elements[0])
    if name == "PathLike":
        return Form(frozenset({"path"}))
    match name, elements:
        case (("tuple" | "Tuple"), [element, ast.Constant(value=value)]) if value is ...:
            form = _form(element)
            return Form(elements=form) if form.textual and not form.elements else Form(other=True)
    return Form(other=True)


def _either(*forms: Form) -> Form:
    listed = next((form.elements for form in forms if form.elements), None)
    return Form(
        frozenset[str]().union(*(form.kinds for form in forms)),
        tuple(choice for form in forms for choice in form.choices),
        listed,
        any(form.other for form in forms),
    )


def _last(node: ast.expr) -> str:
    """The last name of a dotted one."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def read(text: str, form: Form, value: Value, what: str) -> Any:
    """What a form makes of a value in a text; `what` it is for. Raises `PlanError` with its place."""
    only = value.words[0] if len(value.words) == 1 else None
    if form.elements is None:
        return _single(text, form, only or _joined(text, value, what), what)
    if only is not None and not only.quoted:
        if not only.text:
            return ()
        if "none" in form.kinds and only.text.lower() == "none":
            return None
    return tuple(_single(text, form.elements, word, what) for word in value.words)


def _joined(text: str, value: Value, what: str) -> Word:
    """A value whose commas are part of it."""
    for word in value.words:
        if word.quoted:
            raise wrong(text, word.at, f"{what} is one value, put all of it in quotes: expected no quote")
    return Word(value.raw, value.at, quoted=False)


def _single(text: str, form: Form, word: Word, what: str) -> Any:
    if not (word.text or word.quoted):
        ended = text[word.at : word.at + 1]
        quotes = f" in quotes if it has a {ended!r}," if ended and ended in JOINTS else ""
        raise wrong(text, word.at, f'{what}: expected a value,{quotes} or "" for an empty text,')
    for made in _readings(form, word):
        return made
    raise wrong(text, word.at, f"{what} takes {form.expected}, got {word.text!r}")


def _readings(form: Form, word: Word) -> Iterator[Any]:
    """What the word may stand for, the likeliest first. What is quoted is text where text is taken."""
    plain, low, kinds = word.text, word.text.lower(), form.kinds
    if not (word.quoted and kinds & {"str", "path", "Path"}):
        if "none" in kinds and low == "none":
            yield None
        if "int" in kinds and plain.isascii() and plain.removeprefix("-").isdecimal():
            yield from _number(int, plain)
        if "float" in kinds:
            yield from _number(float, plain)
        if "bool" in kinds and low in (*_TRUE, *_FALSE):
            yield low in _TRUE
    yield from (choice for choice in form.choices if _shown(choice) == plain)
    if "str" in kinds or "path" in kinds:
        yield plain
    elif "Path" in kinds:
        from pathlib import Path

        yield Path(plain)


def _number(kind: type[int] | type[float], text: str) -> Iterator[float]:
    try:
        yield kind(text)
    except ValueError:
        return  # No number, or one of more digits than Python reads.


def written(launcher: Launcher) -> str:
    """A launcher as the text that makes it: what differs from the defaults.

    What text can't say, such as a function, is shown as `"<its name>"`, which is refused when it is read.
    """
    kind = type(launcher)
    argument, options = "", []
    for name in field_names(kind):
        value = getattr(launcher, name)
        if value == getattr(kind, name, None):
            continue
        said = _said(form_of(kind, name), value)
        # After a colon stands at least 1.
        if name == kind.argument and value != 0:
            argument = f":{said}"
        else:
            options.append(f"{name}={said}")
    return kind.name + argument + ("?" + "&".join(options) if options else "")


def _said(form: Form, value: Any) -> str:
    if isinstance(value, tuple) and form.elements is not None:
        words = [_word(form.elements, each) for each in value]
        if not any(word is None for word in words):
            for text in (",".join(map(str, words)), quoted(str(value[0])) if len(value) == 1 else ""):
                if _reads_as(form, text, value):
                    return text
    return _word(form, value) or quoted(f"<{getattr(value, '__qualname__', type(value).__qualname__)}>")


def _word(form: Form, value: Any) -> str | None:
    """A single value as a word that is read back as it; None if there is none."""
    if value is not None and not isinstance(value, (str, int, float, os.PathLike)):
        return None
    text = str(os.fspath(value)) if isinstance(value, os.PathLike) else _shown(value)
    for candidate in (*([text] if is_plain(text) else []), quoted(text)):
        if _reads_as(form, candidate, value):
            return candidate
    # A path is read back as text where a field takes both.
    return quoted(text) if isinstance(value, os.PathLike) and "path" in form.kinds else None


def _reads_as(form: Form, text: str, value: Any) -> bool:
    try:
        back = read(text, form, value_of(text), "")
    except PlanError:
        return False
    alike = all(isinstance(back, kind) == isinstance(value, kind) for kind in (str, bool))
    return alike and bool(back == value)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
