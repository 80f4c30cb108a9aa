"""What `anypool plan` prints: the plan that holds, who spoke for it and why others did not, and its tree."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from anypool._budget import check_plan
from anypool._building import plan_from
from anypool._config import Settings, checked
from anypool._errors import PlanError
from anypool._files import File, in_project, of_user, upwards, user_file
from anypool._launcher import cpus
from anypool._select import VARIABLE, default

__all__: list[str] = []


class _Voice(NamedTuple):
    """Who might speak: the plan's text, or why there is none; `error` if what it says can't be read."""

    who: str
    text: str | None
    why: str = ""
    error: PlanError | None = None


def show(levels: list[str]) -> Iterator[str]:
    """The lines, for the plan of these levels or else for the one that holds; errors come after what is known."""
    voices = [_given(levels), _variable(), _file(in_project, _nowhere()), _file(of_user, f"{user_file()}: not there")]
    voices.append(_Voice("the default", default()))
    holds = next(voice for voice in voices if voice.text is not None or voice.error is not None)
    if holds.text is not None:
        yield f"{holds.text}   (from {holds.who})"
        yield ""
    for voice in voices:
        mark = "*" if voice is holds else " "
        yield f"{mark} {voice.who}: {voice.text or ''}{voice.why}"
    if holds.error is not None or holds.text is None:
        raise holds.error or PlanError("nobody speaks for a plan")
    yield ""
    plan = plan_from(holds.text, holds.who)
    yield plan.tree()
    share = cpus()
    yield ""
    yield f"{share:.3g} CPUs ({getattr(share, 'reason', 'the share of a task')})"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_plan(plan)
    yield from (f"warning: {warning.message}" for warning in caught)


def _given(levels: list[str]) -> _Voice:
    who = "the command line"
    return _Voice(who, " > ".join(levels)) if levels else _Voice(who, None, "says nothing")


def _variable() -> _Voice:
    text = os.environ.get(VARIABLE)
    if text is None or not text.strip():
        return _Voice(VARIABLE, None, "is not set" if text is None else "is empty")
    return _Voice(VARIABLE, text.strip())


def _file(find: Callable[[], File | None], nothing: str) -> _Voice:
    try:
        file = find()
        said = checked(file) if file is not None else None
    except PlanError as error:
        return _Voice("a configuration file", None, f"is refused: {error}", error)
    if said is None:
        return _Voice("no configuration file", None, nothing)
    if said.plan is None:
        return _Voice(said.path, None, f"has no plan{_beside(said)}")
    return _Voice(said.plan.source, said.plan.text, _beside(said))


def _beside(said: Settings) -> str:
    """What else a file names."""
    parts = [f"{kind} {', '.join(named)}" for kind, named in (("pools", said.pools), ("hosts", said.hosts)) if named]
    return f" (and {'; '.join(parts)})" if parts else ""


def _nowhere() -> str:
    try:
        folders = upwards(os.getcwd())
    except OSError:
        return "the working folder is gone"
    upto = f" up to {folders[-1]}" if len(folders) > 1 else ""
    return f"no anypool.toml, and no pyproject.toml with [tool.anypool], in {folders[0]}{upto}"
