"""The same program gives the same result from wherever Python reads its main module; workers never import it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

LAUNCHERS = ["serial", "thread:2", "process:2", "multiprocess:2"]

# Without a guard, with a function, a class and a global of its own. Each line is complete, as a prompt wants it.
PROGRAM = """\
from anypool import get_pool
offset = 100
class Point:
    def __init__(self, x): self.x = x
    def moved(self): return Point(self.x + offset)
    def __eq__(self, other): return type(other) is Point and self.x == other.x

def square(x):
    return x * x + offset

pool = get_pool("LAUNCHER")
print("one", pool.map(square, range(4)))
offset = 200
print("two", pool.map(square, range(4)))
print("three", pool.map(lambda p: p.moved(), [Point(1)]) == [Point(201)])
print("four", pool.map(Point.moved, [Point(2)])[0].x, type(pool.pipe(Point, 3)) is Point)
print("five", list(pool.imap(square, [1])), pool.submit(square, 2).result(20))
pool.close(); pool.join()
"""
EXPECTED = ["one [100, 101, 104, 109]", "two [200, 201, 204, 209]", "three True", "four 202 True", "five [201] 204"]


def program(launcher: str) -> str:
    return PROGRAM.replace("LAUNCHER", launcher)


def answers(output: str) -> list[str]:
    return re.findall(r"^(?:one|two|three|four|five) .*$", output.replace("\r", ""), re.MULTILINE)


def run(command: list[str], folder: Path, **options: object) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    out: str = done.stdout
    return out


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_script_without_a_guard(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(program(launcher))
    assert run([sys.executable, "script.py"], tmp_path).splitlines() == EXPECTED


INITIALIZER = """\
from anypool import get_pool
table = None
seen = {}
def load(size):
    global table
    table = list(range(size))
    seen["size"] = size
def look(x):
    return table[x], seen["size"]
with get_pool("LAUNCHER", initializer=load, initargs=(5,)) as pool:
    print(pool.map(look, [1, 4]), pool.pipe(lambda: sum(table)))
"""


def test_what_an_initializer_sets_in_a_script_is_there_for_its_functions(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INITIALIZER.replace("LAUNCHER", launcher))
    assert run([sys.executable, "script.py"], tmp_path).splitlines() == ["[(1, 5), (4, 5)] 10"]


def test_a_command_line(launcher: str, tmp_path: Path) -> None:
    assert run([sys.executable, "-c", program(launcher)], tmp_path).splitlines() == EXPECTED


def test_a_script_on_stdin(launcher: str, tmp_path: Path) -> None:
    assert run([sys.executable, "-"], tmp_path, input=program(launcher)).splitlines() == EXPECTED
    assert run([sys.executable], tmp_path, input=program(launcher)).splitlines() == EXPECTED


def test_a_module_started_by_its_name(launcher: str, tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(program(launcher))
    (package / "tool.py").write_text(program(launcher))
    assert run([sys.executable, "-m", "mine"], tmp_path).splitlines() == EXPECTED
    assert run([sys.executable, "-m", "mine.tool"], tmp_path).splitlines() == EXPECTED


def test_a_folder_and_an_archive(launcher: str, tmp_path: Path) -> None:
    import zipfile

    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "__main__.py").write_text(program(launcher))
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.write(folder / "__main__.py", "__main__.py")
    assert run([sys.executable, "app"], tmp_path).splitlines() == EXPECTED
    assert run([sys.executable, "app.pyz"], tmp_path).splitlines() == EXPECTED


def test_a_script_whose_file_is_gone(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import os; os.remove(__file__)\n" + program(launcher))
    assert run([sys.executable, "script.py"], tmp_path).splitlines() == EXPECTED


def test_a_guarded_script_works_as_well(launcher: str, tmp_path: Path) -> None:
    text = program(launcher).partition("pool = ")
    guarded = text[0] + 'if __name__ == "__main__":\n' + textwrap.indent(text[1] + text[2], "    ")
    (tmp_path / "script.py").write_text(guarded)
    assert run([sys.executable, "script.py"], tmp_path).splitlines() == EXPECTED


def test_a_module_beside_the_script_is_imported_by_the_workers(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("import os\ndef where(x): return x, __name__\n")
    (tmp_path / "script.py").write_text(
        f"from anypool import get_pool\nimport beside\n"
        f"with get_pool({launcher!r}) as pool: print(pool.map(beside.where, [1]))\n"
    )
    other = tmp_path / "elsewhere"
    other.mkdir()
    assert run([sys.executable, "../script.py"], other) == "[(1, 'beside')]\n"


def test_the_main_module_runs_once(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("with open('runs', 'a') as file: file.write('x')\n" + program(launcher))
    run([sys.executable, "script.py"], tmp_path)
    assert (tmp_path / "runs").read_text() == "x"


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        env = {**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
        # Only a terminal that controls its program turns Ctrl-C into an interrupt.
        control = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", control, *command], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=env
        )
        os.close(theirs)
        self.shown = ""

    def expect(self, pattern: str, seconds: float = 20) -> None:
        limit = time.monotonic() + seconds
        while not re.search(pattern, self.shown):
            left = limit - time.monotonic()
            assert left > 0, f"{pattern!r} did not appear in:\n{self.shown}"
            if select.select([self._ours], [], [], left)[0]:
                self.shown += os.read(self._ours, 65536).decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(10)
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path: Path):
    opened: list[Terminal] = []

    def open_one(*command: str) -> Terminal:
        opened.append(Terminal(list(command), tmp_path))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_a_prompt(launcher: str, terminal: Callable[..., Terminal]) -> None:
    prompt = terminal(sys.executable, "-q", "-i")
    prompt.expect(">>> $")
    for number, line in enumerate(program(launcher).splitlines()):
        # A marker after each line tells when the prompt has taken it.
        prompt.shown = prompt.shown if number else ""
        prompt.type(line + "\n")
        prompt.expect(re.escape(line.strip()[-10:]) + r"[\s\S]*(>>> |\.\.\. )$" if line else r"(>>> |\.\.\. )$")
        if line.startswith("    ") and not program(launcher).splitlines()[number + 1].startswith("    "):
            prompt.type("\n")
            prompt.expect(r">>> $")
    prompt.expect("five .*\n")
    assert answers(prompt.shown) == EXPECTED
    prompt.type("exit()\n")
    assert prompt.process.wait(15) == 0


def test_ctrl_c_on_a_terminal_ends_a_map_once_and_the_next_map_works(terminal: Callable[..., Terminal]) -> None:
    prompt = terminal(sys.executable, "-q", "-i")
    prompt.expect(">>> $")
    prompt.type("import time; from anypool import get_pool; pool = get_pool('process:2')\n")
    prompt.type("print('up', pool.map(abs, [-1]))\n")
    prompt.expect(r"up \[1\]")
    prompt.type("_ = print('be' + 'gun'), pool.map(time.sleep, [100] * 4)\n")
    prompt.expect("begun")
    prompt.type("\x03")
    prompt.expect("KeyboardInterrupt[\\s\\S]*>>> $", 5)
    prompt.type("print('next', pool.map(abs, [-5]))\n")
    prompt.expect(r"next \[5\]")
    assert prompt.shown.count("KeyboardInterrupt") == 1
    prompt.type("exit()\n")
    assert prompt.process.wait(15) == 0


NOTEBOOK = """
import sys
from jupyter_client.manager import KernelManager

