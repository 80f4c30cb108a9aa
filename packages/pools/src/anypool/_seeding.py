"""Random numbers that depend on a map's seed and the item's index alone, wherever and whenever the item runs."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

from anypool._imported import Finder

__all__: list[str] = []

_LEGACY = "numpy.random"


class _Item:
    """The stream of the item that runs: its key, and the generator once somebody has asked for it."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.generator: random.Random | None = None


_item: ContextVar[_Item | None] = ContextVar("anypool_item", default=None)


def rng() -> random.Random:
    """The random numbers of the item that runs: in a map with `seed=` its own stream, the same on every launcher.

    All calls by one item give one generator. Elsewhere each call gives a fresh one, seeded by the system.
    `numpy.random.default_rng(anypool.rng().getrandbits(128))` makes numpy's of it.
    """
    item = _item.get()
    if item is None:
        return random.Random()  # noqa: S311 - for simulations, not for secrets
    if item.generator is None:
        item.generator = random.Random(_derived(item.key, b"rng"))  # noqa: S311 - the same
    return item.generator


class Seeding:
    """What a map with `seed=` sends along with its function, which then gets each item's index as first argument.

    A seeded map in a task of a seeded map has streams of its own in each. The state that all of a process shares,
    `random`'s and numpy's, is the item's meanwhile if it runs in the main thread; others might be drawing from it too.
    """

    def __init__(self, seed: int) -> None:
        outer = _item.get()
        self._key = _derived(b"" if outer is None else outer.key, b"%d" % seed)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is called with an index and the item."""

        def seeded(index: int, /, *args: Any, **kwargs: Any) -> Any:
            key = _derived(self._key, b"%d" % index)
            token = _item.set(_Item(key))
            try:
                if threading.current_thread() is not threading.main_thread():
                    return function(*args, **kwargs)
                with _standard(_derived(key, b"random")), _numpy(_derived(key, b"numpy")):
                    return function(*args, **kwargs)
            finally:
                _item.reset(token)

        return seeded


def _derived(key: bytes, name: bytes) -> bytes:
    return blake2b(name, key=key, digest_size=32).digest()


@contextmanager
def _standard(key: bytes) -> Iterator[None]:
    state = random.getstate()
    random.seed(key)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _numpy(key: bytes) -> Iterator[None]:
    legacy = sys.modules.get(_LEGACY)
    if legacy is None:
        finder = Finder(_LEGACY, lambda module: _seed_numpy(module, key))
        finder.begin()
        try:
            yield
        finally:
            finder.end()
        if (legacy := sys.modules.get(_LEGACY)) is not None:
            legacy.seed()
        return
    state = legacy.get_state()
    _seed_numpy(legacy, key)
    try:
        yield
    finally:
        legacy.set_state(state)


def _seed_numpy(legacy: Any, key: bytes) -> None:
    legacy.seed([int.from_bytes(key[at : at + 4], "little") for at in range(0, len(key), 4)])
