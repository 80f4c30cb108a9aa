"""A worker for the tests of the agent: runs Python source that comes down the task pipe, line by line."""

from __future__ import annotations

import os
import sys
import time

from anypool import _agents


def main(reader: int, writer: int) -> None:
    """Execute each line; `tell(text)` answers."""

    def tell(value: object) -> None:
        os.write(writer, f"{value}\n".encode())

    names = {
        "tell": tell,
        "os": os,
        "sys": sys,
        "time": time,
        "reader": reader,
        "writer": writer,
        "door": _agents._door,
    }
    with open(reader, encoding="utf-8", closefd=False) as tasks:
        for line in tasks:
            exec(line.replace("\\n", "\n"), names)
