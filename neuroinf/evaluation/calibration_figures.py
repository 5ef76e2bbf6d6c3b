"""The figures of calibration: ranks with their band, joint coverage, and how much was learnt against how far off it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.evaluation.calibration import (
    contraction,
    ecdf,
    ecdf_bands,
    ecdf_p,
    expected_coverage,
    sbc_ranks,
    tarp,
    z_score,
)
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.figures import BASELINE, COLOURS, panels, style
from neuroinf.evaluation.metrics import REFERENCE_SEED, SIGNIFICANCE
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
Curve = tuple[FloatArray, FloatArray, float]

# an honest curve leaves the first band once in twenty figures, the second once in ten thousand
_BANDS = ((0.95, "0.80"), (1 - SIGNIFICANCE, "0.91"))
_MOST_POINTS = 1000


def drawn(truth: FloatArray, estimates: Estimates, prior: Prior) -> list[tuple[str, str, Figure]]:
    """Name, caption and figure of every figure here that a method's answers allow."""
    samples, method = estimates.samples, estimates.method
    if samples is None or not np.isfinite(samples).all(axis=(1, 2)).any():
        return []
    curves: dict[str, Curve] = {}
    if estimates.log_prob is not None and estimates.sample_log_prob is not None:
        curves["highest density"] = expected_coverage(estimates.log_prob, estimates.sample_log_prob)
    references = np.random.default_rng(REFERENCE_SEED)
    curves["TARP"] = tarp(prior.to_unit(truth), prior.to_unit(samples), references)
    n = int(np.isfinite(samples).all(axis=(1, 2)).sum())
    return [
        ("sbc", "Ranks of the truth among posterior samples.", rank_ecdf(truth, samples, prior, method)),
        ("joint_coverage", "Do joint regions hold the truth as often as they say?", joint_coverage(curves, n, method)),
        ("contraction", "How much was learnt, and how far off it is.",
         contraction_against_z(truth, samples, prior, method)),
    ]  # fmt: skip


def rank_ecdf(truth: FloatArray, samples: FloatArray, prior: Prior, method: str = "amortized") -> Figure:
    """Distribution function of the ranks of simulation-based calibration less that of uniform ranks, per parameter.

    A curve above 0 on the left and below on the right: too narrow. The reverse: too wide. Above 0 all along: estimates
    are too high; below: too low.

    Args:
        truth: True parameters (n, P).
        samples: Posterior samples (n, S, P); rows with a nan are left out.
        prior: Their prior.
        method: For the title.
    """
    known = np.isfinite(samples).all(axis=(1, 2))
    ranks, s = sbc_ranks(truth[known], samples[known]), samples.shape[1]
    figure, axes = panels(len(prior.names))
    z, fraction = ecdf(ranks, s)
    p = ecdf_p(ranks, s)
    most = float(np.abs(fraction - z[:, None]).max())
    for j, (ax, name) in enumerate(zip(axes, prior.names, strict=True)):
        _bands(ax, int(known.sum()), s, difference=True)
        ax.step([0, *z, 1], [0, *(fraction[:, j] - z), 0], where="mid", color=COLOURS[0], linewidth=1.4)
        ax.set(
            xlabel=f"rank of the true {name}, from 0 to 1",
            ylabel="fraction of neurons below, less expected",
            xlim=(0, 1),
        )
        reach = max(1.1 * most, 1.6 * _half_width(int(known.sum()), s))
        ax.set_ylim(-reach, reach)
        ax.set_title(f"{name}: {_p(p[j])}", fontsize=10)
    axes[0].legend(fontsize=8, loc="lower left")
    figure.suptitle(f"{method}: simulation-based calibration, n = {int(known.sum())}, S = {s}", fontsize=11)
    return figure


