"""Act on a module right after somebody has imported it, where to import it only for that would cost who never does."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__: list[str] = []


class Finder:
    """Has `act(module)` called once when a module of this name is imported, from `begin` until `end`."""

    def __init__(self, name: str, act: Callable[[Any], object]) -> None:
        self._name, self._act = name, act

    def begin(self) -> None:
        """Before all other finders, for the first to find a module is the only one that is asked."""
        sys.meta_path.insert(0, self)

    def end(self) -> None:
        """Do nothing any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As the others find it, but with a loader that acts when it is done."""
        if name != self._name:
            return None
        self.end()
        # Not by `importlib.util`, which takes longer to import than all of this.
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        spec: Any = next((each for each in found if each is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute, act = spec.loader.exec_module, self._act

        def execute_and_act(module: Any) -> None:
            execute(module)
            act(module)

        spec.loader.exec_module = execute_and_act
        return spec
