"""What workers do in the behaviours. They import this, so it needs nothing but anypool and the standard library."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import random
import socket
import sys
import threading
import time
import warnings
from importlib.util import find_spec
from pickle import PickleBuffer
from typing import Any
from weakref import WeakSet

from anypool import current_task, progress

__all__: list[str] = []

_LOOK_SECONDS = 0.01
# How long a call runs that nobody stops.
BLOCKED_SECONDS = 10.0


def mark(path: str, word: str = "x") -> None:
    """Append a line, whole, whoever else does so at the same time."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{word}\n".encode())
    finally:
        os.close(file)


def marks(path: str) -> list[str]:
    """The lines so far."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def wait_for(path: str, seconds: float) -> bool:
    """Whether a file is there within so many seconds."""
    limit = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > limit:
            return False
        # Short, so that an exception that is injected into a thread ends it.
        time.sleep(_LOOK_SECONDS)
    return True


class Door:
    """What running calls wait for; it opens at the end, so that nobody waits for calls which can't be stopped."""

    def __init__(self, path: str, begun: str) -> None:
        self._path, self._begun = path, begun

    def wait(self) -> None:
        """Run until it opens."""
        mark(self._begun)
        wait_for(self._path, BLOCKED_SECONDS)

    def wait_if(self, item: int, blocked: int) -> int:
        """Give the item back, late if it is that one."""
        if item == blocked:
            self.wait()
        return item

    @property
    def begun(self) -> int:
        """How many calls have begun to wait."""
        return len(marks(self._begun))

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        mark(self._path)


class Fate:
    """Ends the worker that it meets, unless that is the process that made it; a file tells how often it did."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._home = socket.gethostname(), os.getpid()

    def strike(self) -> str:
        """End this process, or return if it is the caller's."""
        if (socket.gethostname(), os.getpid()) == self._home:
            mark(self._path, "spared")
            return "spared"
        mark(self._path, "died")
        os._exit(3)

    @property
    def deaths(self) -> int:
        """How many processes it has ended."""
        return marks(self._path).count("died")

    @property
    def spared(self) -> bool:
        """Whether it met the caller's process."""
        return "spared" in marks(self._path)


def drawn(_: int) -> float:
    """The item's random number."""
    from anypool import rng

    return rng().random()


def drawn_from_state(_: int) -> tuple[bool, float, float]:
    """A number from the state that a process shares, and one of numpy's if there is numpy; whether it has one task."""
    numpy: Any = sys.modules.get("numpy") or (importlib.import_module("numpy") if find_spec("numpy") else random)
    return threading.current_thread() is threading.main_thread(), random.random(), numpy.random.random()  # noqa: S311


def half(item: int) -> float:
    """Half of it, by a call of its own; what is no number raises there."""
    return halved(item)


def halved(item: int) -> float:
    """The same."""
    return item / 2


def profile_itself(item: int) -> int:
    """Give the item back, from under a profiler of its own."""
    import cProfile

    with cProfile.Profile():
        return int(abs(item))


def wait_if_first(item: int, path: str) -> int:
    """Give the item back, the first one late: when a file is there."""
    if item == 0:
        wait_for(path, BLOCKED_SECONDS)
    return item


def fail_at_first(path: str, error: type[Exception], times: int) -> int:
    """Raise so many times, then give how often it was called; a file counts."""
    mark(path)
    if len(marks(path)) <= times:
        raise error("not yet")
    return len(marks(path))


def fail_first_time(item: int, folder: str) -> str:
    """The item's text, but at its first try an odd one raises; a file for each tells how often it ran."""
    path = os.path.join(folder, f"item{item}")
    mark(path)
    if item % 2 and len(marks(path)) == 1:
        raise OSError(item)
    return str(item)


