"""Plans: which launchers, one inside the other, beside each other, and one level below the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from anypool._crew import Crew
from anypool._errors import PlanError
from anypool._launcher import Launcher, Traits, cpus
from anypool._options import whole
from anypool._recipe import recipe

__all__: list[str] = []


@dataclass(frozen=True)
class Plan:
    """Levels, the outermost first: a pool runs on the first, and a task that maps on the next.

    Prints as the text that `get_pool` takes, `ssh:n1,n2/process:8 > thread:2`.
    """

    levels: tuple[Launcher, ...]

    def __post_init__(self) -> None:
        if not self.levels:
            raise PlanError("a plan has at least one level")
        for level in self.levels:
            if not isinstance(level, Launcher):  # type: ignore[redundant-expr]
                raise TypeError(f"a level is a launcher, got {level!r}")

    def __iter__(self) -> Iterator[Launcher]:
        return iter(self.levels)

    def __len__(self) -> int:
        return len(self.levels)

    def __str__(self) -> str:
        return " > ".join(map(str, self.levels))


@recipe
class Nested(Launcher):
    """One flat pool of the innermost workers: `parts` are launchers, each of which starts the next one's on its workers."""

    name: ClassVar[str] = "nested"
    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=True, secure=None)
    on_this_machine: ClassVar[bool] = True

    parts: tuple[Launcher, ...] = ()

    @property
    def size(self) -> int:
        """The product of the parts' sizes, each resolved with what is left of the CPUs; or what it was resized to."""
        if self.workers is not None:
            return self.workers
        share, size = cpus(), 1
        for part in self.parts:
            here = part.workers if part.workers is not None else max(1, int(share))
            size *= here
            share /= here
        return size

    @property
    def all_tags(self) -> frozenset[str]:
        """Those of its parts, and its own."""
        return frozenset(self.tags).union(*[part.all_tags for part in self.parts])

    @property
    def max_tasks_per_worker(self) -> int | None:
        """That of the innermost launcher, whose workers run the tasks."""
        most: int | None = getattr(self.parts[-1], "max_tasks_per_worker", None)
        return most

    def launch(self) -> Crew:
        """Start the outermost part's workers as hubs."""
        from anypool._nested import NestedCrew

        return NestedCrew(self)


@recipe
class Mixed(Launcher):
    """One pool of several `groups` that share its queue.

    A group that can't start, or is lost, is reported and the rest go on, as long as there are `min_workers`, 1 unless
    said otherwise.
    """

    name: ClassVar[str] = "mixed"
    on_this_machine: ClassVar[bool] = True
    resizes: ClassVar[bool] = False

    groups: tuple[Launcher, ...] = ()
    min_workers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "min_workers", whole("min_workers", self.min_workers, 1))

    @property
    def size(self) -> int:
        """The sum of the groups' sizes. Groups that don't say share what the others leave of the CPUs."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """The size of each group, resolved now."""
        open_ones = [group for group in self.groups if group.workers is None]
        left = cpus() - sum(group.size for group in self.groups if group.workers is not None)
        share = max(1, int(left / len(open_ones))) if open_ones else 0
        return [share if group.workers is None and not isinstance(group, Nested) else group.size for group in self.groups]

    @property
    def all_tags(self) -> frozenset[str]:
        """Those of all groups; each worker has those of its own."""
        return frozenset(self.tags).union(*[group.all_tags for group in self.groups])

    def launch(self) -> Crew:
        """Start all groups."""
        from anypool._mixed import MixedCrew

        return MixedCrew(self)


def nested(*launchers: Launcher) -> Nested:
    """A path of launchers; one that is a path itself is continued."""
    parts = tuple(_flat(launchers, Nested, "parts"))
    for part in parts:
        if isinstance(part, Mixed):
            raise PlanError(f"a mix has no place in a path: {part}; write the path once for each of its groups")
    for outer in parts[:-1]:
        if outer.traits.crosses != "bytes":
            raise PlanError(f"{outer.name!r} runs in this process, so nothing is inside it; put {outer.name!r} last")
    if not parts[-1].starts_workers:
        raise PlanError(f"{parts[-1].name!r} has no workers of its own; leave it out")
    return Nested(parts=parts)


def mixed(*launchers: Launcher) -> Mixed:
    """A mix of launchers; one that is a mix itself is added to."""
    groups = tuple(_flat(launchers, Mixed, "groups"))
    for group in groups:
        if not group.starts_workers:
            raise PlanError(f"{group.name!r} is the caller itself, and can't be mixed with workers")
    return Mixed(groups=groups)


def _flat(launchers: Iterable[Launcher], kind: type[Launcher], field: str) -> Iterator[Launcher]:
    for launcher in launchers:
        if not isinstance(launcher, Launcher):  # type: ignore[redundant-expr]
            raise TypeError(f"a launcher is combined with launchers, got {launcher!r}")
        if isinstance(launcher, kind):
            yield from getattr(launcher, field)
        else:
            yield launcher


for _public in (Plan, Nested, Mixed):
    _public.__module__ = "anypool"
del _public
