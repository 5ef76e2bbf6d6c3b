"""Observed responses with simulated ones over them: traces, the band of posterior samples, and spikes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from neuroinf.evaluation.figures import COLOURS
from neuroinf.evaluation.posterior_predictive import PredictiveCheck
from neuroinf.evaluation.predictive import Responses

FloatArray = NDArray[np.float64]

TITLE_WIDTH = 120  # characters


@dataclass(frozen=True)
class Overlay:
    """One neuron's observed response and the one simulated from its estimated parameters.

    Args:
        title: E.g. "best (neuron 17): voltage error 0.1 mV".
        observed: One row.
        predicted: One row.
        stimulus: (T,), in the unit `stimulus_unit`, at step `stimulus_dt` (ms); or None.
        stimulus_dt: ms.
        stimulus_unit: Its unit.
        start: Time of the first sample, ms: where the stretch that is shown begins.
        check: Responses of posterior samples in the same stretch: their band and their spikes are drawn as well.
    """

    title: str
    observed: Responses
    predicted: Responses
    stimulus: NDArray[np.floating[Any]] | None = None
    stimulus_dt: float = 1.0
    stimulus_unit: str = "pA"
    start: float = 0.0
    check: PredictiveCheck | None = None


def best_median_worst(scores: FloatArray) -> dict[str, int]:
    """Rows of the smallest, the middle and the largest score among those that are defined; fewer if there are fewer."""
    order = [int(i) for i in np.argsort(scores) if math.isfinite(scores[i])]
    if not order:
        return {}
    chosen = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    return {label: row for k, (label, row) in enumerate(chosen.items()) if row not in list(chosen.values())[:k]}


def overlays(neurons: Sequence[Overlay]) -> Figure:
    """Simulated against observed voltage and spikes, one panel above the other for each neuron, the stimulus below."""
    drawn = any(neuron.check is not None for neuron in neurons)
    heights = [4.0, 1.3, 1.0] if drawn else [4.0, 1.0]
    figure = Figure(figsize=(10, 0.62 * sum(heights) * len(neurons)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights) * len(neurons), 1, height_ratios=heights * len(neurons))
    for k, neuron in enumerate(neurons):
        ax = figure.add_subplot(grid[len(heights) * k])
        if neuron.check is not None:
            _draw_samples(ax, figure.add_subplot(grid[len(heights) * k + 1], sharex=ax), neuron.check, neuron.start)
        rows = (
            ("observed", neuron.observed, "black", "-", 1.6),
            ("simulated", neuron.predicted, COLOURS[1], "--", 1.1),
        )
        for label, response, colour, dashes, linewidth in rows:
            if response.voltage is not None:
                t = neuron.start + (np.arange(response.voltage.shape[1]) + 1) * response.dt
                ax.plot(t, response.voltage[0], color=colour, linestyle=dashes, linewidth=linewidth, label=label)
        for height, (_, response, colour, _, _) in zip((1.04, 1.12), rows, strict=True):
            spikes = response.spikes[0]
            if spikes is not None:
                ax.vlines(
                    neuron.start + spikes,
                    height - 0.03,
                    height + 0.03,
                    colors=colour,
                    transform=ax.get_xaxis_transform(),
                    clip_on=False,
                )
        # wider lines would run off the figure
        title = "\n".join(part for line in neuron.title.split("\n") for part in textwrap.wrap(line, TITLE_WIDTH))
        ax.set_title(title, fontsize=8.5, pad=22, loc="left")
        ax.set(ylabel="voltage (mV)", xlim=(neuron.start, neuron.start + neuron.observed.duration))
        # beside the title's first line, which is the shortest
        first_line = ScaledTranslation(0, (17 + 13 * title.count("\n")) / 72, figure.dpi_scale_trans)
        ax.legend(
            fontsize=8,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            bbox_transform=ax.transAxes + first_line,
            ncols=3,
            frameon=False,
            borderpad=0,
        )
        below = figure.add_subplot(grid[len(heights) * (k + 1) - 1], sharex=ax)
        if neuron.stimulus is not None:
            t = neuron.start + np.arange(len(neuron.stimulus)) * neuron.stimulus_dt
            below.step(t, neuron.stimulus, where="post", color="0.3", linewidth=0.8)
        below.set_ylabel(f"stimulus\n({neuron.stimulus_unit})")
        ax.tick_params(labelbottom=False)
        if k == len(neurons) - 1:
            below.set_xlabel("time (ms); marks above: spikes, observed below simulated")
    return figure


def _draw_samples(ax: Axes, raster: Axes, check: PredictiveCheck, start: float) -> None:
    """Band of the samples' voltage behind the traces, and a line of spikes for each sample, the observed ones on top."""
    if check.band is not None:
        t = start + (np.arange(check.band.shape[1]) + 1) * check.drawn.dt
        ax.fill_between(t, *check.band, color="0.75", linewidth=0, label="90 % of posterior samples")
    trains = [[] if train is None else start + train for train in check.drawn.spikes]
    number = len(trains)
    raster.eventplot(
        trains, lineoffsets=[k + 0.5 for k in range(number)], linelengths=1.5, linewidths=1.0, colors="0.35"
    )
    observed = check.observed.spikes[0]
    if observed is not None:
        raster.vlines(start + observed, 1.05 * number, 1.3 * number, colors="black", linewidth=1.2)
    raster.set(ylim=(0, 1.35 * number), yticks=[0.5 * number, 1.175 * number], yticklabels=["samples", "observed"])
    raster.tick_params(labelbottom=False, labelsize=8)
    raster.set_ylabel("spikes")
