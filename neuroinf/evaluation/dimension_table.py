"""Which number of latents each score chooses, beside the number there is: table and figure of a study of dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from neuroinf.evaluation.figures import style

# score: how it is called, and how it chooses
SCORES = {
    "reconstruction": "reconstruction, all seen",
    "entries": "hidden entries",
    "neurons": "hidden neurons",
    "rates": "noise-free rates",
}
RESAMPLES = 2000

BlockScores = Mapping[int, Mapping[str, list[float]]]


@dataclass(frozen=True)
class Choice:
    """A dimension chosen.

    Attributes:
        best: With the highest mean score.
        within: The smallest whose score is within a standard error of the best's, by the difference of the two in each block.
        low: 5 % quantile of `within` over resampled blocks.
        high: 95 % quantile.
    """

    best: int
    within: int
    low: int
    high: int


def chosen(scores: BlockScores, score: str) -> Choice:
    """The dimension that a score chooses: the best, and the smallest not clearly worse.

    Args:
        scores: Of each dimension: each score's values in B blocks of time.
        score: Which.
    """
    dimensions = sorted(scores)
    values = np.array([scores[d][score] for d in dimensions])
    rng = np.random.default_rng(0)
    b = values.shape[1]
    again = [_within(values[:, rng.integers(0, b, b)]) for _ in range(RESAMPLES)]
    low, high = np.quantile(again, [0.05, 0.95], method="nearest")
    return Choice(
        dimensions[int(values.mean(1).argmax())],
        dimensions[_within(values)],
        dimensions[int(low)],
        dimensions[int(high)],
    )


def _within(values: np.ndarray) -> int:
    mean = values.mean(1)
    best = int(mean.argmax())
    difference = values[best] - values
    error = difference.std(1, ddof=1) / np.sqrt(values.shape[1])
    return int(np.argmax(difference.mean(1) <= error))


def dimension_table(origin: str, found: Mapping[str, BlockScores], seconds: Mapping[str, Mapping[int, float]]) -> str:
    """Mean scores and standard errors over blocks, and what each chooses."""
    lines = [f"explained variance (standard error): {origin}"]
    for method, scores in found.items():
        shown = [score for score in SCORES if score in next(iter(scores.values()))]
        lines += ["", method, "  latents" + "".join(f"{SCORES[score]:>26}" for score in shown) + "   seconds"]
        for d in sorted(scores):
            cells = []
            for score in shown:
                values = np.array(scores[d][score])
                cells.append(f"{values.mean():.4f} ({values.std(ddof=1) / np.sqrt(len(values)):.4f})")
            lines.append(f"  {d:>7}" + "".join(f"{cell:>26}" for cell in cells) + f"{seconds[method][d]:>10.1f}")
        for text, pick in (
            ("best", lambda c: f"{c.best}"),
            ("one SE", lambda c: f"{c.within} [{c.low}, {c.high}]"),
        ):
            lines.append(f"  {text:>7}" + "".join(f"{pick(chosen(scores, score)):>26}" for score in shown))
    lines += [
        "",
        "one SE: the smallest number of latents within a standard error of the best; in brackets its 5 and 95 % quantiles over",
        "resampled blocks. Noise-free rates are known to simulations only.",
    ]
    return "\n".join(lines)


def dimension_figure(found: Mapping[str, BlockScores], truth: int | None) -> Figure:
    """Scores against dimension, a panel for each method; the true dimension is the vertical line."""
    figure = Figure(figsize=(4.0 * len(found), 3.6), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for ax, (method, scores) in zip(axes, found.items(), strict=True):
        dimensions = sorted(scores)
        for k, (score, label) in enumerate((s, t) for s, t in SCORES.items() if s != "rates"):
            values = np.array([scores[d][score] for d in dimensions])
            error = values.std(1, ddof=1) / np.sqrt(values.shape[1])
            choice = chosen(scores, score).within
            ax.errorbar(dimensions, values.mean(1), error, label=f"{label}: {choice}", capsize=2, **style(k))
        if truth is not None:
            ax.axvline(truth, color="0.5", linestyle=":", label=f"there are {truth}")
        ax.axhline(0, color="0.7", linewidth=0.8)
        ax.set(title=method, xlabel="latents", xscale="log")
        ax.set_xticks(dimensions, [str(d) for d in dimensions])
        ax.minorticks_off()
        ax.legend(fontsize=7, loc="lower right", title="score: it chooses", title_fontsize=7)
    axes[0].set_ylabel("explained variance of held-out time")
    return figure
