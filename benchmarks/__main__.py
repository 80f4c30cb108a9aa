"""The command line: measure, save, and show."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

from benchmarks.peers import OURS, PEERS
from benchmarks.plot import draw
from benchmarks.runner import Record, Settings, measure_all
from benchmarks.table import all_peers, table
from benchmarks.workloads import WORKLOADS

_HERE = os.path.dirname(os.path.abspath(__file__))
# Rounds, seconds for a workload, seconds for a measurement, share of the full size.
_FULL = (7, 60.0, 20.0, 1.0)
_QUICK = (1, 1.0, 5.0, 0.004)


def _listed(known: list[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"Measure {OURS} beside other libraries.")
    workloads, peers = list(WORKLOADS), list(PEERS)
    parser.add_argument("--only", type=_listed(workloads), default=workloads, help="workloads, separated by commas")
    parser.add_argument("--peers", type=_listed(peers), default=peers, help="libraries, separated by commas")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="at most; slow peers get fewer, though at least three")
    parser.add_argument("--budget", type=float, help="seconds for the rounds of a workload")
    parser.add_argument("--limit", type=float, help="seconds after which one measurement is cut")
    parser.add_argument("--quick", action="store_true", help="a fraction of the size, one round: does it run at all?")
    parser.add_argument("--out", default=os.path.join(_HERE, "results"), help="folder for what is written")
    parser.add_argument("--list", action="store_true", help="print the workloads and end")
    parser.add_argument("--show", metavar="JSON", help="print the table of an earlier run, and draw it again")
    return parser.parse_args()


def _settings(given: argparse.Namespace) -> Settings:
    rounds, budget, limit, scale = _QUICK if given.quick else _FULL
    return Settings(
        given.peers,
        given.workers,
        given.rounds or rounds,
        given.budget or budget,
        given.limit or limit,
        scale,
        os.path.join(given.out, "log.txt"),
    )


def _machine() -> dict[str, Any]:
    versions = {}
    for name in (OURS, *PEERS, "numpy", "cloudpickle", "dill"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def _save(folder: str, seen: dict[str, Any], records: list[Record]) -> None:
    seen["load_after"] = os.getloadavg()[0]
    seen["workloads"] = [record.plain() for record in records]
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump(seen, file, indent=1)
    with open(os.path.join(folder, "table.txt"), "w", encoding="utf-8") as file:
        file.write(table(records) + "\n")


def _draw(folder: str, records: list[Record]) -> None:
    try:
        draw(records, os.path.join(folder, "ratios.png"))
    except ImportError as error:
        print(f"no plot: {error}", file=sys.stderr)


def main() -> int:
    """0, or 1 where something of ours could not be measured."""
    given = _arguments()
    if given.list:
        print("\n".join(f"{name:<20}{workload.title}" for name, workload in WORKLOADS.items()))
        return 0
    if given.show:
        with open(given.show, encoding="utf-8") as file:
            records = [Record.of(plain) for plain in json.load(file)["workloads"]]
    else:
        os.makedirs(given.out, exist_ok=True)
        seen = {**_machine(), "settings": vars(_settings(given))}
        records = []
        for record in measure_all(given.only, _settings(given)):
            print(all_peers(record), end="\n\n", file=sys.stderr, flush=True)
            records.append(record)
            # Written each time: a run takes long and may be interrupted.
            _save(given.out, seen, records)
    print(table(records))
    _draw(os.path.dirname(os.path.abspath(given.show)) if given.show else given.out, records)
    return int(any(OURS in record.notes for record in records))


if __name__ == "__main__":
    sys.exit(main())
