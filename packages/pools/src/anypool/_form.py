"""The one form in which a mix sends what it is given, which the workers of all its groups take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anypool._buffers import Buffers
from anypool._chunk import Body, Calling, Mode
from anypool._context import Scope, context_with
from anypool._packing import inline, named_body, pack, pack_arguments, pack_body
from anypool._result import refuse

__all__: list[str] = []


class Form:
    """As it is, if all groups are threads; else serialised once.

    What is large is placed in segments of this process if there are workers which open them: those of channels do so,
    threads and executors get what is read from there.
    """

    def __init__(self, references: bool, segments: bool) -> None:
        self.references = references
        self._buffers = Buffers() if segments and not references else None
        self._place = self._buffers.place if self._buffers is not None else inline
        self._place_sealed = Buffers.place_sealed if self._buffers is not None else inline

    @property
    def inline(self) -> int:
        """Large buffers that found no place."""
        return self._buffers.inline if self._buffers is not None else 0

    def body(self, calling: Calling) -> Body:
        """What is called."""
        if self.references:
            return Body(calling, key=id(calling.function))
        return pack_body(calling, self._place_sealed)

    def pack(self, payload: Any, most: int) -> tuple[Any, int]:
        """Items, and their size in bytes."""
        return (payload, 0) if self.references else pack(payload, most, self._place)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], scope: Scope | None
    ) -> tuple[Body, Mode, Any, int]:
        """One call."""
        if self.references:
            # As in a crew of threads.
            refuse(args, kwargs)
            return self.body(Calling(f, scope=scope)), Mode.CALL, (args, kwargs, context_with(scope)), 0
        body = (named_body(f) if scope is None else None) or self.body(Calling(f, scope=scope))
        mode, payload, size = pack_arguments(args, kwargs, self._place)
        return body, mode, payload, size

    def close(self) -> None:
        """Give the segments back."""
        if self._buffers is not None:
            self._buffers.close()
