"""The markers of plugins; what they mark is in `anypool.hookspecs`."""

from __future__ import annotations

import pluggy

__all__: list[str] = []

PROJECT = "anypool"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
