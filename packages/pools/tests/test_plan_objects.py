"""Plans and launchers as objects: how they combine, and what their fields' annotations say of text."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import pytest

from anypool import Mixed, Nested, Plan, PlanError, Process, Serial, Thread
from anypool._grammar import value_of
from anypool._plan import mixed, nested
from anypool._wording import form_of, read

# As they are without `from __future__ import annotations`.
ANNOTATIONS: dict[str, tuple[Any, str, Any]] = {
    "whole": (int, "3", 3),
    "either": (int | None, "none", None),
    "listed": (tuple[int, ...], "1,2", (1, 2)),
    "chosen": (Literal["x", "y"], "y", "y"),
    "optional": ("typing.Optional[float]", "1.5", 1.5),
    "union": ("Union[bool, str]", "off", False),
    "path": (Path, "a b", Path("a b")),
    "like": (str | os.PathLike[str], "a", "a"),
    "noted": (Annotated[int, "seconds"], "3", 3),
    "forward": ("int | None", "3", 3),
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotations_that_are_objects_are_understood_too(name: str) -> None:
    annotation, text, value = ANNOTATIONS[name]
    form = form_of(type("Kind", (), {"__annotations__": {name: annotation}}), name)
    assert form.textual
    assert read(text, form, value_of(text), name) == value


@pytest.mark.parametrize(
    "annotation", [Callable[[], None], dict[str, str], list[str], tuple[str, int], tuple[Any, ...], Any, object, "a b"]
)
def test_what_text_can_not_say_is_known_by_its_annotation(annotation: Any) -> None:
    form = form_of(type("Kind", (), {"__annotations__": {"name": annotation}}), "name")
    assert form.other
    assert not form.textual


def test_launchers_combine_flat() -> None:
    one, two, three = Process(1), Process(2), Thread(3)
    assert one / (two / three) == (one / two) / three == nested(one, two, three)
    assert one + (two + three) == (one + two) + three == mixed(one, two, three)
    assert Nested(parts=(one, two / three)) == nested(one, two, three)


@pytest.mark.parametrize(
    "combine, message",
    [
        (lambda: Thread(2) / Process(2), "'thread' runs in this process, so nothing is inside it"),
        (lambda: (Process(2) + Thread(2)) / Process(2), "a mix has no place in a path"),
        (lambda: Process(2) / Serial(), "'serial' has no workers of its own"),
        (lambda: Process(2) + Serial(), "'serial' is the caller itself"),
        (lambda: Nested(), "a path has launchers"),
        (lambda: Mixed(), "a mix has groups"),
        (lambda: Plan(()), "a plan has at least one level"),
    ],
)
def test_what_makes_no_place_to_run_is_refused(combine: Callable[[], object], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        combine()


@pytest.mark.parametrize(
    "combine, message",
    [
        (lambda: operator.truediv(Process(2), "thread"), "a launcher is combined with launchers, got 'thread'"),
        (lambda: operator.add(Process(2), "thread"), "a launcher is combined with launchers, got 'thread'"),
        (lambda: Plan(cast("Any", ("process",))), "a level is a launcher, got 'process'; Plan.parse"),
        (lambda: replace(Process(1) + Thread(1), min_workers=2) + Thread(1), "min_workers= of .* would be lost"),
    ],
)
def test_what_is_no_launcher_or_would_be_lost_is_a_type_error(combine: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        combine()


def test_plans_are_equal_by_their_levels_whatever_held_them() -> None:
    levels: Any = [Process(2), Thread(1)]
    assert Plan(levels) == Plan(tuple(levels)) != Plan((Process(2),))
    assert len({Plan(levels), Plan(tuple(levels))}) == 1
