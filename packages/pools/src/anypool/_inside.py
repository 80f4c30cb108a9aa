"""The crew of a hub: what the inner launcher starts, made to pass replies on unopened."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from anypool import _relay, _share
from anypool._chunk import Chunk, Outcomes
from anypool._copying import CopyingThreadCrew
from anypool._crew import Crew
from anypool._errors import LauncherUnavailable
from anypool._launcher import Launcher, launched_here
from anypool._outcomes import Unopened
from anypool._packing import run_message
from anypool._relayed import Relayed
from anypool._slot import Flight
from anypool._tails import NOWHERE, Saying
from anypool._task import running
from anypool._wire import Buffer, Ref
from anypool_serialize import initialize, loads

__all__: list[str] = []


def crew_inside(launcher: Launcher, fetch: Callable[[Ref], Buffer]) -> Crew:
    """Start the crew of a launcher in this process; `fetch` gives threads what lies in segments.

    Raises whatever `launch()` raises, and `LauncherUnavailable` where it can't run on this host.
    """
    if launcher.name == "thread":
        options: Any = launcher
        return Threads(launcher.size, options.initializer, options.initargs, fetch)
    launched: Any = launched_here(launcher)
    if isinstance(launched, Executor):
        from anypool._adapter import ExecutorCrew

        launched = ExecutorCrew(launcher.name, launched, launcher.launch, launcher.size)  # type: ignore[arg-type]
    if not hasattr(launched, "unopened"):
        launched.desert()
        raise LauncherUnavailable(
            f"launcher {launcher.name!r} can't be inside another: its crew opens what it passes on; "
            "one whose launch() returns an Executor can"
        )
    launched.unopened = True
    crew: Crew = launched
    return crew


class Threads(CopyingThreadCrew):
    """Threads of a hub: each unpacks its chunks, and packs what came of them."""

    takes_refs = True
    unopened = True

    def __init__(
        self,
        workers: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        fetch: Callable[[Ref], Buffer],
    ) -> None:
        super().__init__(workers, initializer, initargs)
        self._fetch = fetch
        # By slot, what takes in what its tasks say.
        self.saying: Callable[[int], Saying] = lambda _: Saying(NOWHERE, 0)
        self._server.hears = True
        self.relayed = Relayed()
        _relay.begin(None)

    def run_chunk(self, chunk: Chunk) -> Outcomes:
        """Unpack a chunk and run it in the calling thread."""
        message = run_message(0, Flight(chunk, 0, 0.0), with_body=True, careful=False)
        if _share.tools is not None:
            _share.tools.attach(message, chunk)
        said = self.saying(self.mine.slot)
        with running(None, 0, None, said):
            (reply,) = self._server.answer(message, self._fetch)
            _relay.flush()
        if said:
            self.relayed.put(self.mine.slot, _relay.relayed(_relay.trimmed(said)))
            said.handed_in()
        return Unopened(reply)


def initialize_packed(packed: bytes) -> None:
    """A worker's initializer as it came from the owner: hubs, which run no code of users, don't open it."""
    initialize(*loads(packed))
