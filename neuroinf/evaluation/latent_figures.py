"""Figures of a population's latents: how many there are, how they run, how far they can be forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from neuroinf.evaluation.dimension import DimensionScore, choose
from neuroinf.evaluation.figures import BASELINE, COLOURS
from neuroinf.evaluation.latents import Forecasts

Values = NDArray[Any]

SHOWN_LATENTS = 5


def score_against_dimension(scores: Sequence[DimensionScore], kind: str, truth: int | None = None) -> Figure:
    """Scores of hidden activity, bars one standard error of the difference from the best, beside reconstruction, which misleads."""
    figure, (left, right) = _figure(9.5, 3.8, 1, 2)
    dimensions = [s.dimension for s in scores]
    unit = "bits per spike" if kind == "counts" else "explained variance"
    for j, (label, values) in enumerate(
        (("hidden neurons", [s.neurons for s in scores]), ("hidden entries", [s.entries for s in scores]))
    ):
        choice = choose(dimensions, values)
        mean = np.mean(values, 1)
        style = {"color": COLOURS[j], "marker": "os"[j], "linestyle": ("-", "--")[j], "markersize": 5, "capsize": 3}
        left.errorbar(dimensions, mean, choice.error, label=f"{label}: {choice.dimension} chosen", **style)
        chosen = dimensions.index(choice.dimension)
        left.plot(choice.dimension, mean[chosen], "o", markersize=13, fillstyle="none", color=COLOURS[j])
    left.set(title="activity hidden from the model", xlabel="latents of the model", ylabel=f"{unit}, held-out time")
    right.plot(
        dimensions,
        [np.mean(s.reconstruction) for s in scores],
        "-o",
        color=COLOURS[0],
        label="reconstruction of what is seen",
    )
    rates = [float("nan") if s.rates is None else float(np.mean(s.rates)) for s in scores]
    if np.isfinite(rates).any():
        right.plot(dimensions, rates, "--s", color=COLOURS[1], label="noise-free rates (truth)")
    right.set(
        title="activity seen by the model", xlabel="latents of the model", ylabel="explained variance, held-out time"
    )
    for ax in (left, right):
        if truth is not None:
            ax.axvline(truth, color="black", linestyle=":", linewidth=1.2, label=f"truth: {truth}")
        ax.axhline(0, **BASELINE, label="each neuron's mean")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.06))
    return figure


def trajectories(
    aligned: Values, sd: Values | None, truth: Values | None, dt: float, reference: str = "true"
) -> Figure:
    """Latents in time, with 90 % intervals, over the true ones or those of a reference.

    Args:
        aligned: Inferred latents (T, D), in the true ones' axes where these are known.
        sd: Their standard deviations (T, D), in the same axes; None: not known.
        truth: True latents (T, D), or the reference's in the same axes.
        dt: Bin, ms.
        reference: What these are called.
    """
    rows = min(aligned.shape[1], SHOWN_LATENTS)
    figure, axes = _figure(9, 1.2 + 1.25 * rows, rows, 1)
    seconds = np.arange(len(aligned)) * dt / 1000
    for d, ax in enumerate(axes):
        if sd is not None and np.isfinite(sd).all():
            low, high = aligned[:, d] - 1.645 * sd[:, d], aligned[:, d] + 1.645 * sd[:, d]
            ax.fill_between(seconds, low, high, color=COLOURS[0], alpha=0.25, linewidth=0, label="90 % interval")
        ax.plot(seconds, aligned[:, d], color=COLOURS[0], linewidth=1.4, label="inferred")
        if truth is not None:
            ax.plot(seconds, truth[:, d], color="black", linewidth=1, linestyle=":", label=reference)
        ax.axhline(0, **{**BASELINE, "linewidth": 0.8})
        ax.set_ylabel(f"latent {d + 1} (1)")
        if d + 1 < rows:
            ax.tick_params(labelbottom=False)
    axes[0].legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncol=3, frameon=False)
    axes[-1].set_xlabel("time (s)")
    return figure


def forecast_skill(found: Forecasts, dt: float, lyapunov: float | None = None) -> Figure:
    """R2 of forecasts against how far they look, beside AR(1)'s and that of no change.

    Args:
        found: The forecasts.
        dt: Bin, ms.
        lyapunov: Lyapunov time in bins, of chaotic latents.
    """
    figure, (ax,) = _figure(5.5, 3.8, 1, 1)
    steps = found.truth.shape[1]
    held = np.repeat(found.held[:, None], steps, 1)
    seconds = np.arange(1, steps + 1) * dt / 1000
    for j, (label, made) in enumerate((("model", found.model), ("AR(1)", found.baseline), ("no change", held))):
        error = ((made - found.truth) ** 2).mean((0, 2))
        spread = ((found.truth - found.truth.mean(0)) ** 2).mean((0, 2))
        ax.plot(seconds, 1 - error / spread, color=COLOURS[j], linestyle=("-", "--", "-.")[j], label=label)
    ax.axhline(0, **BASELINE, label="latents' mean")
    if lyapunov is not None and lyapunov <= steps:
        ax.axvline(lyapunov * dt / 1000, color="black", linestyle=":", linewidth=1.2, label="Lyapunov time")
    ax.set(xlabel="time ahead (s)", ylabel="R² of latents", ylim=(-1, 1.02))
    ax.legend(fontsize=8)
    return figure


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Figure, list[Any]]:
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())
