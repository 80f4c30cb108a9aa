"""`check` asks an interpreter that has nothing of this one."""

import importlib
import os
import subprocess
import sys
import time
import zipfile
from typing import Any

import pytest

from anypool_serialize import Unserializable, check


class Rebuilt:
    def __init__(self, func, *args):
        self._call = func, args

    def __reduce__(self):
        return self._call


def test_what_arrives_passes_silently(capfd):
    local = [1]
    check(lambda: local)
    check({"a": os.stat(".")})
    assert capfd.readouterr() == ("", "")


def test_an_error_there_is_told_here():
    with pytest.raises(Unserializable, match="ValueError: invalid literal") as caught:
        check(Rebuilt(int, "x"))
    assert "Traceback" in caught.value.__notes__[0]


def test_a_module_that_only_this_process_has_is_missed_there(tmp_path, monkeypatch):
    (tmp_path / "only_here_now.py").write_text("def f(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    only_here_now = importlib.import_module("only_here_now")

    check(only_here_now.f)
    (tmp_path / "only_here_now.py").unlink()
    with pytest.raises(Unserializable, match="No module named 'only_here_now'"):
        check(only_here_now.f)


def test_a_crash_there_kills_nothing_here():
    with pytest.raises(Unserializable, match="ended by SIGABRT"):
        check(Rebuilt(os.abort))


def test_a_hang_there_ends_after_the_timeout():
    begun = time.monotonic()
    with pytest.raises(Unserializable, match=r"after 0\.5 s"):
        check(Rebuilt(time.sleep, 60), timeout=0.5)
    assert time.monotonic() - begun < 20


def test_it_may_wait_for_ever():
    check(1, timeout=float("inf"))


def test_a_module_from_a_zip_archive_is_found_there(tmp_path, monkeypatch):
    archive = tmp_path / "modules.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("only_in_the_archive.py", "def f(): pass\n")
    monkeypatch.syspath_prepend(str(archive))
    check(importlib.import_module("only_in_the_archive").f)


def test_what_is_printed_there_does_not_disturb():
    check(Rebuilt(print, "noise"))


def test_another_python_may_be_asked():
    check([1, {"a": 2}], python=sys.executable)
    with pytest.raises(FileNotFoundError):
        check(1, python="/no/such/python")


def test_it_needs_no_main_module_of_this_process(script):
    script("""
        import anypool_serialize as s
        class Here: pass
        print("once")
        s.check([Here(), lambda: Here])
    """)


def test_its_child_does_not_outlive_it():
    # Its own number: other runs of this test may be under way.
    seconds = f"{900_000 + os.getpid()}"
    with pytest.raises(Unserializable):
        check(Rebuilt(subprocess.check_call, ["sleep", seconds]), timeout=1)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"sleep {seconds}" not in listing


@pytest.mark.parametrize("timeout,error", [("x", TypeError), (None, TypeError), (0, ValueError), (-1, ValueError)])
def test_a_wrong_timeout_is_refused_at_once(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"timeout .* got {timeout!r}"):
        check(1, timeout=timeout)
