"""The figures of hidden populations: spikes with rates, parameters over true ones, free simulations, and the response to a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from neuroinf.evaluation import mesoscopic_predictive as predictive
from neuroinf.evaluation.figures import BASELINE, COLOURS
from neuroinf.evaluation.mesoscopic_comparison import Predicted
from neuroinf.evaluation.mesoscopic_findings import Answers
from neuroinf.evaluation.mesoscopic_windows import DT, Window
from neuroinf.priors import Prior
from neuroinf.recordings.network_recording import NetworkRecording
from neuroinf.simulators.circuit import Circuit

FloatArray = NDArray[np.float64]
SD = 20.0  # of the smoothing of rates in figures, as of the correlations, ms
SHOWN = 40.0  # of a free simulation, s
LOOK: dict[str, dict[str, Any]] = {
    "initial_guess": {"color": COLOURS[2], "linestyle": ":", "linewidth": 1.6},
    "amortized": {"color": COLOURS[0], "linestyle": "-", "linewidth": 1.2},
    "amortized_circuits": {"color": COLOURS[4], "linestyle": (0, (6, 1, 1, 1)), "linewidth": 1.2},
    "amortized_refined": {"color": COLOURS[3], "linestyle": "-.", "linewidth": 1.2},
    "per_neuron_fit": {"color": COLOURS[1], "linestyle": "--", "linewidth": 1.2},
    "prior_mean": {"color": "0.55", "linestyle": (0, (1, 2)), "linewidth": 1.2},
    "nearest_neighbour": {"color": COLOURS[5], "linestyle": (0, (5, 1, 1, 1, 1, 1)), "linewidth": 1.2},
}
MARKERS = {
    "amortized": "o",
    "amortized_circuits": "P",
    "amortized_refined": "D",
    "per_neuron_fit": "s",
    "prior_mean": "_",
    "nearest_neighbour": "^",
}


def canvas(rows: int, width: float, height: float, **gridspec: Any) -> tuple[Figure, list[Axes]]:
    """A figure with panels below one another."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, 1, **gridspec)
    return figure, [figure.add_subplot(grid[k]) for k in range(rows)]


def raster(ax: Axes, recording: NetworkRecording, names: Sequence[str]) -> None:
    """Spikes of the recorded neurons, those of a population together."""
    order = np.argsort(recording.groups, kind="stable")
    for line, neuron in enumerate(order):
        ax.vlines(recording.spikes[neuron] / 1000, line - 0.4, line + 0.4, color="black", linewidth=0.6)
    groups = recording.groups[order]
    ticks = [float(np.flatnonzero(groups == m).mean()) for m in np.unique(groups)]
    ax.set_yticks(ticks, list(np.asarray(names)[np.unique(groups)]))
    for edge in np.flatnonzero(np.diff(groups)):
        ax.axhline(edge + 0.5, color="0.7", linewidth=0.6)
    ax.set(ylim=(len(groups) - 0.5, -0.5), xlim=(0, recording.duration / 1000), ylabel="recorded\nneurons")


def activity(index: int, answers: Answers, windows: Sequence[Window], circuit: Circuit) -> Figure:
    """Spikes of one window, and below them the rates of each population: true, and what each method infers."""
    window = windows[index]
    m = len(circuit.names)
    figure, axes = canvas(m + 1, 10.0, 2.0 + 2.1 * m, height_ratios=[0.9] + [1.0] * m)
    raster(axes[0], window.scored, circuit.names)
    axes[0].tick_params(labelbottom=False)
    axes[0].set_title(
        f"{window.name}: {window.scored.neurons} of {sum(circuit.sizes)} neurons", fontsize=10, loc="left"
    )
    time = (np.arange(window.rates.shape[1]) + 0.5) * DT / 1000
    shown = {name: given[index] for name, given in answers.items()}
    for k, ax in enumerate(axes[1:]):
        network = shown.get("amortized")
        if network is not None and network.low is not None and network.high is not None:
            label = "90 % of a bin's rate (amortized)"
            ax.fill_between(
                time, _smooth(network.low[k]), _smooth(network.high[k]), color="0.85", linewidth=0, label=label
            )
        ax.plot(time, _smooth(window.rates[k]), color="black", linewidth=1.6, label="truth")
        for name in ("initial_guess", "per_neuron_fit", "amortized"):
            answer = shown.get(name)
            if answer is not None and answer.rates is not None:
                ax.plot(time, _smooth(answer.rates[k]), label=name, **LOOK[name])
        ax.axhline(float(window.rates[k].mean()), **BASELINE, label="true mean")
        ax.set(xlim=(0, time[-1]), ylabel=f"{circuit.names[k]} (Hz)")
        ax.set_ylim(0, 1.6 * float(np.quantile(_smooth(window.rates[k]), 0.99)) + 1.0)
        ax.tick_params(labelbottom=k == m - 1)
    axes[1].legend(fontsize=7, ncols=6, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0)
    axes[-1].set_xlabel(
        f"time (s); rates smoothed, sd {SD:g} ms, and so are the ends of the intervals of single bins of {DT:g} ms"
    )
    return figure


