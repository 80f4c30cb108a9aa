"""What maps and launchers take, and how they refuse the rest."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pool_kit import (  # type: ignore[import-not-found]
    everywhere,
    get_pool,
    in_processes,
)

import anypool
from anypool import PlanError, ProcessPool, SerialPool, ThreadPool, WorkerLost


@everywhere
@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap", "starmap", "istarmap", "uistarmap", "astarmap"])
def test_an_unknown_option_is_refused_at_the_call(launcher, method):
    with get_pool(launcher) as pool, pytest.raises(TypeError, match=r"'base'.*kwargs="):
        getattr(pool, method)(int, ["1"], base=2)


@pytest.mark.parametrize("method", ["map", "imap", "starmap", "uimap"])
def test_callbacks_belong_to_the_asynchronous_maps(method):
    with pytest.raises(TypeError, match=r"callback.*amap"):
        getattr(get_pool("serial"), method)(abs, [1], callback=print)


@pytest.mark.parametrize(
    "options, error",
    [
        ({"chunksize": -1}, ValueError),
        ({"chunksize": True}, TypeError),
        ({"chunksize": 1.5}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retry_on": 5}, TypeError),
        ({"retry_on": (int,)}, TypeError),
        ({"on_error": "ignore"}, ValueError),
        ({"buffersize": 0}, ValueError),
        ({"strict": "yes"}, TypeError),
        ({"strict": 2}, TypeError),
        ({"progress": "x"}, ValueError),
        ({"progress": 2}, TypeError),
        ({"kwargs": [1]}, TypeError),
        ({"kwargs": {1: 2}}, TypeError),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_before_input_is_read(options, error):
    read: list[int] = []
    with pytest.raises(error, match=next(iter(options))):
        get_pool("serial").map(abs, map(read.append, range(3)), **options)
    assert read == []


def test_a_chunksize_below_the_least_is_refused_with_what_stands_for_the_default():
    assert get_pool("serial").map(str, [1], chunksize=0) == ["1"]
    with pytest.raises(ValueError, match=r"at least 1 for map\(\), or 0 or None for the default, got -1"):
        get_pool("serial").map(str, [1], chunksize=-1)
    with pytest.raises(ValueError, match=r"at least 1 for imap\(\), or None for the default, got 0"):
        get_pool("serial").imap(str, [1], chunksize=0)


@pytest.mark.parametrize("value", [True, 1, np.True_])
def test_a_flag_may_be_numpys(value):
    with pytest.raises(ValueError, match="longer"):
        get_pool("serial").map(pow, [1], [1, 2], strict=value)


def test_whole_numbers_of_other_types_are_taken():
    class Five:
        def __index__(self):
            return 5

    assert get_pool("serial").map(abs, range(9), chunksize=Five(), timeout=float("inf")) == list(range(9))


@everywhere
def test_every_launcher_runs_the_initializer_before_the_first_task(launcher):
    def remember(key, value):
        os.environ[key] = value

    with get_pool(launcher, initializer=remember, initargs=("ANYPOOL_API_TEST", "yes")) as pool:
        seen = pool.map(lambda _: os.environ.get("ANYPOOL_API_TEST"), range(20))
    os.environ.pop("ANYPOOL_API_TEST", None)
    assert seen == ["yes"] * 20


@everywhere
def test_no_worker_runs_the_initializer_twice(launcher, tmp_path):
    def note(path):
        with open(path, "a") as file:
            print(os.getpid(), threading.get_ident(), file=file)

    with get_pool(launcher, initializer=note, initargs=(tmp_path / "runs",)) as pool:
        pool.map(abs, range(1000), chunksize=10)
        pool.map(abs, range(1000))
    runs = (tmp_path / "runs").read_text().splitlines()
    assert runs
    assert len(runs) == len(set(runs))


def test_serial_runs_the_initializer_once_and_only_when_needed():
    calls: list[int] = []
    with get_pool("serial", initializer=calls.append, initargs=(1,)) as pool:
        assert calls == []
        pool.map(abs, [1])
        list(pool.imap(abs, [1]))
        pool.pipe(abs, 1)
        assert calls == [1]
        pool.restart()
        pool.pipe(abs, 1)
        assert calls == [1, 1]


@everywhere
def test_an_initializer_that_raises_ends_the_maps(launcher):
    def broken():
        raise ValueError("no database")

    with get_pool(launcher, initializer=broken) as pool, pytest.raises(WorkerLost, match="no database"):
        pool.map(abs, [1, 2])


@pytest.mark.parametrize("launcher", ["serial", "thread:2"])
@pytest.mark.parametrize("option", ["max_tasks_per_worker", "env", "cwd"])
def test_what_only_processes_can_honour_is_refused_elsewhere_and_says_where(launcher, option):
    with pytest.raises(TypeError, match=f"{option}.*process and multiprocess"):
        get_pool(launcher, **{option: 1})


def test_what_one_launcher_has_is_named_on_the_others():
    with pytest.raises(TypeError, match=r"max_memory_per_worker.*which process can"):
        get_pool("multiprocess", max_memory_per_worker=1 << 30)
    with pytest.raises(TypeError, match="did you mean 'workers'"):
        get_pool("process", worker=2)


@pytest.mark.parametrize(
    "option, value, error, text",
    [
        ("cwd", 3, TypeError, "cwd is a folder's path or None, got 3"),
        ("cwd", "/no/such/folder", ValueError, "cwd is a folder that exists"),
        ("env", {"A=B": "1"}, ValueError, "env has names without '='.* got 'A=B'"),
        ("env", {"A": "\0"}, ValueError, "no null characters"),
        ("max_memory_per_worker", 512, ValueError, "at least 1048576 bytes"),
    ],
)
def test_what_no_process_could_start_with_is_named(option, value, error, text):
    with pytest.raises(error, match=text):
        get_pool("process:1", **{option: value})


@pytest.mark.parametrize(
    "launcher",
    ["process", "thread", "multiprocess", ThreadPoolExecutor(1)],
    ids=["process", "thread", "multiprocess", "executor"],
)
def test_more_workers_than_a_pool_can_number_are_refused_at_once(launcher):
    with pytest.raises(ValueError, match="at most 65,535 workers"):
        get_pool(launcher, workers=10**9)


@in_processes
def test_processes_honour_env_cwd_and_a_number_of_tasks(launcher, tmp_path):
    options = {"env": {"ANYPOOL_API_TEST": "1"}, "cwd": tmp_path, "max_tasks_per_worker": 3}
    with get_pool(launcher, **options) as pool:
        seen = pool.map(lambda _: (os.environ["ANYPOOL_API_TEST"], os.getcwd(), os.getpid()), range(12))
    assert {entry[:2] for entry in seen} == {("1", str(tmp_path))}
    pids = [pid for _, _, pid in seen]
    assert max(pids.count(pid) for pid in pids) <= 3


@pytest.mark.parametrize(
    "text, error",
    [
        ("proces", anypool.LauncherNotFound),
        ("process:", PlanError),
        ("process:x", PlanError),
        ("process:-1", PlanError),
        ("process:²", PlanError),
        ("process:0", PlanError),
        (":4", PlanError),
        ("proces:x", anypool.LauncherNotFound),
        ("ssh:host", anypool.LauncherNotFound),
        (5, TypeError),
    ],
)
def test_a_text_that_names_no_pool_is_refused(text, error):
    with pytest.raises(error):
        get_pool(text)


def test_other_names_of_the_size_are_taken_once():
    pools = [ThreadPool(2), ThreadPool(nodes=2), ThreadPool(ncpus=2), ThreadPool(workers=2), ThreadPool(processes=2)]
    assert [len(pool) for pool in pools] == [2] * 5
    for pool in pools:
        pool.terminate()
    with pytest.raises(TypeError, match="more than once"):
        ThreadPool(2, ncpus=2)
    assert len(SerialPool(8)) == 1


@everywhere
@pytest.mark.parametrize("method", ["starmap", "istarmap", "uistarmap", "astarmap"])
def test_what_another_pool_takes_by_position_is_asked_for_by_keyword(launcher, method):
    with get_pool(launcher) as pool:
        with pytest.raises(TypeError, match="by keyword, chunksize=5"):
            getattr(pool, method)(pow, [(2, 3)], 5)
        with pytest.raises(TypeError, match=rf"{method}\(\) takes one iterable"):
            getattr(pool, method)(pow, [(2, 3)], [(2, 3)])


@pytest.mark.parametrize("kind", [ProcessPool, ThreadPool, SerialPool])
def test_a_pool_takes_its_size_alone_by_position(kind):
    with pytest.raises(TypeError, match=r"give initializer= and initargs= by name"):
        kind(2, print, ())


@in_processes
def test_a_task_sees_the_arguments_of_the_script(launcher, monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py", "--level", "3"])
    with get_pool(launcher) as pool:
        assert pool.pipe(lambda: __import__("sys").argv) == ["script.py", "--level", "3"]


def test_a_pool_made_without_a_launcher_says_how_it_is_made():
    with pytest.raises(TypeError, match='get_pool\\("process:4"\\)'):
        anypool.Pool(4)  # type: ignore[arg-type]
