"""What pytest collects for the command: the tests of the launcher that it was given."""

from __future__ import annotations

from typing import ClassVar

import pytest

from anypool.testing import LauncherTests, _lines

__all__: list[str] = []


class TestLauncher(LauncherTests):
    """The launcher that the command names."""

    deviations: ClassVar[dict[str, str]] = _lines.given.deviations

    @pytest.fixture
    def launcher(self) -> str:
        """Its name."""
        return _lines.given.name
