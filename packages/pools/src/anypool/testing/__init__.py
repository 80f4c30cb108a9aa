"""The conformance kit: the contract of a launcher, as a pytest class (`LauncherTests`) and as a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypool.testing._kit import LauncherTests

__all__ = ["LauncherTests"]


def __getattr__(name: str) -> Any:
    # Workers import what they are to do from here, and need no pytest.
    if name != "LauncherTests":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from anypool.testing._kit import LauncherTests

    return LauncherTests