def ratios(found: Mapping[str, Any], prior: Prior, circuit: Circuit) -> Figure:
    """Estimate over truth of every parameter, medians with quartiles, beside the truth, the prior's mean and the prior's range."""
    names = list(prior.names)
    figure, (ax,) = canvas(1, 1.6 + 0.8 * len(names), 4.0)
    place, methods = np.arange(len(names)), [name for name in MARKERS if name in found and name != "prior_mean"]
    low, high = prior.low / circuit.truth, prior.high / circuit.truth
    ax.bar(place, high - low, 0.8, low, color="0.93", label="prior's range")
    for k, method in enumerate(methods):
        entry = [found[method]["ratio"][name] for name in names]
        x = place + (k - (len(methods) - 1) / 2) * 0.18
        middle = np.array([one["median"] for one in entry])
        ends = np.array([[one["median"] - one["low"], one["high"] - one["median"]] for one in entry]).T
        ax.errorbar(
            x, middle, ends, fmt=MARKERS[method], color=LOOK[method]["color"], markerfacecolor="white", markersize=5,
            linewidth=1.2, label=method,
        )  # fmt: skip
    if "prior_mean" in found:
        mean = np.array([found["prior_mean"]["ratio"][name]["median"] for name in names])
        ax.hlines(mean, place - 0.4, place + 0.4, color="0.35", linestyle="--", linewidth=1.2, label="prior mean")
    ax.axhline(1.0, color="black", linewidth=1, label="truth")
    ax.set_xticks(place, names, rotation=45)
    ax.set(ylabel="estimate / truth (1)", xlim=(-0.6, len(names) - 0.4), xlabel="parameter")
    ax.legend(fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def predictive_figures(
    truth: Predicted,
    found: Mapping[str, Sequence[Predicted | None]],
    index: int,
    waveform: FloatArray,
    circuit: Circuit,
) -> list[tuple[str, str, Figure]]:
    """Free simulation, times between switches, and the response to a step; name, caption and figure of each."""
    one = {name: each[index] for name, each in found.items()}
    return [
        ("free_simulation", "Left to themselves: the true network, a posterior sample, and the published fit.",
         free_simulation(truth, one, circuit)),
        ("dwell_times", "How long a population leads, of all free simulations; lines: survivors.",
         dwell_histogram(truth, found)),
        ("perturbation", "Mean response to a step of input to one population, inferred without input.",
         perturbation(truth, one, waveform, circuit)),
    ]  # fmt: skip


def free_simulation(truth: Predicted, found: Mapping[str, Predicted | None], circuit: Circuit) -> Figure:
    """Rates of the two competing populations, averaged over 80 ms, with the true network's levels."""
    rows: list[tuple[str, predictive.FreeRun]] = [("truth", truth.runs[0])]
    for name in ("amortized", "amortized_circuits", "amortized_refined", "per_neuron_fit", "prior_mean"):
        one = found.get(name)
        if one is not None:
            rows.append((f"{name}{', a posterior sample' if len(one.runs) > 1 else ''}", one.runs[0]))
    figure, axes = canvas(len(rows), 10.0, 1.0 + 1.5 * len(rows))
    true = predictive.pooled_levels(truth.runs)
    for ax, (title, run) in zip(axes, rows, strict=True):
        bins = min(run.rates.shape[1], int(SHOWN * 1000 / DT))
        time = (np.arange(bins) + 0.5) * DT / 1000
        for k, look in ((0, {"color": "black", "linewidth": 1.2}), (1, {"color": "0.6", "linewidth": 1.6})):
            smooth = uniform_filter1d(run.rates[k], round(80 / DT), mode="nearest")[:bins]
            ax.plot(time, smooth, label=circuit.names[k], **look)
        for k, level in enumerate((true.winner, true.loser)):
            ax.axhline(level, **BASELINE, label="levels of the true network" if k == 0 else None)
        ax.set_title(f"{title}: {run.changes:.0f} switches per 100 s", fontsize=9, loc="left")
        ax.set(xlim=(0, time[-1]), ylabel="rate (Hz)", ylim=(0, max(1.5 * true.winner, 1.2 * run.levels.winner, 1.0)))
        ax.tick_params(labelbottom=ax is axes[-1])
    axes[0].legend(fontsize=7, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0)
    axes[-1].set_xlabel("time (s)")
    return figure


def dwell_histogram(truth: Predicted, found: Mapping[str, Sequence[Predicted | None]]) -> Figure:
    """Histogram of the true network's times between switches, and of every method's the part that is longer than a time."""
    figure, axes = canvas(2, 6.5, 5.6)
    every = {"truth": [truth], **found}
    pooled = {
        name: np.concatenate([run.dwell for one in each if one is not None for run in one.runs]) / 1000
        for name, each in every.items()
    }
    pooled = {name: dwell for name, dwell in pooled.items() if len(dwell) > 1}
    edges = np.geomspace(0.1, 100.0, 22).tolist()
    drawn = [("truth", {"color": "black", "linewidth": 1.8})]
    drawn += [(name, LOOK[name]) for name in MARKERS if name not in ("prior_mean", "nearest_neighbour")]
    for name, look in drawn:
        if name not in pooled:
            continue
        dwell = pooled[name]
        weight = np.full(len(dwell), 1 / len(dwell))
        axes[0].hist(
            dwell,
            edges,
            weights=weight,
            histtype="step",
            label=f"{name} ({len(dwell)}, mean {dwell.mean():.1f} s)",
            **look,
        )
        axes[1].step(np.append(0.1, np.sort(dwell)), 1 - np.arange(len(dwell) + 1) / len(dwell), where="post", **look)
    if "truth" in pooled:
        mean, time = pooled["truth"].mean(), np.geomspace(0.1, 100.0, 200)
        label = "without memory, of the true mean"
        axes[0].stairs(np.diff(-np.exp(-np.array(edges) / mean)), edges, **BASELINE, label=label)
        axes[1].plot(time, np.exp(-time / mean), **BASELINE)
    for ax in axes:
        ax.set(xscale="log", xlim=(0.1, 100.0))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].set(ylabel="fraction of times")
    axes[1].set(ylabel="fraction that is longer", xlabel="time that a population leads (s)", ylim=(0, 1.02))
    axes[0].legend(fontsize=7, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def perturbation(
    truth: Predicted, found: Mapping[str, Predicted | None], waveform: FloatArray, circuit: Circuit
) -> Figure:
    """Mean response of each population, true and predicted, with the band of posterior samples."""
    m = len(circuit.names)
    figure, axes = canvas(m + 1, 7.0, 1.3 + 1.7 * m, height_ratios=[0.4] + [1.0] * m)
    time = (np.arange(waveform.shape[1]) + 0.5) * predictive.TRIAL_DT / 1000
    for k, look in zip(range(m), ("-", "--", ":", "-."), strict=False):
        axes[0].plot(time, waveform[k], color="black", linestyle=look, label=circuit.names[k])
    axes[0].set(ylabel="input\n(1/s)", xlim=(0, time[-1]))
    axes[0].legend(fontsize=7, ncols=m, loc="upper right", frameon=False)
    network, before = found.get("amortized"), round(predictive.BEFORE / predictive.TRIAL_DT)
    for k, ax in enumerate(axes[1:]):
        if network is not None and len(network.response) > 1:
            low, high = np.quantile(network.response[:, k], [0.05, 0.95], axis=0)
            ax.fill_between(time, low, high, color="0.85", linewidth=0, label="90 % of posterior samples")
        ax.plot(time, truth.response[0, k], color="black", linewidth=1.6, label="truth")
        for name in ("amortized", "amortized_circuits", "per_neuron_fit", "prior_mean"):
            one = found.get(name)
            if one is not None:
                ax.plot(time, one.response[:, k].mean(0), label=name, **LOOK[name])
        ax.axhline(float(truth.response[0, k, :before].mean()), **BASELINE, label="no response")
        ax.set(ylabel=f"{circuit.names[k]} (Hz)", xlim=(0, time[-1]))
        ax.set_ylim(0, 1.6 * float(truth.response[0, k].max()))
        ax.tick_params(labelbottom=k == m - 1)
    axes[0].tick_params(labelbottom=False)
    axes[1].legend(fontsize=6.5, ncols=3, loc="upper right", frameon=False)
    axes[-1].set_xlabel(f"time (s); means over trials in bins of {predictive.TRIAL_DT:g} ms")
    return figure


def _smooth(rates: FloatArray) -> FloatArray:
    return gaussian_filter1d(rates, SD / DT)
