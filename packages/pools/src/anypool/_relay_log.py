"""A worker's side of log records: made where its caller's levels want them, and handed to the caller."""

from __future__ import annotations

import logging
from _pickle import dumps
from typing import Any

from anypool._relay import LOG, tell

__all__: list[str] = []

_text = logging.Formatter("%(levelname)s:%(name)s:%(message)s")
# Loggers whose level is the caller's, with their own.
_levels: dict[str, int] = {}


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
                logger.filters.clear()
                logger.propagate, logger.disabled = True, False
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
    # By the standard one, which makes no copies of what is open.
    return dumps(obj, 5)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, bytes, type(None))) else repr(value)


def set_levels(root: int, disabled: int, levels: dict[str, int]) -> None:
    """Have the caller's levels, and those that loggers had here where the caller has none."""
    logging.root.setLevel(root)
    logging.disable(disabled)
    for name in _levels.keys() - levels.keys():
        logging.getLogger(name).setLevel(_levels.pop(name))
    for name, level in levels.items():
        logger = logging.getLogger(name)
        _levels.setdefault(name, logger.level)
        logger.setLevel(level)
