"""The part of a crew that serialises what it is given, where nothing is shared with who unpacks it but a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anypool._chunk import Body, Calling, Mode
from anypool._context import Scope
from anypool._packing import Parcel, named_body, pack, pack_arguments, pack_body

__all__: list[str] = []


class Packs:
    """Makes parcels, all of them inline."""

    scope: Scope | None

    def body(self, calling: Calling) -> Body:
        """Serialise what is called; `Unserializable` names the path from f."""
        return pack_body(calling)

    def pack(self, payload: Any, most: int) -> tuple[Parcel | None, int]:
        """Serialise items."""
        return pack(payload, most)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """Serialise one call, as far as the lane of calls does not do it."""
        body = (named_body(f) if self.scope is None else None) or self.body(Calling(f, scope=self.scope))
        mode, payload, size = pack_arguments(args, kwargs)
        return body, mode, payload, size
