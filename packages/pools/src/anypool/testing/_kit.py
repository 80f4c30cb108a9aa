"""The contract of a launcher as one class of tests."""

from __future__ import annotations

import inspect

import pytest

_THEMES = (
    "base",
    "remains",
    "recipes",
    "maps",
    "order",
    "results",
    "graphs",
    "errors",
    "limits",
    "profiles",
    "progressing",
    "output",
    "sharing",
    "life",
    "nesting",
    "faults",
    "reductions",
)
# Before they are imported, so that a failed assertion says what was there.
pytest.register_assert_rewrite(*(f"anypool.testing._{theme}" for theme in (*_THEMES, "claims")))

from anypool.testing._base import Kit  # noqa: E402
from anypool.testing._claims import Claims  # noqa: E402
from anypool.testing._errors import Errors  # noqa: E402
from anypool.testing._faults import Faults  # noqa: E402
from anypool.testing._graphs import Graphs  # noqa: E402
from anypool.testing._life import Life  # noqa: E402
from anypool.testing._limits import Limits  # noqa: E402
from anypool.testing._maps import Maps  # noqa: E402
from anypool.testing._nesting import Nesting  # noqa: E402
from anypool.testing._order import Order  # noqa: E402
from anypool.testing._output import Output  # noqa: E402
from anypool.testing._profiles import Profiles  # noqa: E402
from anypool.testing._progressing import Progressing  # noqa: E402
from anypool.testing._recipes import Recipes  # noqa: E402
from anypool.testing._reductions import Reductions  # noqa: E402
from anypool.testing._results import Results  # noqa: E402
from anypool.testing._sharing import Sharing  # noqa: E402

__all__: list[str] = []

# What a subclass is there to say.
_OPEN = {"launcher", "deviations", "limit"}


# pytest runs the tests of the last base first; those that may break an executor come last.
class LauncherTests(
    Claims,
    Faults,
    Life,
    Nesting,
    Sharing,
    Output,
    Progressing,
    Profiles,
    Limits,
    Graphs,
    Results,
    Errors,
    Reductions,
    Order,
    Maps,
    Recipes,
):
    """Runs the contract of a launcher: subclass it, and define a fixture `launcher` that returns what `get_pool` takes.

    No test may be overridden (`TypeError`). One that the launcher can't pass is named in `deviations` with the reason,
    and must then fail. What the launcher's traits say needs no naming. `limit`: seconds for one test. Workers have to
    see the folder of pytest's `tmp_path`.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        overridden = [name for name in _closed() if _static(cls, name) is not _static(LauncherTests, name)]
        if overridden:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(overridden)}; a test that the launcher can't pass is named in "
                "`deviations`, with the reason"
            )
        unknown = [name for name in cls.deviations if name not in behaviours()]
        if unknown:
            raise TypeError(f"{cls.__name__}: no test is called {', '.join(unknown)}, which `deviations` names")
        silent = [name for name, reason in cls.deviations.items() if not reason.strip()]
        if silent:
            raise TypeError(f"{cls.__name__}: `deviations` gives no reason for {', '.join(silent)}")


def _static(cls: type, name: str) -> object:
    return inspect.getattr_static(cls, name)


def _closed() -> list[str]:
    return [name for name in dir(LauncherTests) if not name.startswith("__") and name not in _OPEN]


def behaviours() -> list[str]:
    """The names of the tests, in the order in which they run."""
    kinds = [kind for kind in reversed(LauncherTests.__mro__) if issubclass(kind, Kit)]
    return [name for kind in kinds for name in vars(kind) if name.startswith("test_")]


LauncherTests.__module__ = "anypool.testing"
