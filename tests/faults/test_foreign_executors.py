"""Executors that fail in ways the library's own never do: everything has an outcome, and runs once at a time."""

from __future__ import annotations

import threading

import pytest

from anypool._aside import Aside


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), OSError("gone")], ids=repr)
def test_what_is_done_aside_goes_on_after_an_action_that_raises(raised: BaseException, caplog) -> None:
    def leave() -> None:
        raise raised

    aside, done = Aside(), threading.Event()
    aside.call(leave)
    aside.call(done.set)
    assert done.wait(10)
    aside.end(10)
    assert repr(raised) in repr([record.exc_info for record in caplog.records])
