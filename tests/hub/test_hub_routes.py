"""What the owner makes of what a hub says late, of workers that are not there any more, and of slots that come back."""

from __future__ import annotations

import pytest
from hub_rig import HUB_CRASH  # type: ignore[import-not-found]

from anypool._crew import Gained, Lost, Ready
from anypool._routes import Routes
from anypool._slot import Cause
from anypool._wire import Kind, Message, control, dropped


def greeted(routes: Routes, slot: int) -> None:
    place = routes.places[slot]
    routes.hear(place.hub, stamped(control(Kind.HELLO, place.wire, name="w", host="h", pid=7), place.incarnation))


def stamped(message: Message, incarnation: int) -> Message:
    message.attempt = incarnation
    return message


def died(wire: int, incarnation: int) -> Message:
    return stamped(control(Kind.DIED, wire, **Cause("gone")._asdict()), incarnation)


@pytest.fixture
def routes() -> Routes:
    made = Routes(2, "process", "process")
    for at in range(4):
        made.add(at % 2)
    for slot in range(4):
        greeted(made, slot)
    return made


def test_the_death_of_a_worker_that_was_replaced_meanwhile_is_no_news(routes):
    routes.renew(2)
    assert routes.hear(0, died(1, 0)) == []
    assert [type(event) for event in routes.hear(0, died(1, 1))] == [Lost]


def test_a_greeting_of_a_worker_that_was_replaced_meanwhile_is_no_news(routes):
    routes.renew(2)
    late = stamped(control(Kind.HELLO, 1, name="w", host="h", pid=7), 0)
    assert routes.hear(0, late) == []
    assert routes.hear(0, stamped(late, 1)) == [Ready(2)]


def test_a_worker_dies_once(routes):
    assert len(routes.hear(0, died(1, 0))) == 1
    assert routes.hear(0, died(1, 0)) == []


def test_a_slot_that_was_away_is_gained_when_it_is_back(routes):
    away = stamped(control(Kind.DIED, 1, **Cause("away", own=False)._asdict()), 0)
    assert routes.hear(0, away) == [Lost(2, Cause("away", own=False))]
    assert routes.hear(0, control(Kind.SLOTS, 1)) == [Gained(2)]


def test_a_slot_that_was_away_is_gained_with_the_next_hub(routes):
    routes.hear(0, stamped(control(Kind.DIED, 1, **Cause("away", own=False)._asdict()), 0))
    lost = routes.hub_lost(0, HUB_CRASH)
    assert [event.slot for event in lost] == [0]
    routes.restart(0)
    assert routes.hear(0, control(Kind.HELLO, 1, name="w", host="h", pid=7)) == [Gained(2), Ready(2)]


def test_what_a_hub_says_of_slots_that_are_gone_is_no_news(routes):
    routes.remove(2)
    for message in (died(1, 0), dropped(1, [3]), Message(Kind.NEED, slot=1, seq=3)):
        assert routes.hear(0, message) == []
