"""Workers of ppft on this machine: what ppft by itself would lose, print or leave changed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
from ppft_serving import is_alive, wait_until  # type: ignore[import-not-found]

from anypool import LauncherUnavailable, ParallelPython, WorkerLost, get_pool
from anypool._building import plan_of


def script(text: str, *, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, *sys.path]))}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], cwd=cwd, env=env, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_its_alias_is_the_same_launcher() -> None:
    assert plan_of("ppft:2").levels == plan_of("parallel-python:2").levels == (ParallelPython(2),)


def test_results_are_the_same_after_each_change_of_size() -> None:
    with get_pool("parallel-python:1", oversubscribe=True) as pool:
        for workers in (1, 2, 4, 1, 4):
            pool.resize(workers)
            assert len(pool) == workers
            assert pool.map(lambda x: x * x, range(20)) == [x * x for x in range(20)]


def test_the_environment_is_as_it_was() -> None:
    before = dict(os.environ)
    with get_pool("parallel-python:1") as pool:
        assert dict(os.environ) == before
        assert pool.pipe(os.environ.get, "PYTHONPATH") == before.get("PYTHONPATH")


def test_what_a_task_and_its_child_print_is_no_part_of_a_reply(tmp_path: Path) -> None:
    done = script(
        """
        import os, sys
        from anypool import get_pool
        def f(x):
            print("task", x)
            os.system("echo child; echo error >&2")
            return sys.stdin.read()
        with get_pool("parallel-python:1") as pool:
            print(pool.map(f, [1, 2]))
        """,
        cwd=tmp_path,
    )
    assert sorted(done.stdout.splitlines()) == ["['', '']", "child", "child", "task 1", "task 2"]
    assert done.stderr == "error\nerror\n"


def test_a_module_that_prints_when_it_is_imported_disturbs_no_worker(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text("print('imported')\ndef f(x): return x\n")
    text = "import noisy\nfrom anypool import get_pool\n"
    done = script(text + "with get_pool('ppft:1') as pool: print(pool.map(noisy.f, [1]))", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[1]", done.stderr


def test_workers_end_with_their_owner_even_in_a_task(tmp_path: Path) -> None:
    text = """
    import os, sys, time
    from pathlib import Path
    from anypool import get_pool
    def f(x):
        Path(x).write_text(str(os.getpid()))
        time.sleep(60)
    get_pool("parallel-python:2").map(f, ["one", "two"], chunksize=1)
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    owner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], cwd=tmp_path, env=env)
    files = [tmp_path / "one", tmp_path / "two"]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    owner.kill()
    owner.wait()
    wait_until(lambda: not any(map(is_alive, pids)), 5)


def test_a_worker_that_died_idle_is_replaced_without_a_loss() -> None:
    with get_pool("parallel-python:1") as pool:
        pid = pool.pipe(os.getpid)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(pid))
        assert pool.map(lambda x: x + 1, range(3), retries=0) == [1, 2, 3]


def test_a_worker_that_died_is_noticed_though_its_child_holds_its_pipes_and_that_ends(tmp_path: Path) -> None:
    file = tmp_path / "child"

    def die(_: int) -> None:
        if (child := os.fork()) == 0:
            time.sleep(20)
            os._exit(0)
        file.write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    started = time.monotonic()
    with get_pool("parallel-python:1") as pool:
        (outcome,) = pool.map(die, [1], retries=0, on_error="return")
        assert "SIGKILL" in str(outcome)
        wait_until(lambda: not is_alive(int(file.read_text())))
    assert time.monotonic() - started < 15


def test_each_worker_is_told_by_its_process() -> None:
    with get_pool("parallel-python:2") as pool:

        def meet(_: int) -> int:
            time.sleep(0.1)
            return os.getpid()

        pids = set(pool.map(meet, range(4), chunksize=1))
        assert pids == {worker.pid for worker in pool.workers()}
        assert pool.stats()["nodes"] == {"local": pool.stats()["tasks"]}


def test_workers_begin_with_what_they_are_given(tmp_path: Path) -> None:
    def begin(text: str) -> None:
        os.environ["BEGUN"] = text

    launcher = ParallelPython(1, initializer=begin, initargs=("so",), env={"OTHER": "thing"}, cwd=tmp_path)
    with get_pool(launcher) as pool:
        found = pool.pipe(lambda: (os.environ["BEGUN"], os.environ["OTHER"], os.getcwd()))
        assert found == ("so", "thing", str(tmp_path))


def test_an_initializer_that_raises_ends_the_pools_maps() -> None:
    def begin() -> None:
        raise KeyError("not so")

    with get_pool(ParallelPython(2, initializer=begin)) as pool:
        with pytest.raises(WorkerLost, match=r"initializer raised KeyError: 'not so'"):
            pool.map(abs, range(10))
        pool.terminate()


def test_after_so_many_tasks_another_worker_takes_the_place() -> None:
    with get_pool(ParallelPython(1, max_tasks_per_worker=2)) as pool:
        assert len(set(pool.map(lambda _: os.getpid(), range(6), chunksize=1))) == 3


def test_calls_back_with_each_outcome_and_waits_for_a_group() -> None:
    seen: list[object] = []
    with get_pool("parallel-python:2") as pool:
        group = [pool.amap(abs, [-n], callback=seen.append) for n in range(5)]
        failed = pool.amap(divmod, [1], [0], error_callback=seen.append)
        done, waiting = wait(group, timeout=20)
        assert (len(done), len(waiting)) == (5, 0)
        assert isinstance(failed.exception(20), ZeroDivisionError)
    assert sorted(map(str, seen)) == ["[0]", "[1]", "[2]", "[3]", "[4]", "integer division or modulo by zero"]


def test_it_is_refused_where_pp_is_another_package(tmp_path: Path) -> None:
    (tmp_path / "pp.py").write_text("raise ImportError('it is not imported')")
    text = "import anypool\nfor f in anypool.ParallelPython.missing, lambda: anypool.get_pool('ppft:1'):\n"
    text += " try: print(f())\n except anypool.LauncherUnavailable as error: print(error)"
    said = script(text, cwd=tmp_path, path=str(tmp_path)).stdout.splitlines()
    assert len(said) == 2
    assert said[0] == said[1]
    assert str(tmp_path / "pp.py") in said[0]


def test_it_is_refused_where_ppft_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "ppft" else find(name, *rest))
    with pytest.raises(LauncherUnavailable, match=r"pip install 'anypool\[parallel-python\]'"):
        get_pool("parallel-python:1")
