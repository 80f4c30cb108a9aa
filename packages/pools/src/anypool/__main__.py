"""The command `anypool`, also `python -m anypool`."""

from __future__ import annotations

import argparse
import os
import sys
from io import TextIOWrapper
from typing import Any

from anypool._errors import AnypoolError, LauncherUnavailable

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0, or 1 with what is wrong on stderr, or 2 for a command that isn't understood."""
    parser = argparse.ArgumentParser(prog="anypool", description="One map, from serial to every core of a machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("backends", help="list the launchers, and whether each can run here")
    commands.add_parser("doctor", help="tell what a bug report needs, and whether something is wrong here")
    plan = commands.add_parser("plan", help="show the plan that holds here, who says so, and its workers")
    plan.add_argument("levels", nargs="*", metavar="LEVEL", help="show this one instead, as get_pool takes it")
    _add_ppserver(commands)
    given = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # Paths and what plugins say may hold what a terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _COMMANDS[given.command](given)
        sys.stdout.flush()
    except AnypoolError as error:
        print(f"anypool: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Who reads it, as `head`, has seen enough; nothing is to be flushed at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _add_ppserver(commands: Any) -> None:
    server = commands.add_parser("ppserver", help="serve workers of ppft to pools of parallel-python")
    server.add_argument("--workers", type=int, help="how many; by default the CPUs that it may use")
    server.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    server.add_argument(
        "--port", type=int, default=0, help="where to listen; 0, the default, for any, which is printed"
    )
    server.add_argument("--secret-file", help="with the secret, mode 0600; else it is in ANYPOOL_PPFT_SECRET")
    server.add_argument("--exit-after", type=float, metavar="SECONDS", help="end when no pool was there for so long")
    server.add_argument("--pid-file", help="where to write the process id; SIGUSR1 to it prints what was done")
    server.add_argument("--discover", action="store_true", help="say on the UDP port of that number that it is there")
    server.add_argument("--trust-network", action="store_true", help="listen beyond this machine, unencrypted")


def _ppserver(given: argparse.Namespace) -> int:
    from anypool.launchers.parallel_python import ParallelPython

    if (why := ParallelPython.missing()) is not None:
        raise LauncherUnavailable(why)
    from anypool._ppft.serving import serve

    return serve(given)


def _backends(_: argparse.Namespace) -> int:
    from anypool._backends import backends

    rows = [
        (backend.name, backend.version, backend.distribution, "runs here" if backend.runs else f"no: {backend.why}")
        for backend in backends()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(" ".join(cell.split()).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from anypool._doctor import doctor

    return doctor()


def _plan(given: argparse.Namespace) -> int:
    from anypool._show import show

    for line in show(given.levels):
        print(line)
    return 0


_COMMANDS = {"backends": _backends, "doctor": _doctor, "plan": _plan, "ppserver": _ppserver}

if __name__ == "__main__":
    sys.exit(main())
