"""The groups of a mix: each launcher with its crew, its share of the CPUs, and what became of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from math import inf

from anypool._context import Scope, entered, scope
from anypool._copying import CopyingThreadCrew
from anypool._crew import Crew, Event
from anypool._launcher import Launcher, cpus
from anypool._launching import crew_of
from anypool._plan import Mixed, Nested
from anypool._slot import Terms
from anypool.launchers.thread import Thread

__all__: list[str] = []

# A polled crew that can't be waited for is asked so often, in seconds.
_ASKED = 0.002
# Asking takes far less.
_POLL_SECONDS = 2.0


class Group:
    """One launcher of a mix. `slots` are the numbers that the mix gives to its workers, guests apart.

    Its crew takes work while it is `live`; `ended` once all its workers are gone, `error` says why; `last` is why the
    last one that was lost is gone.
    """

    def __init__(self, at: int, launcher: Launcher, tags: tuple[str, ...] = ()) -> None:
        self.name = f"{at}:{launcher}"
        self.at, self.launcher = at, launcher
        self.crew: Crew | None = None
        self.terms = Terms(tags=launcher.all_tags.union(tags))
        self.slots: set[int] = set()
        self.live = self.ended = False
        self.error: BaseException | None = None
        self.last = ""
        self.fd = -1
        # Held by who polls it, and by who ends it.
        self.polling = threading.Lock()

    def launch(self, where: Scope | None, references: bool) -> None:
        """Make the crew; what keeps it from that is kept for the report."""
        try:
            with entered(where):
                self.crew = crew = self._made(references)
        except Exception as error:  # noqa: BLE001 - whatever a launcher raises, the other groups may do without it
            self.error = error
            return
        quota = getattr(self.launcher, "max_tasks_per_worker", None)
        self.terms = Terms(quota, crew.reports_items, crew.greets, self.terms.tags)

    def _made(self, references: bool) -> Crew:
        launcher = self.launcher
        if isinstance(launcher, Thread) and not references:
            return CopyingThreadCrew(
                launcher.size, launcher.initializer, launcher.initargs, float(cpus()) / launcher.size
            )
        return crew_of(launcher, launcher.size, partial(_again, launcher, scope()))

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Start the workers; return their numbers in the crew, none if it can't."""
        if self.crew is None:
            return []
        self.live = True
        try:
            slots = self.crew.start(deliver)
        except Exception as error:  # noqa: BLE001 - the same
            self.error, self.live = error, False
            self.desert()
            self.crew = None
            return []
        if self.crew.polled and (fileno := getattr(self.crew, "fileno", None)) is not None:
            self.fd = fileno()
        return slots

    @property
    def due(self) -> float:
        """Seconds until it has to be polled."""
        if self.crew is None or not self.live or not self.crew.polled:
            return inf
        due: Callable[[], float] | None = getattr(self.crew, "due", None)
        return due() if due is not None else _ASKED

    def desert(self) -> None:
        """End the workers without waiting for that."""
        if self.crew is not None:
            with suppress(Exception):
                self.crew.desert()

    def poll(self) -> list[Event]:
        """What has happened; nothing while it is being ended."""
        if self.crew is None or not self.polling.acquire(blocking=False):
            return []
        try:
            return self.crew.poll(0.0) if self.live else []
        finally:
            self.polling.release()

    def close(self) -> None:
        """End the workers; what that raises is logged, for other groups have to end too."""
        if self.crew is None:
            return
        # An interrupt may have struck who polled before it could give that back.
        held = self.polling.acquire(timeout=_POLL_SECONDS)
        try:
            self.crew.close()
        except Exception:
            logging.getLogger("anypool").exception("the end of group %s", self.name)
        finally:
            if held:
                self.polling.release()

    @property
    def reason(self) -> str:
        """Why it is not there."""
        error = self.error
        if error is None:
            return self.last or "its workers are gone"
        return (
            str(error)
            if str(error) and type(error).__module__.startswith("anypool")
            else f"{type(error).__name__}: {error}"
        )


def launched(recipe: Mixed) -> tuple[list[Group], bool]:
    """All groups that can be made, and whether tasks pass by reference: only if all are threads.

    CPUs are divided among the workers that run here; those elsewhere have their own.
    """
    sizes = recipe.sizes
    groups = [
        Group(at, _sized(launcher, size), recipe.tags)
        for at, (launcher, size) in enumerate(zip(recipe.groups, sizes, strict=True))
    ]
    references = all(isinstance(launcher, Thread) for launcher in recipe.groups)
    here = [runs_here(group.launcher) for group in groups]
    share = float(cpus()) / max(1, sum(size for size, local in zip(sizes, here, strict=True) if local))
    outside = scope()
    try:
        for group, size, local in zip(groups, sizes, here, strict=True):
            group.launch(Scope((), share * size) if local else outside, references)
    except BaseException:
        for group in groups:
            group.desert()
        raise
    return groups, references


def runs_here(launcher: Launcher) -> bool:
    """Whether its workers take of this process' CPUs."""
    first = launcher.parts[0] if isinstance(launcher, Nested) else launcher
    return first.on_this_machine or first.traits.crosses == "references"


def _sized(launcher: Launcher, size: int) -> Launcher:
    """With the size that it has in the mix, however many CPUs it will see."""
    return launcher if isinstance(launcher, Nested) or launcher.workers is not None else replace(launcher, workers=size)


def _again(launcher: Launcher, where: Scope | None) -> Executor | Crew:
    with entered(where):
        return launcher.launch()
