"""The figure of a network's recording: its spikes, and below them the rates that were inferred."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from neuroinf.population_inference import ActivityEstimate
from neuroinf.recordings.network_recording import NetworkRecording

SMOOTHING = 20.0  # ms, of the true rates: single bins are mostly the finite size's noise
BASELINE = 400.0  # ms, of the recorded neurons' own smoothed rate
GREYS = ("0.0", "0.35", "0.6")


def activity_figure(
    recording: NetworkRecording, activity: ActivityEstimate, truth: NDArray[np.floating] | None = None
) -> Figure:
    """Raster, and for each population its inferred rate with intervals, beside the recorded neurons' smoothed rate.

    Args:
        recording: What it was inferred from.
        activity: The answer.
        truth: True rates (M, T), Hz, if they are known.
    """
    count = len(activity.names)
    figure = Figure(figsize=(10, 2.2 + 1.7 * count), layout="constrained")
    axes = figure.subplots(1 + count, 1, sharex=True)
    order = np.argsort(recording.groups, kind="stable")
    raster = axes[0]
    colours = [GREYS[int(recording.groups[k]) % len(GREYS)] for k in order]
    trains = [recording.spikes[k] / 1000 for k in order]
    raster.eventplot(trains, colors=colours, linelengths=0.8, linewidths=0.7)
    places = [np.flatnonzero(recording.groups[order] == m).mean() for m in range(count) if m in recording.groups]
    raster.set_yticks(places, [name for m, name in enumerate(activity.names) if m in recording.groups])
    raster.set_ylabel("recorded neurons")
    raster.invert_yaxis()
    time = activity.time / 1000
    for m, axis in enumerate(axes[1:]):
        label = f"{100 * activity.level:g} % interval of a bin"
        axis.fill_between(time, activity.low[m], activity.high[m], color="0.85", lw=0, label=label)
        own = [recording.spikes[k] for k in np.flatnonzero(recording.groups == m)]
        if own:
            edges = np.arange(activity.mean.shape[1] + 1) * activity.dt
            counted = np.histogram(np.concatenate(own), edges)[0] / (len(own) * activity.dt / 1000)
            smooth = gaussian_filter1d(counted, BASELINE / activity.dt)
            axis.plot(time, smooth, "k:", lw=1.0, label=f"recorded neurons, smoothed {BASELINE:g} ms")
        if truth is not None:
            true = gaussian_filter1d(truth[m], SMOOTHING / activity.dt)
            axis.plot(time, true, color="0.55", lw=2.0, label=f"true, smoothed {SMOOTHING:g} ms")
        axis.plot(time, activity.mean[m], "k", lw=1.0, label="inferred")
        axis.set_ylabel(f"{activity.names[m]} rate (Hz)")
        axis.set_ylim(bottom=0)
    axes[1].legend(fontsize=7, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes[-1].set_xlabel("time (s)")
    axes[-1].set_xlim(0, recording.duration / 1000)
    return figure