def note(message):
    content = message["content"]
    print(content.get("text", "") + "\\n".join(content.get("traceback", [])), end="")

kernel = KernelManager(kernel_name="python3")
kernel.start_kernel(extra_arguments=["--HistoryManager.enabled=False"])
client = kernel.blocking_client()
try:
    client.start_channels()
    client.wait_for_ready(timeout=40)
    definitions, _, use = sys.stdin.read().partition("pool = ")
    for cell in (definitions, "pool = " + use):
        client.execute_interactive(cell, timeout=40, output_hook=note)
finally:
    client.stop_channels()
    kernel.shutdown_kernel(now=True)
"""


def test_a_notebook(launcher: str, tmp_path: Path) -> None:
    # The client leaves an event loop in its process, so it gets one of its own.
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        cwd=tmp_path, input=program(launcher), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert answers(done.stdout) == EXPECTED, done.stdout + done.stderr


def test_a_module_that_maps_while_it_is_imported_is_refused_by_workers(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        "from anypool import get_pool\n"
        "def f(x):\n    return x + 1\n"
        f"pool = get_pool({launcher!r})\n"
        "print(pool.map(f, range(3)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import careless"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    if launcher.startswith(("serial", "thread")):
        assert (done.stdout, done.stderr) == ("[1, 2, 3]\n", "")
    else:
        assert "RuntimeError: a module maps over processes while a worker is importing it" in done.stderr


def test_an_imported_module_may_make_a_pool_for_its_functions(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "careful.py").write_text(
        "from anypool import get_pool\n"
        f"pool = get_pool({launcher!r}, oversubscribe=True)\n"
        "def f(x):\n    return x + 1\n"
        "def both(x):\n    return pool.map(f, [x, x])\n"
    )
    code = "import careful; print(careful.pool.map(careful.both, [1, 2]), careful.pool.map(careful.f, [1]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr) == ("[[2, 2], [3, 3]] [2]\n", "")


@pytest.mark.parametrize("launcher", ["process:1", "thread:1"])
def test_a_command_whose_folder_is_gone(launcher: str, tmp_path: Path) -> None:
    (folder := tmp_path / "gone").mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from anypool import get_pool; "
    code += "print(get_pool(sys.argv[1]).map(lambda x: x + 1, [1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, launcher], cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.stdout, done.stderr) == ("[2]\n", "")
