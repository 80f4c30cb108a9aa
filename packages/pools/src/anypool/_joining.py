"""The method by which a pool is given another server while it works."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypool._engine import Engine
    from anypool._launcher import Launcher

__all__: list[str] = []

# Of any pool, for a moment at a time.
_changing = threading.Lock()


class Joins:
    """`add_server`, for who has a launcher, an engine, and a size that is known once it was asked for."""

    launcher: Launcher
    _size: int | None

    def _engine(self, timeout: float | None = None) -> Engine:
        raise NotImplementedError

    def add_server(self, server: str, *, trust_network: bool = False) -> int:
        """Use the workers of another ppserver (`host:port`) too, from now on; returns how many they are.

        For pools of `parallel-python` alone, elsewhere a `TypeError`. Raises `LauncherUnavailable` if the server can't
        be used. From then on it is like one that was named when the pool was opened.
        """
        from anypool.launchers.parallel_python import ParallelPython

        before = self.launcher
        if not isinstance(before, ParallelPython):
            raise TypeError(f"add_server() is for pools of parallel-python, this one is of {before.name}")
        launcher = before.with_server(server, trust_network)
        from anypool._ppft.address import read_secret

        crew: Any = self._engine().crew
        workers: int = crew.add_server(launcher.addresses()[-1], read_secret(launcher.secret_file))
        with _changing:
            if self._size is not None:
                self._size += workers
            # As it is now, for others may have added theirs.
            assert isinstance(self.launcher, ParallelPython)
            self.launcher = self.launcher.with_server(server, trust_network)
        return workers