class Told:
    """A text; a file has a line for each time that such a one is sent."""

    def __init__(self, text: str, path: str) -> None:
        self.text, self._path = text, path

    def __add__(self, other: Told) -> Told:
        return Told(self.text + other.text, self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        mark(self._path)
        return Told, (self.text, self._path)


def told(item: int, path: str) -> Told:
    """The item as such a text."""
    return Told(str(item), path)


def die_at(item: int, fate: Fate, at: int) -> int:
    """Give the item back; that one ends its worker."""
    if item == at:
        fate.strike()
    return item


def die_once_at(item: int, fate: Fate, at: int) -> int:
    """The same, but when it runs again nobody dies."""
    if item == at and not fate.deaths:
        fate.strike()
    return item


def die_once_at_as_text(item: int, fate: Fate, at: int) -> str:
    """Its text, in which the order can be seen."""
    return str(die_once_at(item, fate, at))


def count_and_die_at(item: int, fate: Fate, at: int, begun: str) -> int:
    """The same; a file has a line for each time that an item began."""
    mark(begun, str(item))
    return die_at(item, fate, at)


def neighbours(role: str, fate: Fate, begun: str, go: str) -> str:
    """One goes on until it is told to end; the victim dies when that one runs."""
    if role == "victim":
        wait_for(begun, BLOCKED_SECONDS)
        return fate.strike()
    mark(begun)
    wait_for(go, BLOCKED_SECONDS)
    return role


def where() -> tuple[str, int]:
    """The process that this is."""
    return socket.gethostname(), os.getpid()


def below() -> tuple[str, int]:
    """What a task gets for its own tasks: name of the launcher and number of workers."""
    from anypool import get_pool

    with get_pool() as pool:
        return pool.launcher.name, len(pool)


def descend(_: Any = None) -> list[str]:
    """The launchers of all levels from here on, each opened in a task of the one before."""
    from anypool import get_pool

    with get_pool() as pool:
        if pool.launcher.name == "serial":
            return ["serial"]
        (deeper,) = pool.map(descend, [0])
        return [pool.launcher.name, *deeper]


def add_up_over(pool: Any) -> Any:
    """One, two and three, added up by calls of which one waits for the other."""
    total: Any = pool.submit(abs, -1)
    for number in (2, 3):
        total = pool.submit(int.__add__, total, pool.submit(abs, -number))
    return total.result()


def say(item: int, lines: int = 3) -> int:
    """Print so many lines, the last of them in pieces and to stderr."""
    for line in range(lines - 1):
        print(f"item {item} line {line}")  # noqa: T201 - tried
    print(f"item {item}", file=sys.stderr, end=" ")  # noqa: T201 - tried
    print(f"line {lines - 1}", file=sys.stderr)  # noqa: T201 - tried
    return item


def record(item: int) -> int:
    """Log at two levels."""
    logger = logging.getLogger("anypool.testing.tasks")
    logger.debug("debug %d", item)
    logger.info("info %d", item, extra={"of_item": item})
    return item


def warn(item: int) -> int:
    """Warn at one place, the same each time."""
    warnings.warn("take care", RuntimeWarning, stacklevel=1)
    return item


def task_here(_: object = None) -> Any:
    """What `current_task` says."""
    return current_task()


def say_and_die_at(item: int, fate: Fate, at: int) -> int:
    """Say something on all ways, and at one item end the process."""
    if item == at:
        print("printed before the end")  # noqa: T201 - tried
        print("complained before the end", file=sys.stderr)  # noqa: T201 - tried
        fate.strike()
    return item


class Block:
    """Bytes that travel beside a pickle, as those of an array; a file has a line for each process that rebuilds it."""

    def __init__(self, data: Any, path: str) -> None:
        self.data, self._path = memoryview(data), path
        _blocks.add(self)

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return _rebuilt, (PickleBuffer(self.data), self._path)


_blocks: WeakSet[Block] = WeakSet()


def _rebuilt(data: Any, path: str) -> Block:
    mark(path, f"{socket.gethostname()} {os.getpid()}")
    return Block(data, path)


def blocks(_: Any = None) -> int:
    """How many of these there are in this process."""
    gc.collect()
    return len(_blocks)


def byte_of(at: int, block: Block) -> int:
    """One of its bytes."""
    return int(block.data[at])


def byte_beyond(at: int, block: Block, door: Door) -> int:
    """The same, once the door is open."""
    door.wait()
    return byte_of(at, block)


def overwritten(block: Block) -> bool:
    """Whether it can be written to."""
    try:
        block.data[0] = 9
    except TypeError:
        return False
    return True


def bytes_by_pool(held: list[Any]) -> tuple[list[int], list[int]]:
    """What tasks of a pool of its own get, from a handle and from the object itself."""
    from anypool import get_pool

    (shared,) = held
    with get_pool("thread:1") as pool:
        return pool.map(byte_of, [1, 2], [shared] * 2), pool.map(byte_of, [1, 2], [shared.value] * 2)


def tick_given(item: int, bar: Any) -> int:
    """Tick a bar of the caller as often as the item says."""
    for _ in range(item):
        bar.update()
    return item


def tick_own(item: int) -> int:
    """Tick a bar of the task's own that often; at a negative number once, and raise."""
    with progress(abs(item), f"item {item}") as bar:
        for _ in range(item):
            bar.update()
        if item < 0:
            bar.update()
            raise ValueError(item)
    return item


def tick_dropped(item: int) -> int:
    """The same without ending it."""
    bar = progress(item, f"item {item}")
    bar.update(item)
    return item


def tick_and_die_at(item: int, fate: Fate, at: int) -> int:
    """Tick a bar, and at one item, at its first try, end the process in the middle of it."""
    bar = progress(2, f"item {item}")
    bar.update()
    if item == at and not fate.deaths:
        # For so long that it is sent.
        time.sleep(0.15)
        bar.update()
        fate.strike()
    return item


def map_within(item: int) -> int:
    """Map over that many items, with progress."""
    from anypool import get_pool

    with get_pool() as pool:
        return sum(pool.map(abs, range(item), progress=True))
