"""Plans: which launchers, one inside the other, beside each other, and one level below the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from anypool._context import Scope, entered
from anypool._crew import Crew
from anypool._errors import PlanError
from anypool._launcher import Launcher, Traits, cpus
from anypool._options import whole
from anypool._recipe import field_names, recipe

__all__: list[str] = []


@dataclass(frozen=True)
class Plan:
    """Levels, the outermost first: a pool runs on the first, and a task that maps on the next.

    Prints as the text that `get_pool` takes, `ssh:n1,n2/process:8 > thread:2`, as far as text can say it: functions
    and other objects are shown by name, and what is of a mix as a whole is left out.
    """

    levels: tuple[Launcher, ...]

    def __post_init__(self) -> None:
        levels = tuple(self.levels)
        object.__setattr__(self, "levels", levels)
        if not levels:
            raise PlanError("a plan has at least one level")
        for level in levels:
            if not isinstance(level, Launcher):
                raise TypeError(f"a level is a launcher, got {level!r}; Plan.parse(text) makes a plan of text")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The plan that a text names. Starts nothing, but imports the plugins that are named.

        Raises `LauncherNotFound`, `LauncherUnavailable` (with what to install), and `PlanError` with the place.
        """
        from anypool._building import plan_of

        return cls(plan_of(text).levels)

    def tree(self) -> str:
        """Level by level what starts how many workers, if it were opened here: one line each."""
        from anypool._tree import tree

        return tree(self)

    def __iter__(self) -> Iterator[Launcher]:
        return iter(self.levels)

    def __len__(self) -> int:
        return len(self.levels)

    def __str__(self) -> str:
        return " > ".join(map(str, self.levels))