def joint_coverage(curves: Mapping[str, Curve], n: int, method: str = "amortized") -> Figure:
    """Fraction of truths inside a joint region against the region's stated probability, with the band of the honest.

    Args:
        curves: By name, what `calibration.expected_coverage` and `calibration.tarp` return.
        n: Number of rows.
        method: For the title.
    """
    figure, axes = panels(len(curves), width=4.6, height=4.2)
    for k, (ax, (name, (levels, fraction, p))) in enumerate(zip(axes, curves.items(), strict=True)):
        # the band of ranks that take only the curve's levels; that of S + 1 ranks differs by less than 1 / S
        _bands(ax, n, len(levels), difference=False)
        look = style(k)
        ax.plot([0, *levels, 1], [0, *fraction, 1], **look, markevery=10, markersize=5, linewidth=1.4, label=name)
        ax.set(xlabel="stated probability of the region", ylabel="fraction of neurons inside")
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_title(f"{name}: {_p(p)}", fontsize=10)
        ax.legend(fontsize=8, loc="upper left")
    figure.suptitle(f"{method}: joint coverage (below the diagonal: too sure), n = {n}", fontsize=11)
    return figure


def contraction_against_z(truth: FloatArray, samples: FloatArray, prior: Prior, method: str = "amortized") -> Figure:
    """Error in posterior standard deviations against posterior over prior variance, a point for each neuron.

    Down the middle and far to the right is where points should be; right but far off: sure and wrong.
    """
    known = np.flatnonzero(np.isfinite(samples).all(axis=(1, 2)))[:_MOST_POINTS]
    u, v = prior.to_unit(truth[known]), prior.to_unit(samples[known])
    left = 1 - contraction(u, v, prior.unit_moments[1] ** 2)
    z = z_score(u, v)
    figure, axes = panels(len(prior.names))
    widest = max(2.0, 1.2 * float(np.nanmax(left, initial=0.0)))
    lowest = 0.5 * float(np.nanmin(left, initial=1.0, where=left > 0))
    reach = max(4.5, 1.1 * float(np.nanmax(np.abs(z), initial=0.0)))
    for j, (ax, name) in enumerate(zip(axes, prior.names, strict=True)):
        ax.axhspan(-1.96, 1.96, color="0.90", label="95 % of the honest")
        ax.axvline(1.0, **BASELINE, label="posterior = prior")
        ax.axhline(0.0, color="black", linewidth=0.8)
        ax.plot(left[:, j], z[:, j], ".", color=COLOURS[0], markersize=3, alpha=0.5)
        ax.set(xscale="log", xlim=(widest, lowest), ylim=(-reach, reach))
        ax.set(xlabel="1 - contraction (variance left, log)", ylabel="error / posterior sd")
        rms = float(np.sqrt(np.nanmean(z[:, j] ** 2)))
        ax.set_title(f"{name}: contraction {1 - np.nanmean(left[:, j]):.3f}, rms z {rms:.2f}", fontsize=9)
    axes[0].legend(fontsize=7, loc="lower left")
    figure.suptitle(f"{method}: how much was learnt, and how far off it is", fontsize=11)
    return figure


def _bands(ax: Axes, n: int, s: int, difference: bool) -> None:
    """Baseline and bands of an honest posterior, the wider one behind."""
    for level, grey in reversed(_BANDS):
        z, low, high = ecdf_bands(n, s, level)
        base = z if difference else 0.0
        points = [0, *z, 1]
        ends = (0.0, 0.0) if difference else (0.0, 1.0)
        edge = [[ends[0], *(side - base), ends[1]] for side in (low, high)]
        ax.fill_between(points, edge[0], edge[1], color=grey, linewidth=0, label=f"{100 * level:g} % of the honest")
    ax.plot([0, 1], [0, 0] if difference else [0, 1], **BASELINE)


def _half_width(n: int, s: int) -> float:
    """Of the wider band, at its widest."""
    _, low, high = ecdf_bands(n, s, _BANDS[-1][0])
    return float(np.max(high - low) / 2)


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 1e-4"
