"""Do the estimated parameters respond like the neuron, in every channel that its simulator records?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.evaluation.metrics import PREDICTIVE
from neuroinf.evaluation.posterior_predictive import BAND, SAMPLES, quantiles
from neuroinf.evaluation.predictive import within
from neuroinf.evaluation.response_figure import best_median_worst
from neuroinf.evaluation.spike_trains import coincidence_factor

FloatArray = NDArray[np.float64]
NETWORK = "amortized"
# steps of all channels simulated together
_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class ChannelResponses:
    """Responses of n neurons without observation noise.

    Args:
        channels: Each (n, W); nan rows where there is no response.
        spikes: n arrays of times, ms; None where the model has none.
    """

    channels: dict[str, FloatArray]
    spikes: list[FloatArray] | None


@dataclass(frozen=True)
class Shown:
    """One neuron for a figure.

    Args:
        title: Which, and how well it is predicted.
        dt: Step of the channels, ms.
        units: Of each channel.
        observed: Each channel (W,).
        predicted: Of each method that is shown, likewise.
        band: 5 and 95 % of posterior samples, each channel (2, W); empty without samples.
    """

    title: str
    dt: float
    units: dict[str, str]
    observed: dict[str, FloatArray]
    predicted: dict[str, dict[str, FloatArray]]
    band: dict[str, FloatArray]


def predicted_channels(
    test: HeldOut, answers: Sequence[Estimates], columns: Sequence[int], most: int
) -> tuple[dict[str, Any], list[Shown]]:
    """The entry "predictive" of metrics.json, and the network's best, median and worst neuron.

    For each method the root-mean-square error of each channel without observation noise (median over neurons),
    `spike_gamma` (coincidence within 2 ms) if there are spikes, and `not_above_amortized`: the fraction of neurons whose error is
    no larger than with the network's answer, each channel's relative to its sd. For a posterior's samples `band_<channel>`:
    the fraction of the response within their 5 to 95 %, 0.9 if that is honest.

    Args:
        test: Test neurons and their simulator.
        answers: Every method's.
        columns: Columns of the estimates that are the simulator's parameters, in its order.
        most: Simulate at most so many neurons, the first ones.
    """
    first = test.first(most)
    rows = np.arange(len(first.rows))
    content = first.file.rows(first.rows)
    names = [name for name in test.simulation.simulator.channels if name in content.continuous]
    if not names:
        return {}, []
    observed = ChannelResponses(
        {name: np.asarray(content.continuous[name], np.float64) for name in names},
        None if content.spikes is None else [np.asarray(train, np.float64) for train in content.spikes],
    )
    stimulus = first.stimulus(rows)
    predicted = {
        answer.method: respond(test, answer.mean[rows][:, list(columns)], stimulus, names) for answer in answers
    }
    errors = {method: _errors(observed, response) for method, response in predicted.items()}
    spread = {name: np.maximum(values.std(axis=1), 1e-12) for name, values in observed.channels.items()}
    total = {
        m: np.sqrt(np.sum([np.square(e[name] / spread[name]) for name in names], axis=0)) for m, e in errors.items()
    }
    bands = {a.method: _bands(first, a, columns, stimulus, names) for a in answers if a.samples is not None}
    summary = dict[str, Any]()
    for method, error in errors.items():
        entry: dict[str, float] = dict.fromkeys(PREDICTIVE, np.nan)
        entry |= {f"{name}_rmse": _median(error[name]) for name in names}
        if observed.spikes is not None:
            entry["spike_gamma"] = _median(_coincidence(observed, predicted[method], test.duration))
        entry["not_above_amortized"] = _not_above(total[method], total.get(NETWORK))
        for name in names:
            band = bands.get(method, {}).get(name)
            entry[f"band_{name}"] = np.nan if band is None else _within(observed.channels[name], band)
        entry["n"] = int(np.isfinite(total[method]).sum())
        summary[method] = entry
    if NETWORK not in total:
        return summary, []
    units = {name: test.simulation.simulator.channels[name] for name in names}
    shown = []
    for label, row in best_median_worst(total[NETWORK]).items():
        parts = ", ".join(f"{name} error {errors[NETWORK][name][row]:.3g}" for name in names)
        of_row = {m: {c: v[row] for c, v in r.channels.items()} for m, r in predicted.items() if m.startswith(NETWORK)}
        band = {name: part[row] for name, part in bands.get(NETWORK, {}).items()}
        own = {name: values[row] for name, values in observed.channels.items()}
        shown.append(
            Shown(f"{label} (test neuron {row}): {parts}", test.simulation.record_dt, units, own, of_row, band)
        )
    return summary, shown


def respond(
    test: HeldOut, theta: FloatArray, stimulus: NDArray[np.floating[Any]], names: Sequence[str]
) -> ChannelResponses:
    """Responses of parameters (n, P), natural units, in the simulator's order; a row with a nan has none.

    Args:
        test: Says of which simulator, at which steps.
        theta: Parameters.
        stimulus: (n or 1, K, T).
        names: Of the channels.
    """
    simulation = test.simulation
    every, steps = round(simulation.record_dt / simulation.dt), stimulus.shape[-1]
    channels = {name: np.full((len(theta), steps // every), np.nan) for name in names}
    spikes = [np.zeros(0)] * len(theta)
    known = np.flatnonzero(np.isfinite(theta).all(axis=1))
    at_once = max(1, _AT_ONCE // (steps * len(names)))
    for part in np.split(known, range(at_once, len(known), at_once)):
        inputs = stimulus if len(stimulus) == 1 else stimulus[part]
        found = simulation.simulator.simulate(theta[part], inputs, simulation.dt, [int(i) for i in part])
        for name in names:
            channels[name][part] = np.asarray(found[name])[:, every - 1 :: every]
        for i, train in zip(part, found.get("spikes", []), strict=False):
            spikes[i] = np.asarray(train, np.float64)
    return ChannelResponses(channels, spikes)


def _errors(observed: ChannelResponses, predicted: ChannelResponses) -> dict[str, FloatArray]:
    return {
        name: np.sqrt(np.square(predicted.channels[name] - values).mean(axis=1))
        for name, values in observed.channels.items()
    }


def _coincidence(observed: ChannelResponses, predicted: ChannelResponses, duration: float) -> FloatArray:
    """(n,); nan where neither spikes, or there is no response."""
    pairs = zip(observed.spikes or [], predicted.spikes or [], strict=True)
    gamma = np.array([coincidence_factor(data, model, duration, 2.0) for data, model in pairs])
    lost = np.isnan(next(iter(predicted.channels.values()))).all(axis=1)
    return np.where(lost, np.nan, gamma)


def _bands(
    test: HeldOut, answer: Estimates, columns: Sequence[int], stimulus: NDArray[np.floating[Any]], names: Sequence[str]
) -> dict[str, FloatArray]:
    """5 and 95 % quantiles (n, 2, W) of each channel over posterior samples."""
    assert answer.samples is not None
    found: dict[str, list[FloatArray]] = {name: [] for name in names}
    for row in range(len(stimulus)):
        draws = answer.samples[row, :SAMPLES]
        theta = within(test.simulation.prior, draws)[:, list(columns)]
        response = respond(test, theta, stimulus[row : row + 1], names)
        for name in names:
            found[name].append(quantiles(response.channels[name], BAND))
    return {name: np.stack(bands) for name, bands in found.items()}


def _within(values: FloatArray, band: FloatArray) -> float:
    """Fraction of values (n, W) within a band (n, 2, W), wider by rounding; those without a band are left out."""
    margin = 1e-6 * np.abs(values).max(axis=1, keepdims=True)
    known = np.isfinite(band).all(axis=1)
    inside = (values >= band[:, 0] - margin) & (values <= band[:, 1] + margin)
    return float(inside[known].mean()) if known.any() else np.nan


def _not_above(error: FloatArray, network: FloatArray | None) -> float:
    if network is None:
        return np.nan
    known = np.isfinite(error) & np.isfinite(network)
    return float((error[known] <= network[known]).mean()) if known.any() else np.nan


def _median(values: FloatArray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
