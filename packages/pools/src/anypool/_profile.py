"""What `profile=` gives: where the time of maps went on their workers, for each of them and in all."""

from __future__ import annotations

import marshal
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pstats

    from anypool._engine import Engine
    from anypool._options import Options

__all__: list[str] = []


class Profile:
    """What cProfile recorded in the tasks of the maps that were given it as `profile=`, one after or beside another.

    It fills while they run: all of what has come home can be seen at any time. Nothing is in it of an item whose worker
    was lost or that was given up, and all of one that raised; one that ran again counts each time. It does not travel.
    """

    def __init__(self) -> None:
        self._workers: dict[str, pstats.Stats] = {}
        self._arrived: deque[bytes] = deque()
        # Reentrant, for a signal's handler may ask for it.
        self._lock = threading.RLock()

    def stats(self) -> pstats.Stats:
        """All workers' as one, to sort and print; a copy."""
        from pstats import Stats  # As all that uses it: who does not profile does not wait for it.

        total = Stats()
        self.merge()
        with self._lock:
            for each in self._workers.values():
                total.add(each)
        return total

    @property
    def workers(self) -> dict[str, Profile]:
        """Each worker's own as it is now, by host, process id and, where tasks are not in the main thread, thread."""
        self.merge()
        found = {}
        with self._lock:
            for name, stats in self._workers.items():
                found[name] = one = Profile()
                one._workers[name] = _copied(stats)
        return found

    def dump(self, path: str | os.PathLike[str]) -> None:
        """Write a file that `pstats.Stats(path)` and what draws such profiles can read; `ValueError` if it is empty."""
        stats = self.stats()
        if not stats.stats:  # type: ignore[attr-defined]  # unknown to typeshed
            raise ValueError(f"nothing has been profiled, so {os.fspath(path)} would be a file that pstats can't read")
        stats.dump_stats(os.fspath(path))

    def clear(self) -> None:
        """Forget all of it."""
        self._arrived.clear()
        with self._lock:
            self._workers.clear()

    def arrived(self, record: bytes) -> None:
        """What one chunk's worker sent; called with the engine's lock held, so no more than kept."""
        self._arrived.append(record)

    def merge(self) -> None:
        """Add up what has arrived."""
        while self._arrived:
            with self._lock:
                try:
                    worker, table = marshal.loads(self._arrived.popleft())  # noqa: S302 - no more trusted than results
                except IndexError:
                    return
                if table:
                    self._add(worker, table)

    def _add(self, worker: str, table: dict[Any, Any]) -> None:
        from pstats import Stats

        source: Any = _Source(table)
        if worker in self._workers:
            self._workers[worker].add(source)
        else:
            self._workers[worker] = Stats(source)

    def __repr__(self) -> str:
        stats: Any = self.stats()
        return f"<anypool.Profile of {len(self._workers)} workers: {stats.total_calls} calls, {stats.total_tt:.3g} s>"


class _Source:
    """A table, as what pstats takes: something that has a profile."""

    def __init__(self, stats: dict[Any, Any]) -> None:
        self.stats = stats

    def create_stats(self) -> None:
        """It is there."""


def _copied(stats: pstats.Stats) -> pstats.Stats:
    from pstats import Stats

    return Stats().add(stats)


class Profiled:
    """Who has a profile for the maps that are given `profile=True`."""

    @property
    def profile(self) -> Profile:
        """What its maps with `profile=True` have recorded, all of them together."""
        profile: Profile = self.__dict__.setdefault("_profile", Profile())
        return profile

    def _engine(self, timeout: float | None = None) -> Engine:
        raise NotImplementedError

    def _engine_for(self, options: Options) -> Engine:
        if options.profile is True:
            options.profile = self.profile
        return self._engine(options.timeout)


Profile.__module__ = "anypool"
