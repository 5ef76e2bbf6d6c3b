"""Do the estimated parameters behave like the neuron? Simulate them, and compare responses instead of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.spike_trains import (
    adaptation_index,
    coincidence_factor,
    cv,
    explained_variance_ratio,
    lv,
    rate,
)
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import Simulator

FloatArray = NDArray[np.float64]
# steps simulated together: a voltage at every step of every row would not fit into memory for a long recording
_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class Responses:
    """Responses of n neurons to stimuli of one duration, observed or simulated.

    Args:
        duration: ms.
        dt: Step of the voltage, ms.
        voltage: (n, T), mV, nan during spikes; None if there is none.
        spikes: n arrays of sorted times, ms; None in place of an array where there is no response.
    """

    duration: float
    dt: float
    voltage: NDArray[np.floating[Any]] | None
    spikes: Sequence[FloatArray | None]

    def row(self, i: int) -> Responses:
        """The response of one neuron."""
        voltage = None if self.voltage is None else self.voltage[i : i + 1]
        return Responses(self.duration, self.dt, voltage, [self.spikes[i]])


def within(prior: Prior, theta: FloatArray) -> FloatArray:
    """Parameters (n, P) moved into the prior's range: a density over a grid's values reaches beyond its ends."""
    return prior.from_unit(np.clip(prior.to_unit(theta), 0.0, 1.0))


def simulate(
    simulator: Simulator,
    theta: FloatArray,
    stimulus: NDArray[np.floating[Any]],
    dt: float,
    record_dt: float,
    seeds: Sequence[int],
) -> Responses:
    """Responses to the stimulus of neurons with the estimated parameters.

    Args:
        simulator: Simulator.
        theta: Parameters (n, P); a row with a nan has no response.
        stimulus: Waveforms (n or 1, K, T), in the simulator's unit.
        dt: Step, ms.
        record_dt: Step at which the voltage is kept, ms: the sample at the end of each.
        seeds: One for each row.

    Returns:
        The n responses.
    """
    n, steps = len(theta), stimulus.shape[-1]
    known = [int(i) for i in np.flatnonzero(np.isfinite(theta).all(axis=1))]
    spikes: list[FloatArray | None] = [None] * n
    voltage: FloatArray | None = None
    keep = slice(round(record_dt / dt) - 1, None, round(record_dt / dt))
    if "voltage" in simulator.channels:
        voltage = np.full((n, len(range(steps)[keep])), math.nan)
    at_once = max(1, _AT_ONCE // max(steps, 1))
    for part in (known[k : k + at_once] for k in range(0, len(known), at_once)):
        inputs = stimulus if len(stimulus) == 1 else stimulus[part]
        response = simulator.simulate(theta[part], inputs, dt, [seeds[i] for i in part])
        for i, train in zip(part, response["spikes"], strict=True):
            spikes[i] = np.asarray(train, dtype=np.float64)
        if voltage is not None:
            voltage[part] = response["voltage"][:, keep]
    return Responses(steps * dt, record_dt, voltage, spikes)


def compare(observed: Responses, predicted: Responses) -> dict[str, FloatArray]:
    """Scores of each prediction against what was observed, spikes within [0, duration).

    Args:
        observed: The neurons' responses.
        predicted: Simulated from the parameters that were estimated; a row without response has scores nan.

    Returns:
        For each of these (n,), nan where undefined:
        `voltage_rmse` (mV, over samples outside either one's spikes; observation noise is part of it),
        `spike_gamma` (window 2 ms), `spike_gamma_4` (4 ms), `explained_variance_ratio` (one repeat),
        and absolute errors: `rate_error` (Hz), `cv_error`, `lv_error`, `adaptation_error`.

    Raises:
        ValueError: if durations or voltages do not match.
    """
    if abs(observed.duration - predicted.duration) > 1e-6 or len(observed.spikes) != len(predicted.spikes):
        raise ValueError(
            f"cannot compare {len(observed.spikes)} responses of {observed.duration:g} ms "
            f"with {len(predicted.spikes)} of {predicted.duration:g} ms"
        )
    rows = [
        _spike_scores(data, model, observed.duration)
        for data, model in zip(observed.spikes, predicted.spikes, strict=True)
    ]
    scores = {key: np.array([row[key] for row in rows]) for key in _SPIKE_SCORES}
    return {"voltage_rmse": voltage_rmse(observed, predicted), **scores}


def voltage_rmse(observed: Responses, predicted: Responses) -> FloatArray:
    """Root-mean-square difference (n,) of voltages, mV, over samples that both have; nan where they share none."""
    if observed.voltage is None or predicted.voltage is None:
        return np.full(len(observed.spikes), math.nan)
    if observed.voltage.shape != predicted.voltage.shape or observed.dt != predicted.dt:
        raise ValueError(
            f"voltages do not match: {observed.voltage.shape} every {observed.dt:g} ms, "
            f"{predicted.voltage.shape} every {predicted.dt:g} ms"
        )
    difference = (observed.voltage - predicted.voltage).astype(np.float64)
    shared = np.isfinite(difference)
    total = np.where(shared, difference**2, 0.0).sum(axis=1)
    count = shared.sum(axis=1)
    return np.sqrt(np.divide(total, count, out=np.full(len(total), math.nan), where=count > 0))


def summarise(scores: Mapping[str, FloatArray]) -> dict[str, float]:
    """The entry of one method under "predictive" in metrics.json: medians over the neurons where a score is defined.

    Medians, as the published explained variance ratios are; `n` counts the neurons that were simulated, `n_spiking`
    those where a coincidence factor is defined: at least one of the two trains has spikes.
    """
    medians = {key: float(np.nanmedian(v)) if np.isfinite(v).any() else math.nan for key, v in scores.items()}
    return {
        **medians,
        "n": int(np.isfinite(scores["rate_error"]).sum()),
        "n_spiking": int(np.isfinite(scores["spike_gamma"]).sum()),
    }


# Step of the binary trains, ms: fine against the 10 ms of the smoothing; a common step makes recordings comparable.
_TRAIN_DT = 0.1
_SPIKE_SCORES = (
    "spike_gamma",
    "spike_gamma_4",
    "explained_variance_ratio",
    "rate_error",
    "cv_error",
    "lv_error",
    "adaptation_error",
)


def _spike_scores(data: FloatArray | None, model: FloatArray | None, duration: float) -> dict[str, float]:
    if data is None or model is None:
        return dict.fromkeys(_SPIKE_SCORES, math.nan)
    data, model = (train[(train >= 0) & (train < duration)] for train in (data, model))
    long_enough = duration >= 100.0  # the smoothing kernel's length, 10 sigma
    return {
        "spike_gamma": coincidence_factor(data, model, duration, 2.0),
        "spike_gamma_4": coincidence_factor(data, model, duration, 4.0),
        "explained_variance_ratio": explained_variance_ratio([data], model, duration, _TRAIN_DT)
        if long_enough
        else math.nan,
        "rate_error": abs(rate(model, duration) - rate(data, duration)),
        "cv_error": abs(cv(model) - cv(data)),
        "lv_error": abs(lv(model) - lv(data)),
        "adaptation_error": abs(adaptation_index(model) - adaptation_index(data)),
    }
