"""A hidden input as inferred, under the response that it was inferred from."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.datasets.simulation import Simulation
from neuroinf.hidden_activity import HiddenActivity

FloatArray = NDArray[np.float64]
SHOWN = 200  # bins: more cannot be told apart


def hidden_figure(response: FloatArray, hidden: HiddenActivity, simulation: Simulation | None) -> Figure:
    """The first bins of a response (T,), and below it the hidden input with its interval and, dashed, its mean over time."""
    dt = 1.0 if simulation is None else simulation.dt
    shown = slice(0, SHOWN)
    time = dt * np.arange(len(response))[shown]
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.step(time, response[shown], where="post", color="0.2", linewidth=0.9)
    above.set_ylabel("response (per bin)")
    percent = f"{100 * hidden.level:.0f} %"
    below.fill_between(
        time, hidden.low[shown], hidden.high[shown], step="post", color="0.75", label=f"{percent} interval"
    )
    below.step(time, hidden.mean[shown], where="post", color="black", linewidth=0.9, label="posterior mean")
    below.axhline(float(np.nanmean(hidden.mean)), color="0.4", linestyle="--", linewidth=0.8, label="mean over time")
    chance = hidden.positive if hidden.sign > 0 else 1 - hidden.positive
    below.set_ylabel("hidden input")
    below.set_xlabel("time (ms)")
    below.set_title(
        f"given a {'positive' if hidden.sign > 0 else 'negative'} weight (probability {chance:.2f}); mirrored for the other sign",
        fontsize=9,
    )
    below.legend(loc="upper right", fontsize=8, ncols=3)
    return figure
