"""Where a map may run, by the tags of workers."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from typing import TYPE_CHECKING

__all__: list[str] = []

# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class _Place(NamedTuple):
        needs: frozenset[str] = frozenset()
        tags: frozenset[str] = frozenset()

else:
    _Place = namedtuple("_Place", ("needs", "tags"), defaults=(frozenset(), frozenset()))


class Place(_Place):
    """Workers that have all of the tags `needs`, and one of `tags` if there are any."""

    __slots__ = ()

    def takes(self, offered: frozenset[str]) -> bool:
        """Whether workers with these tags are meant."""
        return self.needs <= offered and not (self.tags and self.tags.isdisjoint(offered))

    def __str__(self) -> str:
        asked = (("needs", self.needs), ("tags", self.tags))
        return ", ".join(f"{name}={listed(tags)}" for name, tags in asked if tags)


def listed(tags: Iterable[str]) -> str:
    """Tags as one reads them."""
    return ", ".join(map(repr, sorted(tags)))
