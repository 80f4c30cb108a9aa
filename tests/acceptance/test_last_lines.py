"""What is left of a task that dies, beyond what every launcher owes, and what a stream of a task can do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from anypool import WorkerLost, get_pool

PROCESSES = ["process:1", "multiprocess:1", "parallel-python:1", "process:1/thread:1", "process:1/parallel-python:1"]


def test_the_last_words_are_those_of_the_chunk_that_died() -> None:
    with get_pool("process:2") as pool:
        pool.map(lambda item: print("before"), range(8), chunksize=1)

        def die() -> None:
            print("printed")
            logging.getLogger("dying").error("logged")
            os.write(2, b"raw\n")
            os.abort()

        with pytest.raises(WorkerLost) as caught:
            pool.submit(die).result(60)
        assert caught.value.stderr == "printed\nERROR:dying:logged\nraw\n"
        assert "the last that it said:\nprinted\n" in str(caught.value)


def die_at_two(item: int) -> int:
    print(f"item {item}", flush=True)
    if item == 2:
        os._exit(9)
    return item


@pytest.mark.parametrize("launcher", [*PROCESSES, "process:1/multiprocess:1"])
def test_with_retries_only_the_item_that_dies_is_lost_and_says_what_it_printed(launcher: str) -> None:
    with get_pool(launcher) as pool:
        outcomes: list[Any] = pool.map(die_at_two, range(4), chunksize=4, on_error="return")
    assert [outcomes[0], outcomes[1], outcomes[3]] == [0, 1, 3]
    assert isinstance(outcomes[2], WorkerLost)
    if launcher != "process:1/thread:1":
        # Which threads of its hub have run what is not known of a hub that is lost.
        assert "ran item 2" in str(outcomes[2])
    assert outcomes[2].stderr.endswith("item 2\n")


def test_an_executor_that_breaks_for_good_says_what_its_last_task_printed() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as executor, get_pool(executor) as pool:
        with pytest.raises(WorkerLost, match="item 2") as caught:
            pool.map(die_at_two, [2])
        assert caught.value.stderr == "item 2\n"


def die_in_a_thread(item: int) -> int:
    def say_and_die() -> None:
        print(f"thread of {item}", flush=True)
        os._exit(9)

    thread = threading.Thread(target=say_and_die)
    thread.start()
    thread.join(30)
    return item


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1", "parallel-python:1"])
def test_what_a_thread_of_a_task_has_said_is_left_as_well(launcher: str) -> None:
    with get_pool(launcher) as pool, pytest.raises(WorkerLost) as caught:
        pool.map(die_in_a_thread, [5], retries=0)
    assert "thread of 5\n" in caught.value.stderr


def give_a_child_its_stream(item: int) -> int:
    done = subprocess.run([sys.executable, "-c", "print('child')"], stdout=sys.stdout, check=False)
    return done.returncode + item


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1", "parallel-python:1", "process:1/thread:1"])
def test_a_child_can_be_given_a_tasks_stream(launcher: str) -> None:
    with get_pool(launcher) as pool:
        assert pool.map(give_a_child_its_stream, [7]) == [7]


def test_a_script_that_keeps_what_it_has_got_ends_without_a_word(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import anypool\n"
        "with anypool.get_pool('multiprocess:1') as pool:\n"
        "    result = pool.apipe(len, [1])\n"
        "    print(result.get(timeout=20))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
