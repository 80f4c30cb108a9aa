"""The command `anypool`, also `python -m anypool`."""

from __future__ import annotations

import argparse
import os
import sys
from io import TextIOWrapper

from anypool._errors import AnypoolError

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0, or 1 with what is wrong on stderr, or 2 for a command that isn't understood."""
    parser = argparse.ArgumentParser(prog="anypool", description="One map, from serial to every core of a machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("backends", help="list the launchers, and whether each can run here")
    commands.add_parser("doctor", help="tell what a bug report needs, and whether something is wrong here")
    plan = commands.add_parser("plan", help="show the plan that holds here, who says so, and its workers")
    plan.add_argument("levels", nargs="*", metavar="LEVEL", help="show this one instead, as get_pool takes it")
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


_COMMANDS = {"backends": _backends, "doctor": _doctor, "plan": _plan}

if __name__ == "__main__":
    sys.exit(main())
