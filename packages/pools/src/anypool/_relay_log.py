"""A worker's side of log records and warnings: made as its caller's settings want them, and handed to the caller."""

from __future__ import annotations

import logging
import sys
import warnings
from types import FrameType
from typing import Any

from anypool._relay import LOG, tell
from anypool._wire import IN_BAND
from anypool_serialize import dumps, loads

__all__: list[str] = []

_text = logging.Formatter("%(levelname)s:%(name)s:%(message)s")
# Loggers whose level is the caller's, with their own; filters that are the caller's.
_levels: dict[str, int] = {}
_filters: list[Any] = []


class _Handler(logging.Handler):
    """Tells the caller; outside of tasks it is as if it were not there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            last = logging.lastResort if len(logging.root.handlers) == 1 else None
            if not tell(LOG, _packed(record)) and last is not None and record.levelno >= last.level:
                last.handle(record)
        except Exception:  # noqa: BLE001 - as all handlers do
            self.handleError(record)


def install(forked: bool) -> None:
    """Relay records; those handlers that a `forked` worker has are copies of its caller's, who will call its own."""
    if forked:
        for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
            if isinstance(logger, logging.Logger):
                logger.handlers.clear()
    if not any(isinstance(handler, _Handler) for handler in logging.root.handlers):
        logging.root.addHandler(_Handler())


def _packed(record: logging.LogRecord) -> tuple[str, bytes]:
    """Its text, for who has no use for more, and all of it but live objects that don't travel."""
    text = _text.format(record)
    fields = {**record.__dict__, "msg": record.getMessage(), "args": None, "exc_info": None}
    try:
        return text, _pickle(fields)
    except Exception:  # noqa: BLE001 - an `extra` of the user's
        return text, _pickle({name: _plain(value) for name, value in fields.items()})


def _pickle(obj: object) -> bytes:
    return bytes(dumps(obj, oob=IN_BAND).header)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, bytes, type(None))) else repr(value)


def warned(message: Warning, category: type[Warning], filename: str, lineno: int) -> tuple[str, bytes]:
    """A warning as text, and as what the caller issues; where once is enough, with the module that is to keep count."""
    text = warnings.formatwarning(message, category, filename, lineno, "")
    module = _counting(message, category, filename, lineno)
    try:
        return text, _pickle((message, category, filename, lineno, module))
    except Exception:  # noqa: BLE001 - a class of the user's
        return text, _pickle((UserWarning(f"{category.__name__}: {message}"), UserWarning, filename, lineno, module))


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
    _, root, disabled, levels, filters = loads(packed) if packed is not None else (0, logging.WARNING, 0, {}, ())
    logging.root.setLevel(root)
    logging.disable(disabled)
    for name in _levels.keys() - levels.keys():
        logging.getLogger(name).setLevel(_levels.pop(name))
    for name, level in levels.items():
        logger = logging.getLogger(name)
        _levels.setdefault(name, logger.level)
        logger.setLevel(level)
    _filter(filters)


def _filter(filters: tuple[tuple[Any, ...], ...]) -> None:
    own = [each for each in warnings.filters if each not in _filters]
    # By what says so to the interpreter too, which keeps in mind what it has shown.
    warnings.resetwarnings()
    for action, message, category, module, lineno in filters:
        warnings.filterwarnings(action, message or "", category, module or "", lineno, append=True)
    _filters[:] = warnings.filters
    warnings.filters.extend(each for each in own if each not in _filters)  # type: ignore[attr-defined]
