"""Launcher `parallel-python`: workers of ppft, on this machine and of ppservers."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, ClassVar

from anypool._errors import LauncherUnavailable
from anypool._launcher import Launcher, ProcessOptions, Traits, cpus
from anypool._options import names_of
from anypool._ppft.address import Address, discovery_port, parsed, read_secret
from anypool._recipe import recipe

if TYPE_CHECKING:
    from anypool._ppft.crew import PpftCrew

__all__ = ["ParallelPython"]

_MISSING = "launcher 'parallel-python' needs the package ppft: pip install 'anypool[parallel-python]'"
_LOCAL_ONLY = ("initializer", "max_tasks_per_worker", "env", "cwd")


@recipe
class ParallelPython(ProcessOptions, Launcher):
    """Workers of ppft: of this machine, `parallel-python:2`, and those that `servers` (`host:port`) have beside them.

    With servers, `workers`, which are those of this machine, may be 0. Each server has to be there when the pool is
    opened, and to know the secret of `secret_file` (mode 0600), else of the environment's ANYPOOL_PPFT_SECRET. Others
    join later by `pool.add_server`, or by themselves if `discover` names the port on which they say that they are
    there: `"*:60000"`, or `"127.0.0.1:60000"` for those of this machine. A server that ends, hangs or is cut off costs
    what it ran a second attempt elsewhere, and is used again when it is back.

    ppft's protocol is not encrypted, and who reads along can do what a server can: a server that is not on this machine
    is refused unless the call says `trust_network=True`.

    A worker that dies costs what it ran, at a server too, where each pool has processes of its own. A task there that
    uses this pool has local workers where it is. What every worker starts with (`initializer`, `env`, `cwd`,
    `max_tasks_per_worker`) is for pools without servers: these have started theirs already.
    """

    name: ClassVar[str] = "parallel-python"
    api: ClassVar[int] = 1
    servers: tuple[str, ...] = ()
    discover: str | None = None
    secret_file: str | None = None
    trust_network: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", names_of("servers", self.servers))
        self._check_network()
        none_here = self.workers == 0
        if none_here and not self.is_remote:
            raise ValueError("workers must be at least 1, got 0; where ppservers do all, name them by servers=")
        if none_here:
            object.__setattr__(self, "workers", None)
        super().__post_init__()
        if none_here:
            object.__setattr__(self, "workers", 0)
        self.check()
        said = [name for name in _LOCAL_ONLY if getattr(self, name) is not None]
        if said and self.is_remote:
            raise ValueError(f"{said[0]}= is for workers that are started here; a ppserver has started its own already")

    def _check_network(self) -> None:
        """Refuse what leaves this machine in the clear without anybody having said so."""
        found = [*self.addresses(), *filter(None, [self.discovery])]
        far = [str(address) for address in found if not address.is_here]
        if far and not self.trust_network:
            raise ValueError(
                f"what goes to {far[0]} is not encrypted by ppft: say trust_network=True, or name the end of a tunnel "
                "that is on this machine"
            )

    def addresses(self) -> list[Address]:
        """Where the servers listen."""
        return [parsed(server) for server in self.servers]

    def with_server(self, server: str, trust_network: bool) -> ParallelPython:
        """The same with one more."""
        from dataclasses import replace

        trusted = self.trust_network or trust_network
        return replace(self, servers=(*self.servers, server), trust_network=trusted)

    @property
    def discovery(self) -> Address | None:
        """Where servers say that they are there."""
        return None if self.discover is None else discovery_port(self.discover)

    @property
    def is_remote(self) -> bool:
        """Whether ppservers take part."""
        return bool(self.servers) or self.discover is not None

    @property
    def traits(self) -> Traits:  # type: ignore[override]  # they follow from where its workers are
        """What is so."""
        return Traits("bytes", reruns=False, isolates=True, secure=False if self.is_remote else None)

    @property
    def on_this_machine(self) -> bool:  # type: ignore[override]
        """Whether all its workers use this machine's CPUs."""
        return not self.is_remote

    @property
    def _joins(self) -> bool:
        """Whether it uses servers where this is asked: a task at a server that did might wait for itself."""
        return self.is_remote and not getattr(sys.modules.get("anypool._ppft.worker"), "at_server", False)

    @property
    def size(self) -> int:
        """How many workers it will be; servers are asked for theirs. One at least, for who discovers them may."""
        if not self._joins:
            return self._here
        if (why := self.missing()) is not None:
            raise LauncherUnavailable(why)
        from anypool._ppft.wire import workers_at

        secret = read_secret(self.secret_file)
        return max(1, self._here + sum(workers_at(address, secret) for address in self.addresses()))

    @property
    def _here(self) -> int:
        return self.workers if self.workers or (self.workers == 0 and self._joins) else max(1, int(cpus()))

    @classmethod
    def missing(cls) -> str | None:
        """The package, if it is not installed; or that another one has taken one of its two names."""
        ours, other = importlib.util.find_spec("ppft"), importlib.util.find_spec("pp")
        if ours is None or ours.origin is None:
            return _MISSING
        if other is None or _folder(other.origin) != _folder(ours.origin):
            where = "is missing" if other is None else f"at {other.origin} is another one's"
            what = "uninstall that, or rename it if it is a file of yours, and install ppft"
            return f"launcher 'parallel-python' needs ppft alone: its module pp {where}; {what}"
        return None

    def launch(self) -> PpftCrew:
        """Connect the servers; local workers start with the crew."""
        from anypool._ppft.crew import PpftCrew, begin_with, dumped

        here = self._here
        folder = None if self.cwd is None else os.path.abspath(self.cwd)
        setup = dumped(self.initializer, self.initargs)
        begin = begin_with(setup, float(cpus()) / max(1, here), folder, dict(self.env or {}))
        if not self._joins:
            return PpftCrew(here, begin, "")
        crew = PpftCrew(here, begin, read_secret(self.secret_file))
        crew.connect(self.addresses(), self.discovery)
        return crew


def _folder(origin: str | None) -> str:
    return os.path.dirname(os.path.dirname(os.path.realpath(origin or "")))


ParallelPython.__module__ = "anypool"
