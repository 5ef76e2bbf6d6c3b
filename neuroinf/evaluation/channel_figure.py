"""Responses in every channel: what a neuron did, what its inferred parameters do, and the band of posterior samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from neuroinf.evaluation.figures import COLOURS, panels
from neuroinf.evaluation.predicted_channels import Shown

DASHES = ("--", ":", "-.")


def channel_overlays(neurons: Sequence[Shown]) -> Figure:
    """A row of panels for each neuron, one for each channel."""
    names = list(neurons[0].observed)
    figure, _ = panels(1)
    figure.clear()
    figure.set_size_inches(max(6.0, 4.2 * len(names)), 2.7 * len(neurons))
    axes = figure.subplots(len(neurons), len(names), squeeze=False, sharex=True)
    for neuron, row in zip(neurons, axes, strict=True):
        row[0].set_title(neuron.title, fontsize=8.5, loc="left")
        for name, ax in zip(names, row, strict=True):
            time = (np.arange(len(neuron.observed[name])) + 1) * neuron.dt
            if name in neuron.band:
                ax.fill_between(time, *neuron.band[name], color="0.8", linewidth=0, label="90 % of posterior samples")
            ax.plot(time, neuron.observed[name], color="black", linewidth=1.5, label="neuron, without noise")
            for k, (method, response) in enumerate(neuron.predicted.items()):
                dashes = DASHES[k % len(DASHES)]
                ax.plot(time, response[name], color=COLOURS[k + 1], linestyle=dashes, linewidth=1.1, label=method)
            unit = neuron.units[name]
            ax.set_ylabel(name if unit in ("1", "") else f"{name} ({unit})")
    for ax in axes[-1]:
        ax.set_xlabel("time (ms)")
    axes[0][-1].legend(fontsize=7, frameon=False)
    return figure
