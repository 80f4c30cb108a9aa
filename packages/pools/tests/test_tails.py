"""The page on which a task's last lines survive its worker."""

from __future__ import annotations

import os
import tempfile

import pytest

from anypool import _tails
from anypool._relay import ERR, OUT, TICK, WARNING
from anypool._tails import NOWHERE, PLACE, Saying, Tails, page_of


@pytest.fixture
def tails(monkeypatch: pytest.MonkeyPatch) -> Tails:
    monkeypatch.setattr(_tails, "_known", (NOWHERE, None))
    return Tails()


def said(tails: Tails, number: int) -> Saying:
    return Saying(tails.place, number)


def test_what_was_said_last_is_found_by_its_number(tails: Tails) -> None:
    for number in (1, 2, 1 << 40):
        saying = said(tails, number)
        saying.append((OUT, 0, b"printed %d\n" % number))
        saying.append((TICK, 0, "no line of it"))
        saying.append((WARNING, 0, ("warned\n\n", b"its pickle")))
        saying.append((ERR, None, b"complained"))
        assert [kind for kind, _, _ in saying] == [OUT, TICK, WARNING, ERR]
    for number in (1, 2, 1 << 40):
        assert tails.last(number) == f"printed {number}\nwarned\ncomplained"


def test_of_much_only_the_end_is_kept(tails: Tails) -> None:
    saying = said(tails, 7)
    for line in range(2000):
        saying.append((OUT, 0, b"line %d\n" % line))
    saying.append((OUT, 0, b"x" * 3000))
    last = tails.last(7)
    assert 3900 < len(last) <= 4096
    assert last.endswith("line 1999\n" + "x" * 3000)
    saying.append((OUT, 0, b"y" * 10_000))
    assert set(tails.last(7)) == {"y"}


def test_nothing_is_found_where_nothing_or_another_one_has_said_anything(tails: Tails) -> None:
    assert tails.last(3) == ""
    said(tails, 3).append((OUT, 0, b"three"))
    assert tails.last(3 + 256) == ""
    said(tails, 3 + 256).append((OUT, 0, b"later"))
    assert (tails.last(3), tails.last(3 + 256)) == ("", "later")


def test_what_was_handed_in_is_no_last_line(tails: Tails) -> None:
    saying = said(tails, page_of(2, 5))
    saying.append((OUT, 0, b"done with"))
    saying.handed_in()
    assert tails.last(page_of(2, 5)) == ""
    said(tails, 1).handed_in()


def test_what_is_in_the_place_of_a_segment_is_not_written_to(tails: Tails) -> None:
    with tempfile.TemporaryFile() as file:
        pid, fd, key = PLACE.unpack(tails.place)
        for place in (
            PLACE.pack(pid, file.fileno(), key),
            PLACE.pack(pid, fd, bytes(16)),
            PLACE.pack(1 << 30, fd, key),
            NOWHERE,
        ):
            saying = Saying(place, 1)
            saying.append((OUT, 0, b"for nobody"))
            assert [*saying] == [(OUT, 0, b"for nobody")]
        assert file.seek(0, os.SEEK_END) == 0
    assert tails.last(1) == ""


def test_what_is_closed_is_made_no_more(tails: Tails) -> None:
    said(tails, 1).append((OUT, 0, b"x"))
    before = len(os.listdir("/proc/self/fd"))
    tails.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    assert (tails.place, tails.last(1)) == (NOWHERE, "")


def test_without_segments_nothing_is_kept(tails: Tails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    without = Tails()
    assert without.place == NOWHERE
    said(without, 1).append((OUT, 0, b"for nobody"))
    assert without.last(1) == ""


def test_a_worker_keeps_no_more_than_the_last_that_it_has_opened(tails: Tails) -> None:
    assert tails.place != NOWHERE
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        other = Tails()
        said(other, number).append((OUT, 0, b"x"))
        assert other.last(number) == "x"
    del other
    assert len(os.listdir("/proc/self/fd")) == before + 1
    said(tails, 1).append((OUT, 0, b"x"))
    assert len(os.listdir("/proc/self/fd")) == before + 1
