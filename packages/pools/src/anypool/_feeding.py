"""Read and pack input as it is wanted, by the thread that owns it."""

from __future__ import annotations

from time import monotonic

from anypool._engine import Engine
from anypool._input import READ_SECONDS
from anypool._stream import Stream

__all__: list[str] = []

# Of the time that an item took to read, what the next one may wait for a result that is perhaps about to come.
_SHARE = 0.05


def feed(engine: Engine, stream: Stream) -> None:
    """Read while there is room: nobody waits for the first result."""
    while count := engine.wanted(stream, waiting=True):
        engine.put(stream, stream.cut(count))


def feed_ahead(engine: Engine, stream: Stream, in_hand: bool) -> None:
    """Read while there is room, but not for long once there are results to hand out, and not where each read is long.

    `in_hand`: there are some already. A crew that isn't polled may make room as fast as it is filled.
    """
    # Whoever reads runs it too: as with the builtin, nothing is read before what is there has been taken.
    serial = engine.crew.polled and engine.crew.runs_here
    late = monotonic() + READ_SECONDS
    while True:
        served = in_hand or stream.news
        if served and (serial or stream.source.seconds > READ_SECONDS or monotonic() > late):
            return
        count = engine.wanted(stream, not served)
        if not count:
            return
        engine.put(stream, stream.cut(count))
        seconds = stream.source.seconds
        if serial:
            engine.drive(lambda: stream.news or stream.finished)
        elif not in_hand and seconds > READ_SECONDS:
            # Nobody has looked for results meanwhile.
            engine.drive(lambda: stream.news or stream.finished, monotonic() + _SHARE * seconds)
