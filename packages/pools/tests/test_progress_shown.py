"""What people see of progress: in a terminal, in a notebook, and in a file."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time

import nbclient
import nbformat
import pyte
import pytest

LIMIT = 60  # seconds
ROWS, COLUMNS = 24, 80
PRELUDE = """\
import os, sys, time
import anypool
def wait_for(name):
    limit = time.monotonic() + 30
    while not os.path.exists(name) and time.monotonic() < limit:
        time.sleep(0.01)
"""
# Three tasks whose bars stand still until a file is there.
STANDING = """
def read(n):
    with anypool.progress(10, f"file {n}") as bar:
        bar.update(n)
        time.sleep(0.7)
        bar.update()
        wait_for("go")
    return n
with anypool.get_pool("LAUNCHER:3", oversubscribe=True) as pool:
    print(pool.map(read, range(3), progress=STYLE))
"""


def program(text, launcher="thread", style="True"):
    return PRELUDE + textwrap.dedent(text).replace("LAUNCHER", launcher).replace("STYLE", style)


def environment():
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANYPOOL_", "TQDM_"))}
    return {**env, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Terminal:
    """A program in a terminal, and what is to be seen there."""

    def __init__(self, text, folder):
        (folder / "script.py").write_text(text)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "script.py"], stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment()
        )
        os.close(slave)
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(LIMIT)
        os.close(self._master)

    @property
    def lines(self):
        return [line.rstrip() for line in self._screen.display if line.strip()]

    @property
    def cursor_is_hidden(self):
        return self._screen.cursor.hidden

    def until(self, condition):
        limit = time.monotonic() + LIMIT
        while not condition(self.lines):
            assert time.monotonic() < limit, "\n".join(self.lines)
            assert self._read(), "\n".join(self.lines)

    def to_its_end(self):
        while self._read():
            pass
        assert self.process.wait(LIMIT) == 0, "\n".join(self.lines)
        return self.lines

    def _read(self):
        """Whether there may be more."""
        if not select.select([self._master], [], [], LIMIT)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self._stream.feed(data)
        return bool(data)


def has(lines, *patterns):
    return len(lines) == len(patterns) and all(map(re.search, patterns, lines))


def bars_of(lines):
    return sorted(line for line in lines if line.startswith("file"))


@pytest.mark.parametrize("style", ["True", "'tqdm'", "'rich'"])
def test_a_terminal_shows_the_map_and_a_line_for_each_task_and_keeps_only_the_map(style, tmp_path):
    with Terminal(program(STANDING, style=style), tmp_path) as terminal:
        terminal.until(
            lambda lines: (
                len(lines) == 4
                and re.match(r"read\b.* 0/3 ", lines[0])
                and has(bars_of(lines), r"^file 0\b.* 1/10", r"^file 1\b.* 2/10", r"^file 2\b.* 3/10")
            )
        )
        (tmp_path / "go").touch()
        assert has(terminal.to_its_end(), r"^read\b.* 3/3 ", r"^\[0, 1, 2\]$")
        assert not terminal.cursor_is_hidden


def test_what_is_printed_around_bars_stands_above_them_in_whole_lines(tmp_path):
    text = """
    from anypool._progress import around_output
    with anypool.progress(5, "bar") as bar:
        for n in range(5):
            time.sleep(0.15)
            bar.update()
            for stream in (sys.stdout, sys.stderr):
                with around_output():
                    stream.write(f"line {n} of {stream.name}\\n")
                    stream.flush()
        wait_for("go")
    """
    with Terminal(program(text), tmp_path) as terminal:
        said = [f"line {n} of <{name}>" for n in range(5) for name in ("stdout", "stderr")]
        terminal.until(lambda lines: lines[:-1] == said and re.match("bar: .* 5/5 ", lines[-1]))
        (tmp_path / "go").touch()
        *lines, bar = terminal.to_its_end()
        assert (lines, bar[:9]) == (said, "bar: 100%")


@pytest.mark.parametrize("style", ["True", "'rich'"])
@pytest.mark.parametrize("launcher", ["thread", "process"])
def test_what_tasks_and_the_caller_print_stands_above_the_bars(launcher, style, tmp_path):
    text = """
    def task(n):
        with anypool.progress(10, f"file {n}") as bar:
            bar.update(3)
            time.sleep(0.7)
            bar.update(3)
            print("task", n, "prints", end="\\n")
            sys.stderr.write(f"task {n} complains\\n") if "LAUNCHER" == "process" else None
            wait_for("go")
        return n
    with anypool.get_pool("LAUNCHER:2", oversubscribe=True) as pool:
        results = pool.imap(task, range(2), progress=STYLE)
        for n in results:
            print("result", n)
    print("end", sys.stdout is sys.__stdout__)
    """
    count = 2 if launcher == "thread" else 4
    with Terminal(program(text, launcher, style), tmp_path) as terminal:
        # Above the bars.
        terminal.until(
            lambda lines: len(bars_of(lines)) == 2 and all(re.match(r"task \d \w+s$", line) for line in lines[:count])
        )
        (tmp_path / "go").touch()
        lines = terminal.to_its_end()
    said = ["result 0", "result 1", "task 0 prints", "task 1 prints"]
    if launcher == "process":
        said += ["task 0 complains", "task 1 complains"]
    bars = [line for line in lines if line not in said]
    assert (sorted(set(lines) & set(said)), len(lines)) == (sorted(said), len(said) + 2)
    assert has(bars, r"^task\b.* 2/2 ", "^end True$")


def test_of_many_tasks_a_terminal_shows_twenty_at_a_time_and_none_afterwards(tmp_path):
    text = """
    def task(n):
        with anypool.progress(10, f"file {n}") as bar:
            for _ in range(3):
                time.sleep(0.3)
                bar.update()
            wait_for("go" if n < 30 else "here")
    open("here", "w").close()
    with anypool.get_pool("thread:30") as pool:
        pool.map(task, range(45), progress=True)
    """
    with Terminal(program(text), tmp_path) as terminal:
        terminal.until(lambda lines: len(bars_of(lines)) == 19)
        assert len(terminal.lines) == 20
        (tmp_path / "go").touch()
        assert has(terminal.to_its_end(), r"^task: 100%.* 45/45 ")


@pytest.mark.parametrize("style", ["True", "'rich'"])
def test_a_map_that_fails_leaves_its_bar_where_it_stood_and_the_error_below(style, tmp_path):
    text = """
    def task(n):
        with anypool.progress(10, "file") as bar:
            time.sleep(0.6)
            bar.update()
            raise ValueError("no such row")
    try:
        with anypool.get_pool("thread:1") as pool:
            pool.map(task, range(9), progress=STYLE)
    except ValueError as error:
        print("failed:", error)
    """
    with Terminal(program(text, style=style), tmp_path) as terminal:
        assert has(terminal.to_its_end(), r"^task\b.* 0/9 ", r"^failed: no such row$")
        assert not terminal.cursor_is_hidden


@pytest.mark.parametrize("style", ["'tqdm'", "'rich'"])
@pytest.mark.parametrize("launcher", ["thread", "process"])
def test_an_interrupt_leaves_the_bar_of_the_map_only(launcher, style, tmp_path):
    text = """
    def task(n):
        with anypool.progress(1000, f"file {n}") as bar:
            while not os.path.exists("go"):
                time.sleep(0.05)
                bar.update()
    try:
        with anypool.get_pool("LAUNCHER:3", oversubscribe=True) as pool:
            pool.map(task, range(9), progress=STYLE)
    except KeyboardInterrupt:
        print("interrupted")
    """
    with Terminal(program(text, launcher, style), tmp_path) as terminal:
        terminal.until(lambda lines: len(bars_of(lines)) == 3)
        terminal.process.send_signal(signal.SIGINT)
        assert has(terminal.to_its_end(), r"^task\b.* 0/9 ", r"^interrupted$")
        assert not terminal.cursor_is_hidden


@pytest.mark.parametrize("style", ["tqdm", "rich"])
def test_a_program_that_ends_with_a_bar_open_leaves_the_terminal_as_it_was(style, tmp_path):
    text = f"""
    os.environ["ANYPOOL_PROGRESS"] = "{style}"
    bar = anypool.progress(10, "left")
    bar.update(3)
    raise SystemExit(0)
    """
    with Terminal(program(text), tmp_path) as terminal:
        assert has(terminal.to_its_end(), r"^left\b.* 3/10 ")
        assert not terminal.cursor_is_hidden


def redirected(text, folder):
    (folder / "script.py").write_text(text)
    with open(folder / "log", "wb") as log:
        done = subprocess.run(
            [sys.executable, "script.py"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=folder,
            env=environment(), timeout=LIMIT, check=True,
        )  # fmt: skip
    return done.stdout.decode(), (folder / "log").read_bytes()


def test_a_file_gets_plain_lines_and_none_of_what_draws(tmp_path):
    (tmp_path / "go").touch()
    out, log = redirected(program(STANDING), tmp_path)
    assert out == "[0, 1, 2]\n"
    assert re.fullmatch(rb"read: 100% 3/3 \[\d\d:\d\d<00:00, .{1,20}\]\n", log), log


def test_a_log_that_is_set_up_gets_records(tmp_path):
    (tmp_path / "go").touch()
    text = "import logging; logging.basicConfig(level='INFO', format='%(name)s %(levelname)s %(message)s')\n"
    _, log = redirected(text + program(STANDING), tmp_path)
    assert re.fullmatch(rb"anypool\.progress INFO read: 100% 3/3 \[.{1,40}\]\n", log), log


def executed(text, folder, **environ):
    """The outputs of a notebook of one cell, and the states of its widgets."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text)])
    client = nbclient.NotebookClient(
        notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env={**environment(), **environ})
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    return notebook.cells[0].outputs, [state["state"] for state in states.values()]


def streams(outputs, name):
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == name)


@pytest.mark.slow
def test_a_notebook_shows_widgets_which_are_full_at_the_end(tmp_path):
    (tmp_path / "go").touch()
    outputs, states = executed(program(STANDING), tmp_path)
    assert streams(outputs, "stdout") == "[0, 1, 2]\n"
    labels = [output.data["text/plain"].partition(":")[0] for output in outputs if output.output_type == "display_data"]
    assert labels[0] == "read"
    assert sorted(labels[1:]) == ["file 0", "file 1", "file 2"]
    (whole,) = (state for state in states if state.get("max") == 3.0)
    assert (whole["value"], whole["bar_style"]) == (3.0, "success")
    assert streams(outputs, "stderr").count("read") == 0


@pytest.mark.slow
def test_a_notebook_without_widgets_shows_text(tmp_path):
    (tmp_path / "go").touch()
    (tmp_path / "ipywidgets.py").write_text("raise ImportError('not here')")
    outputs, states = executed("import sys; sys.path.insert(0, '.')\n" + program(STANDING), tmp_path)
    assert streams(outputs, "stdout") == "[0, 1, 2]\n"
    said = streams(outputs, "stderr")
    assert "read: 100%|" in said
    assert "Warning" not in said
    assert states == []