@recipe
class Nested(Launcher):
    """One flat pool of the innermost workers: each of `parts` is a launcher, whose workers start those of the next."""

    name: ClassVar[str] = "nested"
    on_this_machine: ClassVar[bool] = True

    parts: tuple[Launcher, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = tuple(_flat(self.parts, Nested, "parts"))
        object.__setattr__(self, "parts", parts)
        if not parts:
            raise PlanError("a path has launchers, the outer one first")
        for part in parts:
            if isinstance(part, Mixed):
                raise PlanError(f"a mix has no place in a path: {part}; write the path once for each of its groups")
        for outer in parts[:-1]:
            if outer.traits.crosses != "bytes":
                raise PlanError(
                    f"{outer.name!r} runs in this process, so nothing is inside it; put {outer.name!r} last"
                )
        if not parts[-1].starts_workers:
            raise PlanError(f"{parts[-1].name!r} has no workers of its own; leave it out")

    @property
    def traits(self) -> Traits:  # type: ignore[override]  # it follows from what it is made of
        """What all of its parts claim; what ends a thread ends its hub, and so its neighbours."""
        claims = [part.traits for part in self.parts]
        networks = [claim.secure for claim in claims if claim.secure is not None]
        return Traits(
            "bytes",
            reruns=any(claim.reruns for claim in claims),
            isolates=all(claim.isolates for claim in claims),
            secure=all(networks) if networks else None,
        )

    @property
    def size(self) -> int:
        """The product of the parts' sizes, each resolved with what is left of the CPUs; or what it was resized to."""
        if self.workers is not None:
            return self.workers
        size = 1
        for each in self.sizes:
            size *= each
        return size

    @property
    def sizes(self) -> list[int]:
        """How many workers each part has on one of the part before it, resolved now."""
        share, sizes = cpus(), []
        for part in self.parts:
            sizes.append(size_with(part, share))
            share = share / sizes[-1]
        return sizes

    @property
    def on_cpus(self) -> int:
        """How many workers count against this machine's CPUs: threads inside processes don't, nor other machines."""
        if any(part.oversubscribe for part in self.parts):
            return 0
        count = int(self.parts[0].on_this_machine)
        for part, size in zip(self.parts, self.sizes, strict=True):
            if not part.on_this_machine:
                break
            count *= size
        return count

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

    def __str__(self) -> str:
        return "/".join(map(str, self.parts))


@recipe
class Mixed(Launcher):
    """One pool of several `groups` that share its queue.

    A group that can't start, or is lost, is reported and the rest go on, as long as there are `min_workers`, 1 unless
    said otherwise.
    """

    name: ClassVar[str] = "mixed"
    on_this_machine: ClassVar[bool] = True

    groups: tuple[Launcher, ...] = ()
    min_workers: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "min_workers", whole("min_workers", self.min_workers, 1))
        groups = tuple(_flat(self.groups, Mixed, "groups"))
        object.__setattr__(self, "groups", groups)
        if not groups:
            raise PlanError("a mix has groups")
        for group in groups:
            if not group.starts_workers:
                raise PlanError(f"{group.name!r} is the caller itself, and can't be mixed with workers")

    @property
    def size(self) -> int:
        """The sum of the groups' sizes; or what it was resized to."""
        return sum(self.sizes) if self.workers is None else self.workers

    @property
    def sizes(self) -> list[int]:
        """The size of each group, resolved now."""
        return [size_with(group, share) for group, share in zip(self.groups, self.shares, strict=True)]

    @property
    def shares(self) -> list[float]:
        """The CPUs for each group. Groups that don't say how many workers share what the others leave."""
        all_of_them, said = cpus(), [group for group in self.groups if not _is_open(group)]
        left = all_of_them - sum(group.size for group in said if group.on_this_machine)
        share = max(1.0, left / max(1, len(self.groups) - len(said)))
        return [share if _is_open(group) else all_of_them for group in self.groups]

    @property
    def on_cpus(self) -> int:
        """How many workers count against the CPUs of this machine; resized in proportion."""
        count = sum(
            group.on_cpus if isinstance(group, Nested) else size * group.on_this_machine
            for group, size in zip(self.groups, self.sizes, strict=True)
            if not group.oversubscribe
        )
        return -(-count * self.size // sum(self.sizes))

    @property
    def all_tags(self) -> frozenset[str]:
        """Those of all groups; each worker has those of its own."""
        return frozenset(self.tags).union(*[group.all_tags for group in self.groups])

    def launch(self) -> Crew:
        """Start all groups."""
        from anypool._mixed import MixedCrew

        return MixedCrew(self)

    def __str__(self) -> str:
        return " + ".join(map(str, self.groups))


def nested(*launchers: Launcher) -> Nested:
    """A path of launchers; one that is a path itself is continued."""
    return Nested(parts=launchers)


def mixed(*launchers: Launcher) -> Mixed:
    """A mix of launchers; one that is a mix itself is added to."""
    return Mixed(groups=launchers)


def size_with(launcher: Launcher, share: float) -> int:
    """How many workers a launcher has where so many CPUs are left."""
    with entered(Scope((), share)):
        return launcher.size


def counted(launcher: Launcher, size: int | None = None) -> Launcher:
    """The same with the numbers of workers that it has here; `size` is that of one that is no path and no mix."""
    if isinstance(launcher, Nested):
        return replace(launcher, parts=tuple(map(_with_size, launcher.parts, launcher.sizes)))
    if isinstance(launcher, Mixed):
        groups = []
        for group, share in zip(launcher.groups, launcher.shares, strict=True):
            with entered(Scope((), share)):
                groups.append(counted(group))
        return replace(launcher, groups=tuple(groups))
    return _with_size(launcher, launcher.size if size is None else size)


def _with_size(launcher: Launcher, size: int) -> Launcher:
    if not launcher.starts_workers:
        return replace(launcher, workers=None)
    # Where text names something else, such as hosts, these say how many there are.
    return replace(launcher, workers=size) if launcher.argument == "workers" else launcher


def _is_open(launcher: Launcher) -> bool:
    """Whether its size follows from the CPUs that are left."""
    if isinstance(launcher, Nested):
        return any(part.workers is None for part in launcher.parts)
    return launcher.workers is None


def _flat(launchers: Iterable[Launcher], kind: type[Launcher], field: str) -> Iterator[Launcher]:
    for launcher in launchers:
        if not isinstance(launcher, Launcher):
            raise TypeError(f"a launcher is combined with launchers, got {launcher!r}")
        if not isinstance(launcher, kind):
            yield launcher
            continue
        for name in field_names(kind):
            if name != field and getattr(launcher, name) != getattr(kind, name):
                raise TypeError(
                    f"{name}= of {launcher} would be lost in a bigger one; give it to that one, or to get_pool"
                )
        yield from getattr(launcher, field)


for _public in (Plan, Nested, Mixed):
    _public.__module__ = "anypool"
del _public
