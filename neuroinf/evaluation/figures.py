"""The figures of the report: axes with units, the baseline always drawn, legible without colour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from scipy import stats

from neuroinf.evaluation.calibration import coverage_curve
from neuroinf.evaluation.comparison import Comparison
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.metrics import SIGNIFICANCE, nrmse, r2
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]

# Markers and dashes differ as well as colours (Okabe & Ito's palette), so that greyscale print keeps them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
BASELINE: dict[str, Any] = {"color": "0.35", "linestyle": "--", "linewidth": 1.2}
_MOST_POINTS = 2000


def recovery(truth: FloatArray, estimates: Estimates, prior: Prior) -> Figure:
    """Estimated against true value of each parameter, with the identity and the line of predicting the prior's mean."""
    figure, axes = panels(len(prior.names))
    shown = np.flatnonzero(estimates.answered)[:_MOST_POINTS]
    scores, mean = r2(truth, estimates.mean, prior), prior.from_unit(prior.unit_moments[0])
    for j, (ax, name, unit) in enumerate(zip(axes, prior.names, prior.units, strict=True)):
        low, high = prior.low[j], prior.high[j]
        ax.plot(truth[shown, j], estimates.mean[shown, j], ".", color=COLOURS[0], markersize=3, alpha=0.5)
        ax.plot([low, high], [low, high], color="black", linewidth=1, label="truth")
        ax.axhline(mean[j], **BASELINE, label="prior mean")
        scale = "log" if prior.is_log[j] else "linear"
        ax.set(xscale=scale, yscale=scale)
        if scale == "log":
            _plain_log_ticks(ax.xaxis)
            _plain_log_ticks(ax.yaxis)
        ax.set(xlabel=f"true {_labelled(name, unit)}", ylabel=f"estimated {name}")
        ax.set_title("R² undefined" if math.isnan(scores[j]) else f"R² = {scores[j]:.3f}", fontsize=10)
    axes[0].legend(fontsize=8, loc="upper left")
    missing = len(truth) - int(estimates.answered.sum())
    note = f", no answer for {missing} of {len(truth)} neurons" if missing else ""
    figure.suptitle(f"{estimates.method}: recovery of each parameter{note}", fontsize=11)
    return figure


def error_against_time(comparison: Comparison) -> Figure:
    """Error (nrmse, mean over parameters) against seconds per neuron: a line per method, a point per condition.

    A line goes from the shortest to the longest stretch, or from the least to the most noise, and on to missing channels.
    """
    conditions = sorted(comparison.conditions, key=lambda c: (len(c.missing), c.duration or 0.0, sum(c.noise.values())))
    figure, (ax,) = panels(1, width=7.5, height=4.8)
    floor = math.nan
    methods = dict.fromkeys(m for answers in comparison.estimates.values() for m in answers)
    for k, method in enumerate(methods):
        seconds, errors, labels, answered = [], [], [], 0
        for number, condition in enumerate(conditions, start=1):
            answer = comparison.estimates[condition.name].get(method)
            if answer is None:
                continue
            error = float(np.mean(nrmse(comparison.truth, answer.mean, comparison.prior)))
            if method == "prior_mean":
                floor = error
            elif answer.seconds_per_neuron is not None and math.isfinite(error):
                seconds.append(answer.seconds_per_neuron)
                errors.append(error)
                labels.append(number)
                answered = max(answered, int(answer.answered.sum()))
        if not errors:
            continue
        look = style(k - 1)
        label = method if answered == len(comparison.truth) else f"{method} ({answered} neurons)"
        ax.plot(seconds, errors, **look, label=label, markersize=7, linewidth=1, markerfacecolor="white")
        for x, y, text in _merged(seconds, errors, labels):
            ax.annotate(text, (x, y), textcoords="offset points", xytext=(7, -3), fontsize=8)
    ax.axhline(floor, **BASELINE, label="prior mean")
    names = "\n".join(f"{i} {c.name}" for i, c in enumerate(conditions, start=1))
    ax.text(1.02, 0.0, f"conditions\n{names}", transform=ax.transAxes, fontsize=8, va="bottom")
    ax.set(xscale="log", yscale="log", xlabel="time for one neuron (s)")
    ax.set_ylabel("error (nrmse, fraction of the prior's range)")
    _plain_log_ticks(ax.yaxis)
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    ax.grid(True, which="both", color="0.9")
    return figure


