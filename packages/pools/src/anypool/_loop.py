"""The agent's event loop: descriptors, timers, and a limit on every wait."""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Callable

__all__: list[str] = []

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_IDLE = 10.0

Handler = Callable[[int], object]


class Loop:
    """Calls one handler per ready descriptor; single-threaded, so handlers never overlap."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def watch(self, fd: int, handler: Handler) -> None:
        """Call `handler(events)` whenever `fd` can be read or has hung up."""
        self._epoll.register(fd, READ)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of a watched descriptor."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; to be called before it is closed, while a forked copy may keep it open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call once; a callback whose reason is gone has to see that for itself."""
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, callback))

    def step(self) -> None:
        """Wait for the next thing to happen and handle it."""
        wait = _IDLE
        if self._timers:
            wait = min(wait, max(0.0, self._timers[0][0] - time.monotonic()))
        # Whole milliseconds, rounded up by epoll: never returns just before the timer it waited for.
        ready = [(fd, events, self._handlers.get(fd)) for fd, events in self._epoll.poll(wait)]
        for fd, events, handler in ready:
            # An earlier handler may have closed the descriptor, and its number may name something new.
            if handler is not None and self._handlers.get(fd) is handler:
                handler(events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def abandon(self) -> None:
        """Close the epoll descriptor in a forked child; what the parent watches stays watched."""
        self._epoll.close()
