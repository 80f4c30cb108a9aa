"""Where shared objects enter: `Pool.share`, and what packs and sends looks here whether there are any.

A process that never shares pays one look for each chunk, and imports nothing of `_sharing`.
"""

from __future__ import annotations

# As in `_wire`: workers import this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import weakref
    from collections.abc import Callable
    from typing import Any, TypeVar

    from anypool._chunk import Mode
    from anypool._crew import Crew
    from anypool._launcher import Launcher
    from anypool._sharing import Shared

    T = TypeVar("T")

__all__: list[str] = []

# The module `_sharing`, once something was shared here or came here shared.
tools: Any = None


def by_reference(crew: Crew) -> bool:
    """Whether tasks get the caller's own objects."""
    return crew.runs_here or crew.keeps_context


def packing(crew: Crew, mode: Mode) -> Callable[[Any, int], tuple[Any, int]]:
    """The crew's `pack`, for payloads in which shared objects stand in their handles' places."""

    def pack(payload: Any, most: int) -> tuple[Any, int]:
        if tools is not None:
            payload = tools.opened(payload, mode, by_reference(crew))
        return crew.pack(payload, most)

    return pack


class Shares:
    """Who has objects that cross once per worker."""

    launcher: Launcher
    # The handles that it gave, as long as they live.
    _shared: weakref.WeakSet[Any] | None = None

    def share(self, obj: T) -> Shared[T]:
        """A handle of `obj` that stands for it wherever it is an argument by itself, and crosses once per worker.

        An item of a map, a value in `kwargs=`, an argument of `pipe` or `submit`: the function gets the object. Within
        something else (a list, what a function captures) it stays a handle, with `value`. Workers of this machine all
        look at one copy of its buffers, which are read-only; of the rest each has its own. On serial and thread it is
        the object itself, by reference. Otherwise it is serialised here, once: raises `Unserializable` with the path.

        It lives until the handle is dropped, `release()`, the end of a `with` block of it, or of this pool.
        """
        from weakref import WeakSet

        from anypool._sharing import share

        self._check_open()
        shared = share(obj, self.launcher, len(self))  # type: ignore[arg-type]
        if self._shared is None:
            self._shared = WeakSet()
        self._shared.add(shared)
        return shared

    def _release_shared(self) -> None:
        """The pool is over, unless it is only to have other workers."""
        for shared in list(self._shared or ()):
            shared.release()

    def _check_open(self) -> None:
        raise NotImplementedError
