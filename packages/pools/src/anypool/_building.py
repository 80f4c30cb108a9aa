"""From the parts of a plan's text to launchers: which class or named pool a name is, and what its fields hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from anypool._errors import LauncherNotFound, LauncherUnavailable, PlanError
from anypool._grammar import Part, Value, parse, wrong
from anypool._launcher import Launcher
from anypool._plan import Mixed, Nested, Plan, mixed, nested
from anypool._recipe import field_names
from anypool._select import BUILT_IN, find, is_number, no_option, similar

__all__: list[str] = []

# Text may be somebody else's; that a network is to be trusted is for the caller to say.
_NEVER_IN_TEXT = ("trust_network",)


def plan_of(text: str, options: dict[str, Any] | None = None) -> Plan:
    """The plan that a text names. `options` are for its first level.

    Raises `LauncherNotFound`, `LauncherUnavailable`, `PlanError`, and `TypeError` or `ValueError` for options.
    """
    return Plan(tuple(_levels(text, options or {}, ())))


def plan_from(text: str, source: str, within: tuple[str, ...] = ()) -> Plan:
    """The plan of a text that stands somewhere else, which an error names; a wrong option is a `PlanError` there.

    `within`: the named pools that led to it.
    """
    try:
        return Plan(tuple(_levels(text, {}, within)))
    except (LauncherNotFound, LauncherUnavailable, PlanError) as error:
        raise type(error)(f"{source}: {error}") from error
    except (TypeError, ValueError) as error:
        raise PlanError(f"{source}: {error} in {text!r}") from error


def with_options(launcher: Launcher, options: dict[str, Any]) -> Launcher:
    """A launcher with options of a call, which count more than its own. `TypeError` for those that it can't have.

    A path or a mix has only those that are of the whole; the others are said with its parts.
    """
    if not options:
        return launcher
    whole = isinstance(launcher, (Nested, Mixed))
    hidden = ("parts", "groups", "workers") if whole else ()
    own = field_names(type(launcher)) if whole else type(launcher).option_names()
    for name in options:
        if name in own and name not in hidden:
            continue
        if whole:
            raise TypeError(
                f"{name}= belongs to one launcher of {launcher}; say it there, as in name?{name}=..., "
                f"or with an object, as in Process(2, {name}=...)"
            )
        raise TypeError(no_option(type(launcher), name))
    return replace(launcher, **options)


def _levels(text: str, options: dict[str, Any], within: tuple[str, ...]) -> Iterator[Launcher]:
    for groups in parse(text):
        if len(groups) > 1 or len(groups[0]) > 1:
            yield with_options(_combined(text, groups), options)
        elif (pool := _named(groups[0][0], within)) is not None:
            yield with_options(pool.levels[0], options)
            yield from pool.levels[1:]
        else:
            yield _built(text, groups[0][0], options)
        options = {}


def _combined(text: str, groups: list[list[Part]]) -> Launcher:
    paths = []
    for parts in groups:
        built = [_built(text, part, {}) for part in parts]
        try:
            paths.append(nested(*built) if len(built) > 1 else built[0])
        except PlanError as error:
            raise wrong(text, parts[0].at, str(error)) from error
    try:
        return mixed(*paths) if len(paths) > 1 else paths[0]
    except PlanError as error:
        raise wrong(text, groups[0][0].at, str(error)) from error


def _named(part: Part, within: tuple[str, ...]) -> Plan | None:
    """The plan of a named pool; None for the name of a launcher."""
    if part.name in BUILT_IN or not part.bare:
        return None
    from anypool._config import pools

    pool = pools().get(part.name)
    if pool is None:
        return None
    if part.name in within:
        raise PlanError(f"{pool.source}: the pool is its own plan, by way of {' and '.join(within)}")
    try:
        find(part.name)
    except LauncherNotFound:
        pass
    except LauncherUnavailable as error:
        raise _rival(part.name, pool.source) from error
    else:
        raise _rival(part.name, pool.source)
    return plan_from(pool.text, pool.source, (*within, part.name))


def _rival(name: str, where: str) -> PlanError:
    return PlanError(f"{where}: {name!r} is the name of a launcher; give the pool another one")


def _built(text: str, part: Part, options: dict[str, Any]) -> Launcher:
    kind = _found(text, part)
    said: dict[str, Any] = {}
    if part.argument is not None:
        said[kind.argument] = _argument(text, kind, part, part.argument)
    for name, value in part.options.items():
        if name in said:
            raise wrong(text, value.at, f"{name} is given twice, after {part.name!r} and")
        if name not in kind.option_names():
            raise TypeError(no_option(kind, name))
        said[name] = _value(text, kind, name, value)
    for name, given in options.items():
        if name in said:
            raise TypeError(f"{name}= is given twice: {said[name]!r} in {text!r}, and {given!r}")
        if name not in kind.option_names():
            raise TypeError(no_option(kind, name))
    return kind(**said, **options)


def _found(text: str, part: Part) -> type[Launcher]:
    if part.name in BUILT_IN:
        return find(part.name)
    try:
        return find(part.name)
    except LauncherNotFound as error:
        from anypool._config import pools

        known = pools()
        if part.name in known:
            expected = (
                f"{part.name!r} is a named pool: expected it alone, without a number or options, as a whole level,"
            )
            raise wrong(text, part.at, expected) from None
        close = similar(part.name, known)
        hint = f"; did you mean the pool {close[0]!r}?" if close else f"; pools are {', '.join(known)}"
        raise LauncherNotFound(f"{error}{hint if known else ''}{_unquoted(text, part)}") from None


def _unquoted(text: str, part: Part) -> str:
    """What else a name may be: the rest of a value."""
    before = text[: part.at].rstrip()
    of_value = before.endswith("/") and "=" in before
    return f"; if {part.name!r} is part of the value before it, put that in quotes" if of_value else ""


def _argument(text: str, kind: type[Launcher], part: Part, value: Value) -> Any:
    if kind.argument not in kind.option_names():
        raise wrong(text, value.at, f"{part.name!r} takes nothing after ':', but options after '?': got {value.raw!r}")
    if kind.argument != "workers":
        return _value(text, kind, kind.argument, value)
    word = value.words[0].text
    if len(value.words) > 1 or not is_number(word):
        raise wrong(text, value.at, f"after {part.name!r}: expected a number of workers, at least 1, got {value.raw!r}")
    return int(word)


def _value(text: str, kind: type[Launcher], name: str, value: Value) -> Any:
    # Plans of names and numbers, which are most, do without.
    from anypool._wording import form_of, read

    form = form_of(kind, name)
    if name in _NEVER_IN_TEXT or not form.textual:
        reason = "is said in the call, never in text" if name in _NEVER_IN_TEXT else "can't be said in text"
        raise wrong(text, value.at, f"{name}= {reason}: give it to get_pool as {name}=, or to {kind.__name__}(...);")
    return read(text, form, value, f"{kind.name}?{name}=")
