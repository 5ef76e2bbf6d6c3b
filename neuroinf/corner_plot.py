"""A posterior as a picture: each parameter and each pair of them, with the prior behind and the truth, if known, on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import corner
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from neuroinf.identification import correlation
from neuroinf.priors import GridPrior, Prior

FloatArray = NDArray[np.float64]
BINS = 24
PANEL, LEFT, BELOW, REST = 1.7, 1.0, 0.95, 0.4  # inches
LEVELS = (0.5, 0.9)  # probability inside the contours
SHOWN = 0.001  # probability left out at either end of an axis
MARGIN = 0.08  # of what is shown, on either side
# told apart by dashes and width as well: in greyscale the truth's colour is a middle grey
PRIOR = {"color": "0.45", "linestyle": "--", "linewidth": 1.3}
TRUTH = {"color": "#D55E00", "linestyle": (0, (1, 1)), "linewidth": 1.8}


def corner_plot(prior: Prior, samples: FloatArray, truth: Sequence[float | None], title: str = "") -> Figure:
    """Marginals with the prior's, contours holding 50 and 90 % of each pair, their correlation, and the truth.

    Axes are logarithmic where the prior is: the prior is then flat in every panel. An axis spans the posterior and the truth,
    so that a prior much wider than it is seen as a low line.

    Args:
        prior: Names, units, ranges.
        samples: (S, P), natural units.
        truth: (P,), natural units, None where not known.
        title: Above the figure.

    Returns:
        The figure, P by P panels.
    """
    p = len(prior.names)
    side = max(PANEL * p, 3.0)
    figure = Figure(figsize=(LEFT + side + REST, BELOW + side + REST))
    FigureCanvasAgg(figure)
    spans = [_span(prior, samples[:, j], truth[j], j) for j in range(p)]
    corner.corner(
        samples,
        bins=BINS,
        fig=figure,
        range=spans,
        axes_scale=cast(Any, ["log" if log else "linear" for log in prior.is_log]),  # annotated as a single one
        labels=[_labelled(name, unit) for name, unit in zip(prior.names, prior.units, strict=True)],
        labelpad=0.12,
        hist_kwargs={"color": "black", "linewidth": 1.4},
        smooth=1.0,
        levels=LEVELS,
        plot_datapoints=False,
        plot_density=False,
        fill_contours=True,
        contourf_kwargs={"colors": ["white", "0.85", "0.65"]},
        color="black",
    )
    width, height = figure.get_size_inches()
    figure.subplots_adjust(LEFT / width, BELOW / height, 1 - REST / width, 1 - REST / height)
    panels = np.array(figure.axes).reshape(p, p)
    r = correlation(samples, prior)
    for row in range(p):
        _draw_prior(panels[row, row], prior, row, spans[row], len(samples))
        if truth[row] is not None:
            panels[row, row].axvline(truth[row], **TRUTH)
        for column in range(row):
            ax = panels[row, column]
            _draw_edges(ax, prior, row, column)
            _draw_truth(ax, truth[row], truth[column])
            white = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
            text = f"r = {r[row, column]:.2f}"
            ax.text(0.97, 0.96, text, transform=ax.transAxes, ha="right", va="top", fontsize=7, bbox=white)
        for column in range(row + 1):
            ax = panels[row, column]
            _plain_ticks(ax.xaxis, labelled=row == p - 1)
            if column < row:
                _plain_ticks(ax.yaxis, labelled=column == 0)
            ax.tick_params(labelsize=8)
    _legend(figure, any(value is not None for value in truth), title)
    return figure


def _span(prior: Prior, values: FloatArray, truth: float | None, column: int) -> tuple[float, float]:
    """What an axis shows: all but SHOWN of the posterior at either end, and the truth, with a margin on the own scale."""
    ends = [*np.quantile(values, [SHOWN, 1 - SHOWN]), *([] if truth is None else [float(truth)])]
    log = bool(prior.is_log[column])
    own = np.log(ends) if log else np.array(ends)
    edges = np.array([prior.low[column], prior.high[column]])
    width = np.ptp(own) or np.ptp(np.log(edges) if log else edges)
    low, high = own.min() - MARGIN * width, own.max() + MARGIN * width
    return (float(np.exp(low)), float(np.exp(high))) if log else (float(low), float(high))


def _draw_prior(ax: Axes, prior: Prior, column: int, span: tuple[float, float], n: int) -> None:
    """Expected number of n prior samples in each of the histogram's bins."""
    log = bool(prior.is_log[column])
    edges = np.geomspace(*span, BINS + 1) if log else np.linspace(*span, BINS + 1)
    if isinstance(prior, GridPrior):
        values = prior.values[column]
        fraction = np.histogram(values, edges)[0] / len(values)
        ax.stairs(n * fraction, edges, **PRIOR)
        return
    low, high = prior.low[column], prior.high[column]
    first, last = max(low, span[0]), min(high, span[1])
    if first >= last:
        return
    width = np.log(edges[1] / edges[0]) if log else edges[1] - edges[0]
    height = n * width / (np.log(high / low) if log else high - low)
    ax.plot([first, last], [height, height], **PRIOR)
    for end in (low, high):
        if span[0] <= end <= span[1]:
            ax.plot([end, end], [0, height], **PRIOR)
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.1 * height))


def _draw_edges(ax: Axes, prior: Prior, row: int, column: int) -> None:
    """The prior's edges, where they lie within the panel."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for end in (prior.low[column], prior.high[column]):
        if left <= end <= right:
            ax.axvline(end, **PRIOR)
    for end in (prior.low[row], prior.high[row]):
        if bottom <= end <= top:
            ax.axhline(end, **PRIOR)


def _draw_truth(ax: Axes, row: float | None, column: float | None) -> None:
    if row is not None:
        ax.axhline(row, **TRUTH)
    if column is not None:
        ax.axvline(column, **TRUTH)
    if row is not None and column is not None:
        ax.plot(column, row, marker="s", color=TRUTH["color"], markeredgecolor="white")


def _plain_ticks(axis: Axis, labelled: bool) -> None:
    """A few round numbers, written out: a posterior rarely spans the decades that logarithmic ticks are for."""
    axis.set_major_locator(MaxNLocator(4, prune="both"))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}") if labelled else NullFormatter())


def _legend(figure: Figure, truth: bool, title: str) -> None:
    handles = [
        Line2D([], [], color="black", linewidth=1.4, label="posterior (contours: 50 and 90 %)"),
        Line2D([], [], **PRIOR, label="prior, and its edges"),
    ]
    if truth:
        handles.append(Line2D([], [], **TRUTH, marker="s", markeredgecolor="white", label="truth"))
    figure.legend(handles=handles, loc="upper right", fontsize=9, frameon=False, title=title, title_fontsize=10)


def _labelled(name: str, unit: str) -> str:
    return name if unit in ("", "1") else f"{name} ({unit})"
