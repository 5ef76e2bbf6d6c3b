"""The results of networks trained side by side: by kind, over its replicates, beside what others have reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Spread:
    """How the replicates of one kind of network ended up.

    Attributes:
        replicates: Their number.
        mean, sd, median, low, high, least, most: Of their accuracies; low and high are the quartiles, sd that of a sample.
        stuck: Part of them whose accuracy is below a given one.
        loss: Median.
    """

    replicates: int
    mean: float
    sd: float
    median: float
    low: float
    high: float
    least: float
    most: float
    stuck: float
    loss: float


def spread(accuracy: ArrayLike, loss: ArrayLike, stuck_below: float) -> Spread:
    """Of accuracies and losses (N,).

    Args:
        accuracy: Of each replicate.
        loss: Of each replicate.
        stuck_below: Accuracy that is not worth the name.
    """
    a: NDArray[np.float64] = np.asarray(accuracy, np.float64)
    least, low, median, high, most = (float(q) for q in np.quantile(a, (0, 0.25, 0.5, 0.75, 1)))
    sd = float(a.std(ddof=1)) if len(a) > 1 else float("nan")
    stuck, middle = float((a < stuck_below).mean()), float(np.median(np.asarray(loss, np.float64)))
    return Spread(len(a), float(a.mean()), sd, median, low, high, least, most, stuck, middle)


def network_table(
    title: str,
    kinds: Sequence[str],
    spreads: Mapping[str, Spread],
    stuck_below: float,
    reported: Mapping[str, Mapping[str, float]],
) -> str:
    """A text table, a line for each kind.

    Args:
        title: What was measured, on what.
        kinds: In this order.
        spreads: Of each kind.
        stuck_below: As for :func:`spread`.
        reported: Further columns, by kind.
    """
    head = [
        "network",
        "n",
        "mean",
        "sd",
        "median",
        "quartiles",
        "min",
        "max",
        f"stuck (<{stuck_below:g})",
        "loss (median)",
    ]
    lines = [[*head, *reported]]
    for kind in kinds:
        s = spreads[kind]
        line = [kind, str(s.replicates), *(f"{v:.3f}" for v in (s.mean, s.sd, s.median)), f"{s.low:.3f}-{s.high:.3f}"]
        line += [f"{s.least:.3f}", f"{s.most:.3f}", f"{s.stuck:.2f}", f"{s.loss:.3f}"]
        lines.append(line + [f"{values[kind]:g}" if kind in values else "-" for values in reported.values()])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    ]
    return "\n".join([title, *rows])
