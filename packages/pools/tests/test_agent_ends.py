"""What becomes of agent and workers when one of them, or their owner, ends, forks or can't start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from owner import (  # type: ignore[import-not-found]
    HERE,
    HOLD,
    Owner,
    owning,
    runs,
    wait_until,
)

from anypool import _agents, _control, _hearing, get_pool
from anypool._agents import open_control
from anypool._control import AgentLost
from anypool._errors import LauncherUnavailable
from anypool._wire import Kind

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    def start(code: str) -> subprocess.Popen[str]:
        file = tmp_path / "script.py"
        file.write_text(f"import sys; sys.path.insert(0, {str(HERE)!r})\n{textwrap.dedent(code)}")
        return subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True)

    return start


def links() -> list[str]:
    """What this process' descriptors are."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def first_line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_the_agents_death_ends_its_workers_and_another_one_starts() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.ask("tell(1)")
        worker = owner.pid_of(line)
        line.do(HOLD)
        os.kill(owner.agent(), signal.SIGKILL)
        with pytest.raises(AgentLost):
            owner.until(Kind.DIED)
        assert wait_until(lambda: not runs(worker)) < 3
        with owning() as after:
            assert after.spawn().ask("tell(1)") == "1"
        owner.control.close()


OWNER = """
    import json, os, time
    from owner import Owner
    owner = Owner()
    lines = [owner.spawn(slot) for slot in range(3)]
    for line in lines:
        line.ask("tell(1)")
    lines[0].do({hold!r})
    lines[1].do("import subprocess")
    lines[1].ask("child = subprocess.Popen(['sleep', '600'], start_new_session=True); tell(1)")
    lines[1].do("time.sleep(600)")
    {more}
    pids = [owner.agent(), *map(owner.pid_of, lines), int(lines[2].ask("tell(os.getpid())"))]
    helper = int(open(f"/proc/{{lines[1].pid}}/task/{{lines[1].pid}}/children").read())
    print(json.dumps([*pids, helper]), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_owners_death_ends_everything(script: Callable[[str], subprocess.Popen[str]], number: int) -> None:
    with script(OWNER.format(hold=HOLD, more="")) as process:
        pids = first_line(process)
        assert all(map(runs, pids))
        process.send_signal(number)
        assert wait_until(lambda: not any(map(runs, pids))) < 3


def test_a_forked_child_of_the_owner_does_not_keep_its_workers_alive(
    script: Callable[[str], subprocess.Popen[str]],
) -> None:
    # The fork is made past Python, so that nothing gets a chance to close the descriptors.
    more = "import ctypes\n    forked = ctypes.PyDLL(None).fork()\n    if not forked: time.sleep(6); os._exit(0)"
    with script(OWNER.format(hold=HOLD, more=more)) as process:
        pids = first_line(process)
        process.kill()
        assert wait_until(lambda: not any(map(runs, pids))) < 3


def test_after_a_fork_of_the_owner_the_child_has_nothing_and_may_start_its_own() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.ask("tell(1)")
        agent = owner.agent()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert owner.control.fileno() == -1
                assert not [link for link in links() if "pidfd" in link or "anypool" in link]
                mine = Owner()
                assert mine.agent() != agent
                assert mine.spawn().ask("tell(1)") == "1"
                mine.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert line.ask("tell('alive')") == "alive"


def test_ignored_sigchld_disturbs_nothing() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with owning() as owner:
            assert owner.spawn().ask("tell(1)") == "1"
            agent = owner.agent()
        assert not runs(agent)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_agent_that_cannot_start_says_why() -> None:
    owner = Owner(entry="no_such_module")
    with pytest.raises(LauncherUnavailable, match=r"(?s)exit code 1.*no_such_module"):
        owner.until(Kind.WELCOME)
    owner.control.close()


def test_an_interpreter_that_cannot_start_is_launcher_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(LauncherUnavailable, match="No such file"):
        open_control()


def test_too_few_descriptors_to_start_is_launcher_unavailable() -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    reasons = []
    for spare in range(-2, 8):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, limits[1]))
        try:
            open_control(entry="agent_stub").close()
        except LauncherUnavailable as error:
            reasons.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert reasons
    assert all("Too many open files" in reason for reason in reasons)


def test_a_line_that_an_interrupt_tore_is_lost_not_misread(monkeypatch: pytest.MonkeyPatch) -> None:
    with owning() as owner:
        owner.agent()

        def interrupt(data: bytes) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(owner.control._decoder, "feed", interrupt, raising=False)
            owner.spawn()
            with pytest.raises(KeyboardInterrupt):
                owner.until(Kind.SLOTS)
        with pytest.raises(AgentLost, match="tore"):
            owner.until(Kind.SLOTS)
        owner.control.close()


def test_an_agent_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(silent))
    monkeypatch.setattr(_control, "START_LIMIT", 0.3)
    monkeypatch.setattr(_agents, "_END_LIMIT", 0.3)
    owner = Owner(entry="silent")
    with pytest.raises(LauncherUnavailable, match="gave no answer"):
        owner.until(Kind.WELCOME)
    owner.control.close()


def test_a_pool_whose_agent_does_nothing_says_so_or_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_control, _hearing):
        monkeypatch.setattr(module, "START_LIMIT", 0.5)
    monkeypatch.setattr(_agents, "_END_LIMIT", 0.3)
    with get_pool("process:1") as first:
        assert first.map(abs, [-1]) == [1]
        (agent,) = _agents._agents.values()
        os.kill(agent.pid, signal.SIGSTOP)
        with get_pool("process:1") as second:
            assert second.map(abs, [-2]) == [2]
        os.kill(agent.pid, signal.SIGCONT)
        assert first.map(abs, [-3]) == [3]


def test_a_pool_whose_agent_never_starts_is_launcher_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    for module in (_control, _hearing):
        monkeypatch.setattr(module, "START_LIMIT", 0.3)
    monkeypatch.setattr(_agents, "_END_LIMIT", 0.3)
    monkeypatch.setattr(sys, "executable", str(silent))
    pool = get_pool("process:2")
    with pytest.raises(LauncherUnavailable, match="gave no answer"):
        pool.map(abs, [1])
    pool.terminate()
