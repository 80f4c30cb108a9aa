"""A worker's side of warnings: made as its caller's filters want them, and handed to the caller."""

from __future__ import annotations

import sys
import warnings

from anypool._wire import IN_BAND
from anypool_serialize import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

__all__: list[str] = []

# Filters that are the caller's; all that the caller has; and modules, not imported here, of whose warnings some are.
_filters: list[Any] = []
_wanted: list[Any] = []
_modules: set[str] = set()
_NEW: tuple[int, int, dict[str, int], tuple[Any, ...]] = (30, 0, {}, ())


def warned(message: Warning, category: type[Warning], filename: str, lineno: int) -> tuple[str, bytes]:
    """A warning as text, and as what the caller issues; where once is enough, with the module that is to keep count."""
    text = warnings.formatwarning(message, category, filename, lineno, "")
    module = _counting(message, category, filename, lineno)
    try:
        return text, _pickled((message, category, filename, lineno, module))
    except Exception:  # noqa: BLE001 - a class of the user's
        return text, _pickled((UserWarning(f"{category.__name__}: {message}"), UserWarning, filename, lineno, module))


def _counting(message: Warning, category: type[Warning], filename: str, lineno: int) -> str | None:
    """The module that warns, if the filter that let it through does so once: that has left a mark there by then."""
    keys = ((str(message), category, lineno), (str(message), category, 0), (str(message), category))
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - `inspect` takes 20 ms to import
    while frame is not None:
        if frame.f_code.co_filename == filename and frame.f_lineno == lineno:
            marks = frame.f_globals.get("__warningregistry__", {})
            once = any(marks.get(key) for key in keys) or keys[2] in warnings.onceregistry  # type: ignore[attr-defined]
            return str(frame.f_globals.get("__name__")) if once else None
        frame = frame.f_back
    return None


def listen(packed: bytes | None) -> None:
    """Have what the caller's settings let through be made here, and no other; None for those of a new interpreter."""
    root, disabled, levels, filters = loads(packed)[1:] if packed is not None else _NEW
    if (root, disabled, levels) != _NEW[:3] or "logging" in sys.modules:
        # By itself, for what is done once it is there has to find the other one whole.
        __import__("logging")
        __import__("anypool._relay_log", fromlist=["set_levels"]).set_levels(root, disabled, levels)
    _wanted[:] = filters
    _filter()


def catch_up() -> None:
    """Have filters hold for the warnings of modules that have been imported meanwhile."""
    if _modules and any(name in sys.modules for name in [*_modules]):
        _filter()


def _filter() -> None:
    own = [each for each in warnings.filters if each not in _filters]
    _modules.clear()
    # By what says so to the interpreter too, which keeps in mind what it has shown.
    warnings.resetwarnings()
    for action, message, category, module, lineno in _wanted:
        if (known := _category(category)) is not None:
            warnings.filterwarnings(action, message or "", known, module or "", lineno, append=True)
    _filters[:] = warnings.filters
    warnings.filters.extend(each for each in own if each not in _filters)  # type: ignore[attr-defined]


def _category(category: Any) -> Any:
    """The class, also of one that is named; None as long as nobody here can warn of that."""
    if not isinstance(category, str):
        return category
    module, _, name = category.partition(":")
    if module not in sys.modules:
        _modules.add(module)
        return None
    return getattr(sys.modules[module], name, None)


def _pickled(obj: object) -> bytes:
    return bytes(dumps(obj, oob=IN_BAND).header)
