"""Which behaviours a launcher owes, as its traits say: the deviations that nobody has to list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from anypool._borrowed import Borrowed
from anypool._launcher import Launcher
from anypool._opening import given_plan

__all__: list[str] = []

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Term:
    """Who owes a behaviour, and why others don't. `strict`: others must not show it, else they may or may not."""

    owes: Callable[[Launcher], bool]
    reason: str
    strict: bool = True

    def __call__(self, behaviour: F) -> F:
        """Mark a behaviour."""
        terms = [self, *getattr(behaviour, "_terms", [])]
        behaviour._terms = terms  # type: ignore[attr-defined]  # noqa: SLF001 - a mark of our own
        return behaviour


copies = Term(
    lambda launcher: launcher.traits.crosses == "bytes",
    'traits: crosses="references", so its tasks work on the caller\'s own objects',
)
apart = Term(
    lambda launcher: launcher.traits.crosses == "bytes",
    'traits: crosses="references", so its tasks run in the caller\'s process and end with it',
)
a_recipe = Term(
    lambda launcher: not isinstance(launcher, Borrowed),
    "an executor of your own stays in its process, and can't be made anew",
)
remade = Term(
    lambda launcher: not isinstance(launcher, Borrowed),
    "an executor of your own promises nothing here, for it can't be made anew when it breaks",
    strict=False,
)
ended = Term(
    lambda launcher: not isinstance(launcher, Borrowed),
    "an executor of your own promises nothing here, for its workers stay with it",
    strict=False,
)
# A trait left out takes the cautious value, which forbids nothing.
isolated = Term(lambda launcher: launcher.traits.isolates, "traits: isolates=False promises nothing here", strict=False)
at_most_once = Term(
    lambda launcher: not launcher.traits.reruns, "traits: reruns=True promises nothing here", strict=False
)
no_network = Term(
    lambda launcher: launcher.traits.secure is None, "traits: secure says that there is a network", strict=False
)


def unowed(behaviour: Callable[..., Any], launcher: Launcher) -> Term | None:
    """The term by which a launcher does not owe a behaviour; None if it owes it."""
    terms: list[Term] = getattr(behaviour, "_terms", [])
    return next((term for term in terms if not term.owes(launcher)), None)


def recipe_of(given: Any) -> Launcher:
    """The launcher of the first level of whatever `get_pool` takes; starts nothing."""
    return given_plan([given], {}).levels[0]


def parts_of(launcher: Launcher) -> Iterator[Launcher]:
    """The launchers that a path or a mix is made of, else the launcher itself."""
    inner = getattr(launcher, "parts", ()) or getattr(launcher, "groups", ())
    if not inner:
        yield launcher
    for part in inner:
        yield from parts_of(part)
