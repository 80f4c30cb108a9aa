"""The calls that only Linux has."""

from __future__ import annotations

import os
import select

import pytest

from anypool import _linux


def readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


def test_an_event_is_readable_from_set_to_clear_however_often_it_was_set():
    event = _linux.new_event()
    try:
        assert not readable(event)
        _linux.set_event(event)
        _linux.set_event(event)
        assert readable(event)
        _linux.clear_event(event)
        assert not readable(event)
        with pytest.raises(BlockingIOError):
            _linux.clear_event(event)
    finally:
        os.close(event)
