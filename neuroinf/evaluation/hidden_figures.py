"""The figures of hidden activity: true against inferred, bin by bin, and the response it explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.evaluation.figures import BASELINE, COLOURS
from neuroinf.evaluation.hidden import Recovered

FloatArray = NDArray[np.float64]
SHOWN = 100  # bins in which single ones can be told apart
_MOST_POINTS = 500  # with error bars
_REACH = 2.0  # ranges of the true activity about its middle: a hidden weight near 0 has estimates far beyond


@dataclass(frozen=True)
class HiddenPanel:
    """One neuron.

    Args:
        title: E.g. "best (test neuron 17): |r| = 0.99".
        recovered: By the network.
        baseline: By the per-neuron fit; None if it gives no hidden activity.
        response: Observed rate or count (T,).
        expected: The same expected with the hidden input at its mean (T,): what the observed inputs explain.
        channel: What the response is, for the axis.
        dt: Bin, ms.
    """

    title: str
    recovered: Recovered
    baseline: Recovered | None
    response: FloatArray
    expected: FloatArray
    channel: str
    dt: float


def hidden_scatter(neurons: Sequence[HiddenPanel]) -> Figure:
    """Inferred against true hidden activity, the sign of its weight given, with 90 % intervals; the fit behind."""
    figure = Figure(figsize=(3.7 * len(neurons), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for k, neuron in enumerate(neurons):
        ax = figure.add_subplot(1, len(neurons), k + 1)
        found = neuron.recovered
        shown = slice(0, _MOST_POINTS)
        if neuron.baseline is not None:
            ax.plot(
                neuron.baseline.truth[shown], neuron.baseline.mean[shown], "x", color="0.55", markersize=4,
                label=f"per_neuron_fit, |r| = {neuron.baseline.r:.3f}",
            )  # fmt: skip
        if np.isfinite(found.low).any():
            ax.vlines(
                found.truth[shown], found.low[shown], found.high[shown], color=COLOURS[4], linewidth=0.7, alpha=0.6
            )
        ax.plot(
            found.truth[shown], found.mean[shown], ".", color=COLOURS[0], markersize=4,
            label=f"amortized, |r| = {found.r:.3f}, lines: 90 %",
        )  # fmt: skip
        ends = [float(np.min(found.truth)), float(np.max(found.truth))]
        ax.plot(ends, ends, color="black", linewidth=1, label="truth")
        ax.axhline(float(found.truth.mean()), **BASELINE, label="mean activity")
        ax.set(xlabel="true hidden activity (1)", ylabel="inferred hidden activity (1)")
        ax.set_ylim(*_limits(found.truth))
        ax.set_title(neuron.title, fontsize=9)
        ax.legend(fontsize=6.5, loc="upper left")
    return figure


def hidden_traces(neurons: Sequence[HiddenPanel]) -> Figure:
    """Hidden activity in time with its interval, and below it the response with what the observed inputs explain of it."""
    figure = Figure(figsize=(10, 3.3 * len(neurons)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 * len(neurons), 1, height_ratios=[1.4, 1.0] * len(neurons))
    for k, neuron in enumerate(neurons):
        above = figure.add_subplot(grid[2 * k])
        below = figure.add_subplot(grid[2 * k + 1], sharex=above)
        _trace(above, neuron)
        t = (np.arange(min(SHOWN, len(neuron.response))) + 0.5) * neuron.dt
        below.plot(t, neuron.response[: len(t)], color="black", linewidth=1.2, label="observed")
        below.plot(
            t,
            neuron.expected[: len(t)],
            color=COLOURS[1],
            linestyle="--",
            linewidth=1.2,
            label="hidden input at its mean",
        )
        below.set_ylabel(f"{neuron.channel} (1)")
        below.legend(fontsize=7, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98), frameon=False, borderpad=0)
        above.tick_params(labelbottom=False)
        if k == len(neurons) - 1:
            below.set_xlabel("time (ms)")
    return figure


def _trace(ax: Axes, neuron: HiddenPanel) -> None:
    found = neuron.recovered
    shown = slice(0, SHOWN)
    t = (np.arange(len(found.truth[shown])) + 0.5) * neuron.dt
    if np.isfinite(found.low).any():
        ax.fill_between(t, found.low[shown], found.high[shown], color="0.8", linewidth=0, label="90 % of the posterior")
    ax.plot(t, found.truth[shown], color="black", linewidth=1.2, label="true hidden activity")
    ax.plot(t, found.mean[shown], color=COLOURS[0], linestyle="--", linewidth=1.2, label="amortized")
    if neuron.baseline is not None:
        ax.plot(t, neuron.baseline.mean[shown], ":", color=COLOURS[2], linewidth=1.4, label="per_neuron_fit")
    ax.axhline(float(found.truth.mean()), **BASELINE, label="mean activity")
    ax.set_ylim(*_limits(found.truth))
    ax.set_ylabel("hidden activity (1)")
    ax.set_title(neuron.title, fontsize=9, loc="left")
    ax.legend(fontsize=7, ncols=5, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0)


def _limits(truth: FloatArray) -> tuple[float, float]:
    low, high = float(np.min(truth)), float(np.max(truth))
    middle, reach = (low + high) / 2, _REACH * max(high - low, 1e-9) / 2
    return middle - reach, middle + reach
