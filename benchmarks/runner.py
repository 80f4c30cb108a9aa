"""Measure workload after workload, each in a process of its own, and collect what was seen."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cell import Order
from benchmarks.meter import Sample
from benchmarks.peers import OURS
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.base import Workload

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SMALL_PART = 0.02


@dataclass(frozen=True)
class Settings:
    peers: list[str]
    workers: int
    rounds: int
    budget: float
    limit: float
    scale: float = 1.0
    log: str = os.devnull  # a file for what libraries print, which after a cut is a lot


@dataclass
class Record:
    """What was seen of one workload: pairs of ours and theirs, and why a peer has none."""

    workload: str
    pairs: dict[str, list[tuple[Sample, Sample]]] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        pairs = {
            peer: [{"ours": ours.plain(), "theirs": theirs.plain()} for ours, theirs in seen]
            for peer, seen in self.pairs.items()
        }
        return {**vars(self), "pairs": pairs}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Record:
        pairs = {
            peer: [(Sample.of(pair["ours"]), Sample.of(pair["theirs"])) for pair in seen]
            for peer, seen in plain["pairs"].items()
        }
        return cls(**{**plain, "pairs": pairs})


def measure(workload: Workload, settings: Settings) -> Record:
    """A peer that is cut is measured again on a small part of the work, and left out if that is cut too."""
    record = Record(workload.name)
    begun = time.monotonic()
    peers = [name for name in settings.peers if workload.peers is None or name in workload.peers]
    peers += [name for name in workload.peers or () if name.endswith("-spawn") and name not in peers]
    while peers:
        record.pairs = {}
        cut = _attempt(workload, settings, peers, record)
        if cut is None:
            break
        if cut == OURS:
            record.notes[OURS] = f"took more than {settings.limit:g} s and was cut"
            break
        if cut in record.parts:
            record.notes[cut] = f"took more than {settings.limit:g} s even for {record.parts[cut]:.2g} of the work"
            peers.remove(cut)
        else:
            record.parts[cut] = _SMALL_PART
    record.seconds = time.monotonic() - begun
    return record


def _attempt(workload: Workload, settings: Settings, peers: list[str], record: Record) -> str | None:
    """Fill the record; returns who was cut, or stood still without noticing."""
    order = Order(
        workload.name,
        peers,
        settings.workers,
        settings.rounds,
        settings.budget,
        settings.limit,
        settings.scale,
        record.parts,
    )
    command = [sys.executable, "-m", "benchmarks.cell", order.text()]
    running, patience = "", 0.0
    # Or every process that starts would compile its modules again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with (
        open(settings.log, "ab") as log,
        subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            for event in _events(process, settings.limit * 2 + 30):
                if "begin" in event:
                    running = event["begin"]
                elif "pair" in event:
                    pair = Sample.of(event["ours"]), Sample.of(event["theirs"])
                    record.pairs.setdefault(event["pair"], []).append(pair)
                elif "part" in event:
                    record.parts[event["part"]] = event["value"]
                elif "failed" in event:
                    record.notes[event["failed"]] = event["text"]
                elif "cut" in event:
                    return str(event["cut"])
                elif "done" in event:
                    # Its pools are still to be closed; not so after Ctrl-C.
                    patience = settings.limit
                    return None
            if not running:
                record.notes[OURS] = "the measuring process ended before it began"
                return None
            return running
        finally:
            _end(process, patience)


def _events(process: subprocess.Popen[bytes], patience: float) -> Iterator[dict[str, Any]]:
    """The lines of the process; ends when it does, or when nothing came for so many seconds."""
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    while select.select([descriptor], [], [], patience)[0]:
        data = os.read(descriptor, 1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (json.loads(line) for line in lines)


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def measure_all(names: list[str], settings: Settings) -> Iterator[Record]:
    """One record after the other, as they are finished."""
    for name in names:
        yield measure(WORKLOADS[name], settings)
