"""From the parts of a plan's text to launchers: which class a name is, and what its fields make of text."""

from __future__ import annotations

import re
from typing import Any

from anypool._errors import PlanError
from anypool._grammar import Part, elements, parse, unquoted
from anypool._launcher import Launcher
from anypool._plan import Plan, mixed, nested
from anypool._recipe import field_names
from anypool._select import find, no_option

__all__: list[str] = []

_WORD = re.compile(r"\w+")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def plan_of(text: str, options: dict[str, Any] | None = None) -> Plan:
    """The plan that a text names. `options` are for the first level, which then is one launcher, or a mix for its own.

    Raises `LauncherNotFound`, `LauncherUnavailable`, `PlanError`, and `TypeError` or `ValueError` for options.
    """
    levels = []
    for groups in parse(text):
        given = options if options and not levels else {}
        levels.append(_level(text, groups, dict(given)))
    return Plan(tuple(levels))


def _level(text: str, groups: list[list[Part]], options: dict[str, Any]) -> Launcher:
    single = len(groups) == 1 and len(groups[0]) == 1
    paths = []
    for parts in groups:
        built = [build(text, part, options if single else {}) for part in parts]
        paths.append(built[0] if len(built) == 1 else nested(*built))
    level = paths[0] if len(paths) == 1 else mixed(*paths)
    return level if single or not options else with_options(level, options)


def with_options(launcher: Launcher, options: dict[str, Any]) -> Launcher:
    """A path or a mix with options of its own; those of its parts are said with the parts."""
    from dataclasses import replace

    own = [name for name in field_names(type(launcher)) if name not in ("parts", "groups", "workers")]
    for name in options:
        if name not in own:
            raise TypeError(f"{name}= belongs to one launcher of {launcher}; say it there, as in name?{name}=...")
    return replace(launcher, **options)


def build(text: str, part: Part, options: dict[str, Any]) -> Launcher:
    """The launcher of one part; `options` come from the call."""
    kind = find(part.name)
    said: dict[str, Any] = {}
    if part.arguments:
        said[kind.argument] = _argument(text, kind, part)
    for name, value in part.options.items():
        if name not in kind.option_names():
            raise TypeError(no_option(kind, name))
        said[name] = _value(text, kind, name, value)
    twice = said.keys() & options.keys()
    if twice:
        name = sorted(twice)[0]
        raise TypeError(f"{name}= is given twice: {said[name]!r} in {text!r}, and {options[name]!r}")
    for name in options:
        if name not in kind.option_names():
            raise TypeError(no_option(kind, name))
    return kind(**said, **options)


def _argument(text: str, kind: type[Launcher], part: Part) -> Any:
    words = _words(kind, kind.argument)
    arguments = [unquoted(each) for each in part.arguments]
    if "tuple" in words:
        return tuple(arguments)
    value = part.arguments[0] if len(arguments) == 1 else ",".join(part.arguments)
    if kind.argument == "workers":
        if not (value.isascii() and value.isdecimal() and int(value)):
            raise PlanError(
                f"after {part.name!r}: expected a number of workers, at least 1, got {value!r} in {text!r}"
            )
        return int(value)
    return _value(text, kind, kind.argument, value)


def _value(text: str, kind: type[Launcher], name: str, value: str) -> Any:
    """What a field makes of a text, by the words of its annotation."""
    words = _words(kind, name)
    if "tuple" in words:
        return tuple(elements(value))
    plain = unquoted(value)
    if "bool" in words and plain.lower() in (*_TRUE, *_FALSE):
        return plain.lower() in _TRUE
    for number in (int, float):
        if number.__name__ in words:
            try:
                return number(plain)
            except ValueError:
                continue
    if words & {"str", "Literal", "PathLike"} and "Mapping" not in words:
        return plain
    if words & {"int", "float", "bool"}:
        expected = " or ".join(sorted(words & {"int", "float", "bool"}))
        raise PlanError(f"{kind.name}?{name}= takes {_SAID[expected]}, got {plain!r} in {text!r}")
    raise PlanError(
        f"{kind.name}?{name}= can't be said in text; give it to get_pool as {name}=, or to {kind.__name__}(...)"
    )


_SAID = {"int": "a whole number", "float": "a number", "bool": "true or false", "float or int": "a number"}


def _words(kind: type[Launcher], name: str) -> set[str]:
    """The words of a field's annotation."""
    for base in kind.__mro__:
        annotation = vars(base).get("__annotations__", {}).get(name)
        if annotation is not None:
            return set(_WORD.findall(annotation if isinstance(annotation, str) else str(annotation)))
    return set()
