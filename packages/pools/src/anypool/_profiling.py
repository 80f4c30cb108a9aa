"""A worker's side of `profile=`: record what a chunk's calls do, and send it home with their outcomes."""

from __future__ import annotations

import marshal
import os
import socket
import sys
import threading
from collections.abc import Callable
from cProfile import Profile
from typing import Any

from anypool._chunk import Calling, Direct
from anypool._serve import FEW_PLAIN, REPLY, VALUES
from anypool._tracing import TAKEN, Label, Table, Tracer
from anypool._wire import Message

__all__: list[str] = []

# What ends each recording is in it.
_END = "~", 0, "<method 'disable' of '_lsprof.Profiler' objects>"


class _Single(Profile):
    """Before Python 3.12 the later of two profilers replaces the other; this one refuses, as they do from then on."""

    def enable(self, subcalls: bool = True, builtins: bool = True) -> None:
        if sys.getprofile() is not None:
            raise ValueError(TAKEN)
        super().enable(subcalls, builtins)

    def disable(self) -> None:
        now: object = sys.getprofile()
        # Whosever it is by now: the next item is to find none.
        super().disable()
        if now is not self:
            raise ValueError(TAKEN)


class Recorder:
    """Records the calls of one chunk, in the thread that makes them."""

    def __init__(self) -> None:
        self._profiler: Profile | Tracer = _profiler()

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is recorded; nothing of ours is."""
        enable, disable = self._profiler.enable, self._profiler.disable

        def profiled(*args: Any, **kwargs: Any) -> Any:
            enable()
            try:
                return function(*args, **kwargs)
            finally:
                disable()

        return profiled

    def take(self) -> bytes:
        """Who recorded, and what since it was last taken."""
        profiler = self._profiler
        profiler.snapshot_stats()
        table: Table = profiler.stats  # type: ignore[assignment]  # typeshed has less of it
        found = {label: entry for label, entry in table.items() if not _is_ours(label, *entry[4])}
        profiler.clear()
        return marshal.dumps((_worker(), found), 4)

    def attached(self, reply: Message) -> Message:
        """The reply with what was recorded as its last part."""
        seconds, errors, payload, _ = REPLY.unpack_from(reply.meta)
        head = REPLY.pack(seconds, errors, VALUES if payload == FEW_PLAIN else payload, 1)
        reply.meta = head + bytes(reply.meta[REPLY.size :])
        reply.parts.append(self.take())
        return reply

    def kept(self, outcomes: Direct) -> Direct:
        """The outcomes with what was recorded."""
        outcomes.profile = self.take()
        return outcomes


def recorded(calling: Calling) -> Calling:
    """One whose calls are recorded, by the recorder that is its `profiled` from here on."""
    recorder = Recorder()
    return calling._replace(function=recorder.around(calling.function), profiled=recorder)


def _profiler() -> Profile | Tracer:
    if sys.version_info >= (3, 12):
        # Where it is not alone, it would count what other threads do, and none of them could have one.
        alone = threading.active_count() == 1 and sys.monitoring.get_tool(sys.monitoring.PROFILER_ID) is None
        return Profile() if alone else Tracer()
    return _Single()


def _is_ours(label: Label, *callers: Label) -> bool:
    return label == _END or any(each[0] == __file__ for each in (label, *callers))


def _worker() -> str:
    thread = threading.current_thread()
    name = f"{socket.gethostname()}-{os.getpid()}"
    return name if thread is threading.main_thread() else f"{name}-{thread.name}"
