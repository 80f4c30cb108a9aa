"""What the agent does for its workers, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from owner import (  # type: ignore[import-not-found]
    HERE,
    owning,
    runs,
    wait_until,
)

from anypool._wire import Kind

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def settled(owner: Any) -> bool:
    """Whether the agent has what it imports once the first worker is there; costs a worker."""
    line = owner.spawn(99, len(owner.lines) + 1)
    line.do("import sys; tell({'dataclasses', 'logging'} <= sys.modules.keys())")
    return bool(line.answer() == "True")


def test_a_worker_runs_what_it_is_sent() -> None:
    with owning() as owner:
        line = owner.spawn()
        assert line.ask("tell(6 * 7)") == "42"
        assert line.ask("tell(os.getpid())") == str(owner.pid_of(line))


def test_a_worker_ends_when_its_task_pipe_does() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.ask("tell(1)")
        line.close()
        died = owner.until(Kind.DIED)
        assert (died["exit"], died["signal"], died["reason"]) == (0, None, "")


def test_a_worker_has_its_owners_surroundings(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    env = {**os.environ, "COLOUR": "blue \udcff"}
    with owning(env=env, cwd=str(tmp_path), umask=0o27, affinity=[cpu], argv=["prog"]) as owner:
        line = owner.spawn()
        assert line.ask("tell(os.getcwd())") == str(tmp_path)
        assert line.ask("tell(os.umask(0))") == str(0o27)
        assert line.ask("tell(os.sched_getaffinity(0))") == str({cpu})
        assert line.ask("tell(ascii(os.environ['COLOUR']))") == ascii("blue \udcff")
        assert line.ask("tell(sorted(set(os.environ) - {'ANYPOOL_WORKER'}))") == str(sorted(env))
        assert line.ask("tell(sys.path)") == str(sys.path)
        assert line.ask("tell(sys.argv)") == "['prog']"
        assert line.ask("import __main__; tell(sorted(vars(__main__)))") == str(
            ["__builtins__", "__doc__", "__loader__", "__name__", "__package__", "__spec__"]
        )


def test_a_worker_is_alone_in_its_session_with_default_signals() -> None:
    with owning() as owner:
        line = owner.spawn()
        assert line.ask("tell(os.getsid(0) == os.getpgid(0) == os.getpid())") == "True"
        assert line.ask("import signal; tell(signal.pthread_sigmask(signal.SIG_BLOCK, ()))") == "set()"
        assert line.ask("tell(signal.getsignal(signal.SIGTERM))") == str(signal.SIG_DFL)
        assert line.ask("tell(signal.getsignal(signal.SIGINT) is signal.default_int_handler)") == "True"
        assert line.ask("tell(os.read(0, 1))") == "b''"


def test_a_worker_has_no_descriptors_but_its_own() -> None:
    with owning() as owner:
        lines = [owner.spawn(slot) for slot in range(3)]
        for line in lines:
            line.ask("tell(1)")
        held = lines[2].ask(
            "fds = set(map(int, os.listdir('/proc/self/fd')))\n"
            "tell(sorted(fds - {0, 1, 2, reader, writer, door.fileno()}))"
        )
        # The listing itself takes one.
        assert len(json.loads(held)) == 1


def test_a_folder_that_is_gone_is_named_in_the_death() -> None:
    with owning(cwd="/no/such/folder") as owner:
        owner.spawn()
        died = owner.until(Kind.DIED)
        assert died["exit"] == 1
        assert "/no/such/folder" in died["stderr"]


def test_exit_codes_signals_and_tracebacks_are_told() -> None:
    with owning() as owner:
        for slot, code in enumerate(["sys.exit(7)", "os._exit(9)", "os.kill(os.getpid(), 11)", "1 / 0"]):
            owner.spawn(slot).do(code)
        ends = [owner.until(Kind.DIED, slot) for slot in range(4)]
        assert [(end["exit"], end["signal"]) for end in ends] == [(7, None), (9, None), (None, 11), (1, None)]
        assert "ZeroDivisionError" in ends[3]["stderr"]


def test_output_is_relayed_and_its_end_kept() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.do("print('to out'); print('to err', file=sys.stderr); os.write(1, b'raw'); sys.exit(3)")
        died = owner.until(Kind.DIED)
        assert owner.output(1) == b"to out\nraw"
        assert owner.output(2) == b"to err\n"
        assert died["stderr"] == "to err\n"


def test_64_megabytes_of_unread_output_block_nothing() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.ask("tell(1)")
        code = "for i in range(1024): os.write(1, b'x' * 65536)\nos.write(2, b'the end')\ntell('written')"
        assert line.ask(code) == "written"
        line.do("sys.exit(4)")
        assert owner.until(Kind.DIED)["exit"] == 4
        assert len(owner.output(1)) < 8 << 20
        assert b"bytes of output dropped" in owner.output(2)
        assert b"the end" in owner.output(2)


def test_kill_asks_first_and_then_insists() -> None:
    with owning() as owner:
        polite, stubborn = owner.spawn(0), owner.spawn(1)
        polite.ask("tell(1)")
        stubborn.ask("import signal; signal.signal(15, signal.SIG_IGN); tell(1)")
        stubborn.do("time.sleep(60)")
        owner.kill(polite)
        owner.kill(stubborn, grace=0.2)
        assert owner.until(Kind.DIED, 0)["signal"] == signal.SIGTERM
        assert owner.until(Kind.DIED, 1)["signal"] == signal.SIGKILL


def test_kill_of_an_earlier_incarnation_is_ignored() -> None:
    with owning() as owner:
        line = owner.spawn(0, seq=2)
        line.ask("tell(1)")
        line.seq = 1
        owner.kill(line, grace=0)
        assert line.ask("tell('alive')") == "alive"


def test_more_memory_than_allowed_ends_a_worker_with_the_reason() -> None:
    with owning(memory_limit=100 << 20) as owner:
        line = owner.spawn()
        assert line.ask("tell('alive')") == "alive"
        line.do("hoard = b'x' * (200 << 20); time.sleep(60)")
        died = owner.until(Kind.DIED)
        assert died["signal"] == signal.SIGKILL
        assert died["reason"].startswith(f"memory limit of {100 << 20} bytes exceeded (")


def test_goodbye_waits_for_workers_and_then_kills_them() -> None:
    with owning() as owner:
        slow = owner.spawn(0)
        slow.ask("tell(1)")
        slow.do("time.sleep(0.3); print('done')")
        stuck = owner.spawn(1)
        stuck.ask("tell(1)")
        stuck.do("time.sleep(600)")
        start = time.monotonic()
        owner.close(grace=1.0)
        assert 0.9 < time.monotonic() - start < 3
        assert owner.output(1) == b"done\n"
        assert owner.until(Kind.DIED, 1)["reason"] == "did not end in time"


def test_a_hundred_workers_leave_nothing() -> None:
    with owning() as owner:
        lines = [owner.spawn(slot) for slot in range(100)]
        assert [line.ask(f"tell({line.slot})") for line in lines] == [str(slot) for slot in range(100)]
        agent = owner.agent()
        descriptors = len(os.listdir(f"/proc/{agent}/fd"))
        for line in lines:
            line.close()
        wait_until(lambda: owner.listen() or len(owner.told(Kind.DIED)) == 100)
        owner.lines.clear()
        wait_until(lambda: len(os.listdir(f"/proc/{agent}/fd")) == descriptors - 300)
    assert not runs(agent)


def test_another_worker_takes_milliseconds() -> None:
    with owning() as owner:
        owner.spawn(0).ask("tell(1)")
        times = []
        for slot in range(1, 11):
            start = time.perf_counter()
            owner.spawn(slot).ask("tell(1)")
            times.append(time.perf_counter() - start)
        assert sorted(times)[5] < 0.02


def test_later_workers_find_imported_what_most_modules_import() -> None:
    with owning() as owner:
        assert not settled(owner)
        wait_until(lambda: settled(owner))


def test_pools_of_a_process_share_an_agent_that_ends_with_the_last() -> None:
    with owning() as first:
        agent = first.agent()
        with owning() as second:
            assert second.agent() == agent
        assert first.spawn().ask("tell(1)") == "1"
    assert not runs(agent)
    with owning() as third:
        assert third.agent() != agent


def test_variables_that_act_at_exec_get_an_agent_of_their_own() -> None:
    with owning() as plain, owning(env={**os.environ, "PYTHONHASHSEED": "7"}) as seeded:
        assert plain.agent() != seeded.agent()
        assert seeded.spawn().ask("tell(hash('anypool'))") == subprocess.check_output(
            [sys.executable, "-c", "print(hash('anypool'))"],
            env={**os.environ, "PYTHONHASHSEED": "7"},
            text=True,
        ).rstrip("\n")


def test_a_pool_in_a_task_uses_the_same_agent_and_ends_with_its_worker() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.do("from owner import Owner\ninner = Owner()\nchild = inner.spawn()")
        assert line.ask("tell(inner.agent())") == str(owner.agent())
        grandchild = int(line.ask("tell(child.ask('tell(os.getpid())'))"))
        assert runs(grandchild)
        os.kill(owner.pid_of(line), signal.SIGKILL)
        owner.until(Kind.DIED)
        assert wait_until(lambda: not runs(grandchild)) < 3


def test_processes_that_a_task_started_end_with_its_worker() -> None:
    spawn = "import subprocess\nchild = subprocess.Popen(['sleep', '600'], start_new_session={})\ntell(child.pid)"
    double = """\
        import time
        reader, writer = os.pipe()
        if not (pid := os.fork()):
            os.setsid()
            if not (daemon := os.fork()):
                time.sleep(600)
            os.write(writer, str(daemon).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        tell(int(os.read(reader, 100)))"""
    with owning() as owner:
        line, bystander = owner.spawn(0), owner.spawn(1)
        pids = [int(line.ask(code)) for code in (spawn.format(False), spawn.format(True), textwrap.dedent(double))]
        spared = int(bystander.ask(textwrap.dedent(double)))
        assert all(map(runs, pids))
        os.kill(owner.pid_of(line), signal.SIGKILL)
        owner.until(Kind.DIED, 0)
        wait_until(lambda: not any(map(runs, pids)))
        assert runs(spared)
    wait_until(lambda: not runs(spared))


def test_a_worker_that_closes_every_descriptor_is_no_death() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.ask("tell(1)")
        line.do("os.closerange(0, 1000); time.sleep(600)")
        assert line.answer() == ""
        assert runs(owner.pid_of(line))
        owner.kill(line, grace=0)
        assert owner.until(Kind.DIED)["signal"] == signal.SIGKILL


def test_a_fork_that_fails_is_told_and_the_agent_goes_on() -> None:
    with owning() as owner:
        owner.spawn(0).ask("tell(1)")
        import resource

        before = resource.prlimit(owner.agent(), resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{owner.agent()}/fd"))
        resource.prlimit(owner.agent(), resource.RLIMIT_NOFILE, (used + 3, before[1]))
        owner.spawn(1)
        assert owner.until(Kind.DIED, 1)["reason"].startswith("fork failed: ")
        resource.prlimit(owner.agent(), resource.RLIMIT_NOFILE, before)
        assert owner.spawn(2).ask("tell(1)") == "1"


def test_interpreter_flags_reach_the_workers(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from owner import owning\n"
        "with owning() as owner:\n"
        "    print(owner.spawn().ask('tell((sys.flags.optimize, sys.warnoptions, sys._xoptions))'))\n"
    )
    flags = ["-O", "-W", "error::BytesWarning", "-X", "utf8", "-X", "mine=1"]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    shown = subprocess.run(
        [sys.executable, *flags, file], env=plain, capture_output=True, text=True, check=True, timeout=30
    )
    assert shown.stdout == "(1, ['error::BytesWarning'], {'utf8': True, 'mine': '1'})\n"


def test_an_idle_agent_sleeps() -> None:
    with owning() as owner:
        line = owner.spawn()
        line.ask("tell(1)")
        wait_until(lambda: settled(owner))
        status = Path(f"/proc/{owner.agent()}/status")

        def switches() -> int:
            return int(status.read_text().split("voluntary_ctxt_switches:")[1].split()[0])

        before = switches()
        time.sleep(1.0)
        assert switches() - before <= 1


def test_a_module_of_the_users_own_is_found_by_later_workers_as_by_the_first(tmp_path: Path) -> None:
    (tmp_path / "selectors.py").write_text("mine = True\n")
    with owning(sys_path=[str(tmp_path), *sys.path]) as owner:
        wait_until(lambda: settled(owner))
        line = owner.spawn(3)
        assert line.ask("import selectors; tell(hasattr(selectors, 'mine'))") == "True"
        assert line.ask("import logging, typing; tell(typing.Any is not None)") == "True"
