"""Pools under the names that users of other libraries bring along."""

from __future__ import annotations

from typing import Any

from anypool._pool import Pool
from anypool._select import get_pool

__all__: list[str] = []

_SIZES = ("nodes", "ncpus", "processes", "nthreads", "workers")


def _workers(name: str, size: int | None, more: tuple[object, ...], given: dict[str, Any]) -> dict[str, Any]:
    """The size, however it was spelt: first argument, `nodes`, `ncpus`, `processes`, `nthreads` or `workers`."""
    if more:
        raise TypeError(f"{name}() takes its size alone by position; give initializer= and initargs= by name")
    options = dict(given)
    sizes: dict[str, int | None] = {spelt: options.pop(spelt) for spelt in _SIZES if spelt in options}
    if size is not None:
        sizes["first argument"] = size
    if len(sizes) > 1:
        raise TypeError(f"{name}() got its size more than once: {', '.join(sizes)}")
    if "maxtasksperchild" in options:
        options["max_tasks_per_worker"] = options.pop("maxtasksperchild")
    return {**options, "workers": next(iter(sizes.values()), None)}


def ProcessPool(nodes: int | None = None, /, *more: object, **options: Any) -> Pool:  # noqa: N802 - the name users know
    """`get_pool("process")`; its size may be called `nodes`, `ncpus` or `processes`.

    Each call makes a pool of its own: two pools never share workers. `maxtasksperchild` is `max_tasks_per_worker`.
    """
    return get_pool("process", **_workers("ProcessPool", nodes, more, options))


def ThreadPool(nodes: int | None = None, /, *more: object, **options: Any) -> Pool:  # noqa: N802 - the name users know
    """`get_pool("thread")`; its size may be called `nodes`, `ncpus`, `nthreads` or `processes`."""
    return get_pool("thread", **_workers("ThreadPool", nodes, more, options))


def SerialPool(nodes: int | None = None, /, *more: object, **options: Any) -> Pool:  # noqa: N802 - the name users know
    """`get_pool("serial")`; it has one worker, the caller, whatever size is given."""
    return get_pool("serial", **_workers("SerialPool", nodes, more, options))
