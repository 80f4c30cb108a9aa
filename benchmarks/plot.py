"""The report as a picture: a row for each workload, a mark for each peer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from benchmarks.peers import OURS
from benchmarks.report import compare
from benchmarks.runner import Record
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.base import BEST

_MARKS = "osD^vP*X<>"


def draw(records: Sequence[Record], path: str) -> None:
    """Write the picture; raises ImportError where matplotlib is missing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    peers = list(dict.fromkeys(peer for record in records for peer in record.pairs))
    figure, axes = plt.subplots(figsize=(11, 1.5 + 0.42 * len(records)), layout="constrained")
    for peer, mark, color in zip(peers, itertools.cycle(_MARKS), itertools.cycle(plt.get_cmap("tab10").colors)):
        for height, record in enumerate(records):
            for ratio in [found.ratio for found in compare(record) if found.peer == peer]:
                axes.plot([ratio.least, ratio.most], [height, height], color=color, alpha=0.35, linewidth=2)
                axes.plot(ratio.median, height, mark, color=color)
        axes.plot([], [], mark, color=color, label=peer)
    for height, record in enumerate(records):
        goals = [target.at_least for target in WORKLOADS[record.workload].targets if target.against == BEST]
        axes.plot(goals, [height] * len(goals), "|", color="black", markersize=16)
    axes.plot([], [], "|", color="black", markersize=12, label="target against the best peer")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(records)), [record.workload for record in records])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"how many times as good as the peer {OURS} is: median of interleaved pairs, least to greatest")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=130)
    plt.close(figure)
