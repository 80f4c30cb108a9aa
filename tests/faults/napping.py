"""Tasks that take their time, and the launchers on which nobody else has to wait for them."""

from __future__ import annotations

import time
from pathlib import Path

OTHER_PROCESSES = ["process:2", "multiprocess:2"]
ASYNCHRONOUS = ["thread:2", *OTHER_PROCESSES]


def nap(seconds):
    time.sleep(seconds)
    return seconds


def touch_and_nap(path, seconds):
    Path(path).touch()
    time.sleep(seconds)