def trade_offs(found: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """Median posterior correlation of each pair of parameters, and in brackets in how many neurons it is strong.

    Args:
        found: The entry "identifiability" of metrics.json.
        names: The parameters.
    """
    p = len(names)
    figure, (ax,) = panels(1, width=1.6 + 0.75 * p, height=1.0 + 0.62 * p)
    r = np.full((p, p), math.nan)
    for i, a in enumerate(names):
        for j, b in enumerate(names[:i]):
            r[i, j] = found[a]["correlation"][b]
            strong = found[a]["trades_off"][b]
            text = f"{r[i, j]:.2f}" + (f"\n({100 * strong:.0f} %)" if strong >= 0.005 else "")
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if abs(r[i, j]) > 0.5 else "black")
    # the strength by darkness, the sign by the number: in greyscale the two ends of a coloured map look alike
    image = ax.imshow(np.abs(r), cmap="Greys", vmin=0, vmax=1)
    figure.colorbar(image, ax=ax, label="|median correlation|")
    ax.set(xticks=range(p - 1), xticklabels=names[:-1], yticks=range(1, p), yticklabels=names[1:])
    ax.set(xlim=(-0.5, p - 1.5), ylim=(p - 0.5, 0.5))
    ax.tick_params(axis="x", labelrotation=45)
    ax.set_title("posterior correlation (% of neurons where |r| > 0.87)", fontsize=10)
    return figure


def learning_curves(history: Sequence[Mapping[str, float]], unit: str = "loss") -> Figure:
    """Training and validation loss by epoch, beside the loss of the prior alone.

    Args:
        history: One line for each epoch with "epoch", "val/loss", "val/loss_prior" and perhaps "train/loss".
        unit: What the loss is, for the axis.
    """
    figure, (ax,) = panels(1, width=6.5, height=4.0)
    for k, (key, label) in enumerate((("val/loss", "validation"), ("train/loss", "training"))):
        lines = [(line["epoch"] + 1, line[key]) for line in history if key in line]
        if lines:
            look = style(k)
            ax.plot(*zip(*lines, strict=True), **look, label=label, markersize=4, linewidth=1.2)
    floor = [(line["epoch"] + 1, line["val/loss_prior"]) for line in history if "val/loss_prior" in line]
    if floor:
        ax.plot(*zip(*floor, strict=True), **BASELINE, label="predicting the prior")
    ax.set(xlabel="epoch", ylabel=unit)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8)
    ax.grid(True, color="0.9")
    return figure


def calibration_curve(truth: FloatArray, samples: FloatArray, prior: Prior, method: str = "amortized") -> Figure:
    """Fraction of neurons whose truth lies in the central interval, against the interval's stated probability.

    The band holds an honest posterior's curve at each level with probability 1 - 1e-4.
    """
    levels = np.linspace(0.02, 0.98, 49)
    n = int(np.isfinite(samples).all(axis=(1, 2)).sum())
    seen = coverage_curve(truth, samples, levels.tolist())
    # no two curves of a panel look the same
    number = -(-len(prior.names) // len(COLOURS))
    parts = np.array_split(np.arange(len(prior.names)), number)
    figure, axes = panels(number, width=6.0 if number == 1 else 4.6, height=4.6)
    band = stats.binom.ppf([[SIGNIFICANCE / 2], [1 - SIGNIFICANCE / 2]], n, levels) / max(n, 1)
    for ax, part in zip(axes, parts, strict=True):
        ax.fill_between(levels, band[0], band[1], color="0.88", label=f"{100 * (1 - SIGNIFICANCE):g} % of the honest")
        ax.plot([0, 1], [0, 1], **BASELINE)
        for k, j in enumerate(part.tolist()):
            look = style(k)
            ax.plot(levels, seen[:, j], **look, markevery=6, markersize=5, linewidth=1.2, label=prior.names[j])
        ax.set(
            xlabel="stated probability of the interval", ylabel="fraction of neurons inside", xlim=(0, 1), ylim=(0, 1)
        )
        ax.legend(fontsize=8, loc="upper left")
    figure.suptitle(f"{method}: calibration (below the diagonal: too sure), n = {n}", fontsize=10)
    return figure


def panels(n: int, width: float = 3.4, height: float = 3.1) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in rows of three, each so many inches wide and high."""
    columns = min(n, 3)
    rows = -(-n // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(n)]


def _plain_log_ticks(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, written out: ranges here are of a decade or two."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _merged(
    seconds: Sequence[float], errors: Sequence[float], numbers: Sequence[int]
) -> list[tuple[float, float, str]]:
    """Points with their labels; points that lie on each other in a logarithmic plot share one."""
    points: list[tuple[float, float, str]] = []
    for x, y, number in sorted(zip(seconds, errors, numbers, strict=True), key=lambda p: p[1]):
        close = bool(points) and y < 1.05 * points[-1][1] and abs(math.log(x / points[-1][0])) < 0.3
        if close:
            points[-1] = (*points[-1][:2], f"{points[-1][2]}, {number}")
        else:
            points.append((x, y, str(number)))
    return points


def style(k: int) -> dict[str, Any]:
    """Colour, marker and dashes of the k-th line: no two of the first seven share any."""
    return {
        "color": COLOURS[k % len(COLOURS)],
        "marker": _MARKERS[k % len(_MARKERS)],
        "linestyle": _DASHES[k % len(_DASHES)],
    }


def _labelled(name: str, unit: str) -> str:
    return name if unit in ("", "1") else f"{name} ({unit})"
