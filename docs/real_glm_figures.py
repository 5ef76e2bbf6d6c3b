"""The figures of docs/real_glm.md, from what benchmarks/real_glm.py wrote.

python docs/real_glm_figures.py [--grasshopper FILE] [--ca1 FILE ...]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "figures"
LOOKS = {"maximum likelihood": ("black", "-"), "amortized": ("#c1440e", "--")}
WIDTH = 1.96  # sds of a 95 % interval
BANDS = {"1": "modulation to 200 Hz", "2": "modulation to 800 Hz"}
SHOWN = ("without hidden drive, longer history", "white hidden drive", "hidden drive with memory",
         "oracle: hidden units seen", "oracle, hidden drive with memory")  # fmt: skip


def grasshopper(report: dict[str, Any]) -> Figure:
    """Filters of either recording, what every method predicts, and the hidden drive."""
    figure, axes = plt.subplots(2, 4, figsize=(15, 6.8), width_ratios=(1, 1, 1.2, 1.5), layout="constrained")
    for row, (number, band) in zip(axes, BANDS.items(), strict=True):
        entry = report[number]
        for ax, kind, basis in ((row[0], "w", "filters"), (row[1], "a", "history")):
            kernels = np.array(report["kernels"][basis])
            columns = [i for i, name in enumerate(entry["names"]) if name.startswith(kind)]
            # lag 0 of a history basis is the bin before
            lag = np.arange(kernels.shape[1]) + (kind == "a")
            for method, (colour, line) in LOOKS.items():
                if method not in entry["methods"]:
                    continue
                fold = entry["methods"][method]["folds"][0]
                weights = np.array(fold["coefficients"])[columns]
                covariance = np.array(fold["covariance"])[np.ix_(columns, columns)]
                middle, sd = weights @ kernels, np.sqrt(np.einsum("jl,jk,kl->l", kernels, covariance, kernels))
                ax.plot(lag, middle, line, color=colour, label=method)
                ax.fill_between(lag, middle - WIDTH * sd, middle + WIDTH * sd, color=colour, alpha=0.2, linewidth=0)
            ax.axhline(0, color="0.6", linewidth=0.8)
            ax.set_xlabel("time before the bin (ms)")
        row[0].set_ylabel(f"{band}\ndrive per 6 dB")
        row[0].set_title("sound level" if number == "1" else "")
        row[1].set_ylabel("drive per spike")
        row[1].set_title("own spikes" if number == "1" else "")
        row[1].set(xlim=(0, 60), ylim=(-7, 2))
        if number == "1":
            row[0].legend(fontsize=8, loc="lower left")
        _drive(row[2], entry)
        _bars(row[3], entry["methods"])
    return figure


def _drive(ax: Axes, entry: dict[str, Any]) -> None:
    """The hidden drive from the quarters that were fitted, and the rate."""
    fold = entry["methods"]["hidden drive with memory"]["folds"][0]
    mean, sd = fold["weight"] * np.array(fold["drive"]), fold["weight"] * np.array(fold["drive_sd"])
    time = np.arange(len(mean)) / 1000
    ax.plot(time, mean, color="black", linewidth=1.0)
    ax.fill_between(time, mean - WIDTH * sd, mean + WIDTH * sd, color="black", alpha=0.2, linewidth=0)
    for start in (2.5, 7.5):
        ax.axvspan(start, start + 2.5, color="0.9", zorder=0)
    ax.set(xlabel="time (s); shaded: held out", ylabel="hidden drive, 95 %", xlim=(0, time[-1]))
    rate = ax.twinx()
    rate.stairs(entry["spikes_per_second"], np.arange(len(entry["spikes_per_second"]) + 1), color="#c1440e")
    rate.set_ylabel("spikes per second", color="#c1440e")
    rate.set_ylim(0, 140)


def _bars(ax: Axes, methods: dict[str, Any]) -> None:
    for i, entry in enumerate(methods.values()):
        low, high = entry["interval"]
        ax.plot([low, high], [i, i], color="0.3")
        ax.plot(entry["bits"], i, "o", color="black")
    ax.axvline(0, color="0.4", linestyle=":")
    ax.axvline(methods["maximum likelihood"]["bits"], color="0.4", linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(methods)), list(methods), fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("held-out bits per spike, 95 %\n(dotted: constant rate;\ndashed: maximum likelihood)")


def ca1(reports: Sequence[dict[str, Any]]) -> Figure:
    """Unit by unit: with the hidden drive against without, and what each method adds."""
    targets = [target for report in reports for target in report["targets"]]
    figure, (scatter, steps) = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(1, 1.5), layout="constrained")
    base = _bits(targets, "without hidden drive")
    for name, marker, face in (("hidden drive with memory", "o", "black"), ("oracle: hidden units seen", "s", "none")):
        scatter.plot(base, _bits(targets, name), marker, color="black", markerfacecolor=face, markersize=5, label=name)
    ends = [min(0.0, base.min()), max(base.max(), _bits(targets, "hidden drive with memory").max()) + 0.1]
    scatter.plot(ends, ends, color="0.6", linewidth=0.8)
    scatter.axhline(0, color="0.4", linestyle=":")
    scatter.axvline(0, color="0.4", linestyle=":")
    scatter.set(xlabel="without hidden drive (bits per spike)", ylabel="bits per spike, held out", aspect="equal")
    scatter.set_title("one point: one unit; dotted: constant rate", fontsize=10)
    scatter.legend(fontsize=8)
    rng = np.random.default_rng(0)
    for i, name in enumerate(SHOWN):
        difference = _bits(targets, name) - base
        steps.plot(difference, i + rng.uniform(-0.15, 0.15, len(difference)), "o", color="0.6", markersize=3)
        drawn = difference[rng.integers(0, len(difference), (5000, len(difference)))].mean(1)
        steps.plot(np.quantile(drawn, [0.025, 0.975]), [i, i], color="black", linewidth=2)
        steps.plot(difference.mean(), i, "D", color="black")
    steps.axvline(0, color="0.4", linestyle="--")
    steps.set_yticks(range(len(SHOWN)), SHOWN)
    steps.invert_yaxis()
    steps.set_xlabel(
        "held-out bits per spike more than without hidden drive\n(dots: units; diamond: mean over units, 95 %)"
    )
    return figure


def _bits(targets: Sequence[dict[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([target[name]["bits"] for target in targets])


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grasshopper", type=Path)
    parser.add_argument("--ca1", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    if options.grasshopper is not None:
        grasshopper(json.loads(options.grasshopper.read_text())).savefig(FOLDER / "real_glm_grasshopper.png", dpi=110)
    if options.ca1:
        ca1([json.loads(file.read_text()) for file in options.ca1]).savefig(FOLDER / "real_glm_ca1.png", dpi=110)


if __name__ == "__main__":
    main()
