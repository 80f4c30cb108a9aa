"""Workers and agents that are replaced while something else goes wrong."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import anypool._channel
import anypool._line
from anypool import LauncherUnavailable, WorkerLost, get_pool
from anypool._agents import open_control
from anypool._calls import Calls
from anypool._channel import Channel
from anypool._channels import ProcessCrew
from anypool._chunk import Chunk, Job
from anypool._crew import Event, Failed, Lost, Ready, Replied
from anypool._line import Setting
from anypool._packing import pack_plain
from anypool._slot import Flight
from anypool._wire import Buffer, Decoder, Kind, Message

LIMIT = 20.0


def wait_until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


@contextmanager
def crew_of(workers: int) -> Iterator[ProcessCrew]:
    crew = ProcessCrew(workers, Setting())
    crew.start(lambda events: None)
    try:
        yield crew
    finally:
        crew.close()


def await_event(crew: ProcessCrew, kind: type[Event]) -> list[Event]:
    """All events up to the first one of this kind."""
    events: list[Event] = []
    limit = time.monotonic() + LIMIT
    while not any(isinstance(event, kind) for event in events):
        assert time.monotonic() < limit
        events += crew.poll(0.1)
    return events


def agent_above(worker: int | None) -> int:
    stat = Path(f"/proc/{worker}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[1])


def await_gate(begun: Path, gate: Path) -> str:
    begun.touch()
    limit = time.monotonic() + LIMIT
    while not gate.exists():
        assert time.monotonic() < limit
        time.sleep(0.001)
    return "done"


def refuse(monkeypatch: pytest.MonkeyPatch, times: float) -> list[LauncherUnavailable]:
    """Have so many attempts to reach an agent fail; the failures."""
    failures: list[LauncherUnavailable] = []

    def reluctant(*args, **kwargs):
        if len(failures) < times:
            failures.append(LauncherUnavailable("its agent can't be started: Resource temporarily unavailable"))
            raise failures[-1]
        return open_control(*args, **kwargs)

    monkeypatch.setattr(anypool._line, "open_control", reluctant)
    return failures


def test_what_a_lost_agents_workers_had_runs_again_though_the_next_agent_can_not_be_started_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    with get_pool("process:1") as pool:
        result = pool.submit(await_gate, begun, gate)
        wait_until(begun.exists)
        failures = refuse(monkeypatch, 2)
        os.kill(agent_above(pool.workers()[0].pid), signal.SIGKILL)
        wait_until(lambda: len(failures) == 2)
        gate.touch()
        assert result.result(LIMIT) == "done"


def test_an_agent_that_can_never_be_started_again_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with crew_of(1) as crew:
        await_event(crew, Ready)
        failures = refuse(monkeypatch, float("inf"))
        os.kill(agent_above(crew.identify(0)[2]), signal.SIGKILL)
        told = await_event(crew, Failed)[-1]
        assert isinstance(told, Failed)
        assert isinstance(told.error, WorkerLost)
        assert "Resource temporarily unavailable" in str(told.error)
        assert told.error.__cause__ is failures[-1]


def test_a_worker_that_is_killed_before_its_turn_to_be_started_is_lost_and_replaced() -> None:
    with crew_of(1) as crew:
        for _ in range(2):
            crew.kill(0)
            await_event(crew, Lost)
            crew.renew(0)
        assert crew._channels[0].theirs  # Its descriptors have not left for the agent.
        crew.kill(0)
        lost = await_event(crew, Lost)[-1]
        assert isinstance(lost, Lost)
        assert not lost.cause.own
        crew.renew(0)
        await_event(crew, Ready)


def test_calls_that_are_killed_one_after_the_other_leave_a_worker_for_the_next() -> None:
    with get_pool("process:1") as pool:
        for _ in range(4):
            result = pool.submit(time.sleep, LIMIT)
            wait_until(result.running)
            assert result.kill()
        assert pool.submit(abs, -1).result(LIMIT) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_whose_initializer_raised_runs_nothing_and_what_waited_for_it_fails_with_that(
    workers: int, tmp_path: Path
) -> None:
    def refuse_licence():
        raise ValueError("no licence")

    with get_pool(f"process:{workers}", initializer=refuse_licence) as pool:
        results = [pool.submit((tmp_path / str(number)).touch) for number in range(4)]
        errors = [result.exception(LIMIT) for result in results]
    assert ["no licence" in str(error) for error in errors] == [True] * 4
    assert not list(tmp_path.iterdir())


def test_a_worker_may_be_stopped_by_another_thread_while_its_greeting_is_being_read() -> None:
    stopped: list[Channel] = []

    class Stopping(dict[int, Channel]):
        def get(self, fd, default=None):
            channel = super().get(fd, default)
            if channel is not None and channel.slot == 1 and not stopped:
                stopped.append(channel)
                thread = threading.Thread(target=crew.stop, args=(1,))
                thread.start()
                thread.join(LIMIT)
            return channel

    with crew_of(2) as crew:
        crew._by_fd = Stopping(crew._by_fd)
        limit = time.monotonic() + LIMIT
        greeted: list[Event] = []
        while not (stopped and Ready(0) in greeted):
            assert time.monotonic() < limit
            greeted += crew.poll(0.1)
        assert stopped[0].reader == stopped[0].writer == -1


def test_a_worker_that_is_stopped_while_nobody_polls_ends_at_once() -> None:
    with crew_of(1) as crew:
        await_event(crew, Ready)
        pid = crew.identify(0)[2]
        crew.stop(0)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())


def queued_call(crew: ProcessCrew, seq: int) -> Flight:
    body, mode, payload, size = crew.pack_call(abs, (-seq,), {})
    flight = Flight(Chunk(Job(0, mode, body), Calls(), 0, 1, pack_plain([payload]), size=size), seq, time.monotonic())
    flight.queued = True
    return flight


def test_a_chunk_that_could_not_be_written_leaves_no_claim_that_the_next_one_is_skipped_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(message: Message) -> list[Buffer]:
        raise MemoryError

    with crew_of(1) as crew:
        await_event(crew, Ready)
        with monkeypatch.context() as patch:
            patch.setattr(anypool._channel, "encode", failing)
            with pytest.raises(MemoryError):
                crew.send(0, queued_call(crew, 1))
        crew.send(0, queued_call(crew, 2))
        replied = await_event(crew, Replied)[-1]
        assert isinstance(replied, Replied)
        assert (replied.seq, replied.outcomes.decode()[0]) == (2, [2])


def test_a_chunk_goes_without_a_claim_when_the_pipe_of_claims_is_full() -> None:
    channel = Channel(0, 1)
    try:
        with suppress(BlockingIOError):
            while True:
                os.write(channel.claims_write, bytes(8))
        assert not channel.write(Message(Kind.RUN, seq=7), claim=True)
        (message,) = Decoder().feed(os.read(channel.theirs[0], 1 << 16))
        assert (message.seq, message.flags) == (7, 0)
    finally:
        channel.close()


def test_a_slot_whose_next_worker_finds_no_descriptors_can_be_stopped_and_takes_nothing_silently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*args):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with crew_of(2) as crew:
        while not crew.identify(0)[2]:
            await_event(crew, Ready)
        os.kill(crew.identify(0)[2], signal.SIGKILL)
        await_event(crew, Lost)
        with monkeypatch.context() as patch:
            patch.setattr(Channel, "_open", exhausted)
            with pytest.raises(LauncherUnavailable, match="ulimit -n"):
                crew.renew(0)
        with pytest.raises(WorkerLost):
            crew.send(0, queued_call(crew, 1))
        crew.stop(0)
        assert crew.recall(0) == []
        (added,) = crew.resize(2)
        crew.send(added, queued_call(crew, 2))
        assert [event.slot for event in await_event(crew, Replied) if isinstance(event, Replied)] == [added]


def test_a_closed_channel_refuses_what_is_written_to_it() -> None:
    channel = Channel(0, 1)
    channel.close()
    with pytest.raises(WorkerLost):
        channel.write(Message(Kind.DROP))
