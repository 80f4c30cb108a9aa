"""The benchmarks run from start to end; what they measure is nobody's business here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ["multiprocessing", "concurrent.futures"]
QUICK = [sys.executable, "-m", "benchmarks", "--quick", "--peers", ",".join(PEERS)]
LIMIT = 60  # seconds; it takes a fraction


@pytest.mark.slow
def test_a_quick_run_against_the_standard_library_leaves_json_and_a_table(tmp_path):
    # Not under measurement by coverage: it would start in each of the many short processes.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [*QUICK, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "results.json").read_text())
    records = {record["workload"]: record for record in seen["workloads"]}
    assert {"map-100k", "round-trip", "arrays-in", "start-up", "import"} <= set(records)
    assert {name: record["notes"] for name, record in records.items() if record["notes"]} == {}
    assert all(len(records["map-100k"]["pairs"][peer]) == 1 for peer in PEERS)
    assert (tmp_path / "table.txt").read_text().splitlines()[0].startswith("workload")
    assert "start-up" in done.stdout
