"""Which number of latents each score chooses, beside the number there is: table and figure of a study of dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.evaluation.dimension import DimensionScore, choice_interval, choose
from neuroinf.evaluation.figures import style

# score: how it is called
SCORES = {
    "reconstruction": "reconstruction, all seen",
    "entries": "hidden entries",
    "neurons": "hidden neurons",
    "rates": "noise-free rates",
}


def values_of(scores: Sequence[DimensionScore], score: str) -> NDArray[np.float64]:
    """One kind of score of each dimension in each block (dimensions, blocks)."""
    return np.array([getattr(each, score) for each in scores], np.float64)


def choices(scores: Sequence[DimensionScore]) -> dict[str, dict[str, Any]]:
    """What each kind of score chooses: "dimension" by the rule, its "interval" over resampled blocks, and the "best"."""
    dimensions, found = [each.dimension for each in scores], {}
    for score in known(scores):
        values = values_of(scores, score)
        choice = choose(dimensions, values)
        interval = choice_interval(dimensions, values, np.random.default_rng(0))
        found[score] = {"dimension": choice.dimension, "best": choice.best, "interval": list(interval)}
    return found


def known(scores: Sequence[DimensionScore]) -> list[str]:
    """Kinds of scores that all have."""
    return [score for score in SCORES if all(getattr(each, score) is not None for each in scores)]


def dimension_table(
    origin: str, found: Mapping[str, Sequence[DimensionScore]], seconds: Mapping[str, Mapping[int, float]]
) -> str:
    """Mean scores and standard errors over blocks, and what each chooses."""
    lines = [f"explained variance (standard error): {origin}"]
    for method, scores in found.items():
        shown, choice = known(scores), choices(scores)
        lines += ["", method, "  latents" + "".join(f"{SCORES[score]:>26}" for score in shown) + "   seconds"]
        for each in scores:
            cells = []
            for score in shown:
                values = np.array(getattr(each, score))
                cells.append(f"{values.mean():.4f} ({values.std(ddof=1) / np.sqrt(len(values)):.4f})")
            taken = seconds[method][each.dimension]
            lines.append(f"  {each.dimension:>7}" + "".join(f"{cell:>26}" for cell in cells) + f"{taken:>10.1f}")
        rule = {s: "{} [{}, {}]".format(c["dimension"], *c["interval"]) for s, c in choice.items()}
        lines.append("     best" + "".join(f"{choice[score]['best']:>26}" for score in shown))
        lines.append("   one SE" + "".join(f"{rule[score]:>26}" for score in shown))
    lines += [
        "",
        "one SE: the smallest number of latents within a standard error of the best; in brackets its 5 and 95 % quantiles over",
        "resampled blocks. Noise-free rates are known to simulations only.",
    ]
    return "\n".join(lines)


def dimension_figure(found: Mapping[str, Sequence[DimensionScore]], truth: int | None) -> Figure:
    """Scores against dimension, a panel for each method; the true dimension is the vertical line."""
    figure = Figure(figsize=(4.0 * len(found), 3.6), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    ticks = sorted({each.dimension for scores in found.values() for each in scores})
    for ax, (method, scores) in zip(axes, found.items(), strict=True):
        dimensions = [each.dimension for each in scores]
        for k, score in enumerate(s for s in known(scores) if s != "rates"):
            values = values_of(scores, score)
            error = values.std(1, ddof=1) / np.sqrt(values.shape[1])
            choice = choose(dimensions, values).dimension
            ax.errorbar(dimensions, values.mean(1), error, label=f"{SCORES[score]}: {choice}", capsize=2, **style(k))
        if truth is not None:
            ax.axvline(truth, color="0.5", linestyle=":", label=f"there are {truth}")
        ax.axhline(0, color="0.7", linewidth=0.8)
        ax.set(title=method, xlabel="latents", xscale="log")
        ax.set_xticks(ticks, [str(d) for d in ticks])
        ax.minorticks_off()
        ax.legend(fontsize=7, loc="lower right", title="score: it chooses", title_fontsize=7)
    axes[0].set_ylabel("explained variance of held-out time")
    return figure
