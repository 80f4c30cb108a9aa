"""Whether an object arrives in an interpreter that has nothing of this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from contextlib import suppress
from io import BytesIO
from math import isinf

from ._errors import Unserializable
from ._files import dump

# Standard output is moved away first: an imported module may print.
_CHILD = """
import json, os, sys
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
ours, version = json.loads(sys.stdin.buffer.readline())
own = list(sys.path)
same = version == list(sys.version_info[:2])
sys.path[:] = dict.fromkeys(ours + own if same else own + ours)
import traceback
try:
    import anypool_serialize
    anypool_serialize.load(sys.stdin.buffer)
    outcome = None
except BaseException as error:
    last = "".join(traceback.format_exception_only(error)).strip()
    outcome = [last, "".join(traceback.format_exception(error))]
answer.write(json.dumps([outcome]))
answer.close()
os._exit(0)
"""


def check(obj: object, *, python: str | None = None, timeout: float = 30) -> None:
    """Load `obj` in a fresh interpreter (`python`: another one than this); return if it arrives.

    The interpreter gets this one's `sys.path` but not its main module, like a worker. Raises
    Unserializable with what happened there, also when it crashed or was not ready after `timeout`
    seconds.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout is a number of seconds, got {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, got {timeout}")
    file = BytesIO()
    dump(obj, file)
    interpreter = python or sys.executable
    head = json.dumps([_search_path(), list(sys.version_info[:2])]).encode() + b"\n"
    answer, errors, code = _run([interpreter, "-c", _CHILD], head + file.getvalue(), timeout)
    try:
        (outcome,) = json.loads(answer)
    except ValueError:
        tail = errors.decode(errors="replace").strip()[-2000:]
        raise Unserializable(f"{interpreter} ended {_ending(code)} while loading the object\n{tail}") from None
    if outcome is not None:
        failure = Unserializable(f"the object does not load in a fresh {interpreter}: {outcome[0]}")
        failure.add_note(f"There:\n{outcome[1]}")
        raise failure


_STANDARD_ZIP = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"


def _search_path() -> list[str]:
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return [
        os.path.abspath(entry)
        for entry in sys.path
        if entry not in standard and not entry.endswith(("lib-dynload", _STANDARD_ZIP))
    ]


def _run(command: list[str], data: bytes, timeout: float) -> tuple[bytes, bytes, int]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            answer, errors = process.communicate(data, None if isinf(timeout) else timeout)
        except subprocess.TimeoutExpired:
            raise Unserializable(f"{command[0]} had not loaded the object after {timeout} s") from None
        finally:
            # Its session is its own: whatever it started ends with it, and nothing of ours does.
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
        return answer, errors, process.returncode


def _ending(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
