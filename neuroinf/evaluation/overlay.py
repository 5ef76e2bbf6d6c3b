"""A recording with the response of the inferred model over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.evaluation.posterior_predictive import SAMPLES, PredictiveCheck
from neuroinf.evaluation.predictive import Responses, compare, simulate, within
from neuroinf.evaluation.response_figure import Overlay, overlays
from neuroinf.posterior import Posterior
from neuroinf.recordings import Recording, detect_spikes, observe

FloatArray = NDArray[np.float64]
LONGEST = 3000.0  # ms: single spikes can be told apart on a page
STRIDE = 100.0  # ms, between the stretches that are considered


def respond(recording: Recording, simulation: Simulation, theta: Mapping[str, float | FloatArray]) -> Responses:
    """What neurons with these parameters do under the recording's current.

    Args:
        recording: With a stimulus.
        simulation: The simulator and its step.
        theta: Value of each of its parameters, or values (n,).

    Raises:
        InputError: if the recording has no stimulus.
    """
    if recording.stimulus is None:
        raise InputError(f"{recording.name}: without the current that was injected no response can be simulated")
    dt, record_dt = simulation.dt, max(simulation.record_dt, simulation.dt)
    steps = int(recording.duration / record_dt + 1e-9) * round(record_dt / dt)
    # the current at the simulation's steps: held, or averaged where the recording is finer
    edges = np.arange(steps + 1) * dt / recording.dt
    total = np.concatenate([[0.0], np.cumsum(recording.stimulus)])
    current = np.diff(np.interp(edges, np.arange(len(total)), total)) / (dt / recording.dt)
    rows = np.column_stack([np.atleast_1d(theta[name]) for name in simulation.simulator.parameters])
    return simulate(simulation.simulator, rows, current[None, None], dt, record_dt, range(len(rows)))


def respond_as(seen: Recording, predicted: Responses) -> Responses:
    """An observed recording (`recordings.observe` at the prediction's step), cut to the prediction's span."""
    steps = round(predicted.duration / predicted.dt)
    voltage = None if seen.voltage is None else seen.voltage[None, :steps]
    spikes = np.empty(0) if seen.spikes is None else seen.spikes
    inside = spikes[(spikes >= 0) & (spikes < predicted.duration)]
    return Responses(predicted.duration, predicted.dt, voltage, [inside])


def predictive_check(
    recording: Recording, simulation: Simulation, posterior: Posterior, cut: float, samples: int = SAMPLES
) -> PredictiveCheck:
    """Responses of posterior samples to the recording's current, beside the recorded one.

    Args:
        recording: With a stimulus.
        simulation: The simulator and its step.
        posterior: Of the neuron's parameters.
        cut: Time after a spike that is left out of the recorded voltage, ms, as it is of the simulated.
        samples: Number of samples.

    Raises:
        InputError: if the recording has no stimulus, or the posterior is a point.
    """
    draws = dict(zip(posterior.prior.names, within(posterior.prior, posterior.sample(samples)).T, strict=True))
    drawn = respond(recording, simulation, draws)
    return PredictiveCheck(respond_as(observe(recording, drawn.dt, cut, simulation.dt), drawn), drawn)


def typical(sweeps: Sequence[Recording]) -> Recording:
    """Of the sweeps with a stimulus, that of median spike count among those that spike; else the first."""
    usable = [sweep for sweep in sweeps if sweep.stimulus is not None]
    if not usable:
        raise InputError(f"{sweeps[0].name}: without the current that was injected no response can be simulated")
    counts = [(len(_spikes(sweep)), k) for k, sweep in enumerate(usable)]
    spiking = sorted(count for count in counts if count[0] > 0)
    return usable[spiking[len(spiking) // 2][1]] if spiking else usable[0]


def overlay(
    recording: Recording,
    simulation: Simulation,
    theta: Mapping[str, float],
    cut: float,
    check: PredictiveCheck | None = None,
) -> Figure:
    """Recorded and simulated voltage and spikes, with the errors of the whole sweep in the title.

    Of a sweep longer than 3 s, the 3 s with most spikes are shown.

    Args:
        recording: With a stimulus.
        simulation: The simulator and its step.
        theta: Value of each of its parameters.
        cut: Time after a spike that is left out of the recorded voltage, ms, as it is of the simulated.
        check: Of this recording: its band and its samples' spikes are drawn as well.
    """
    predicted = respond(recording, simulation, theta)
    coarse = observe(recording, predicted.dt, cut, simulation.dt)
    observed = respond_as(coarse, predicted)
    scores = compare(observed, predicted)
    error, gamma = scores["voltage_rmse"][0], scores["spike_gamma_4"][0]
    start, stop = _busiest(observed)
    shown = "" if stop - start >= observed.duration else f"; {start / 1000:.1f} to {stop / 1000:.1f} s of it shown"
    first, last = _counts(observed, predicted)
    title = (
        f"{recording.name} ({observed.duration / 1000:.1f} s{shown})\n"
        f"posterior mean: {first} spikes recorded, {last} simulated; coincidence within 4 ms {gamma:.2f}; "
        f"voltage error {error:.1f} mV"
    )
    part = slice(round(start / predicted.dt), round(stop / predicted.dt))
    stimulus = None if coarse.stimulus is None else coarse.stimulus[part]
    recorded, simulated = (_stretch(response, start, stop, part) for response in (observed, predicted))
    if check is not None:
        title += f"\n{len(check.counts)} samples: {check.line()}"
        check = PredictiveCheck(recorded, _stretch(check.drawn, start, stop, part))
    return overlays([Overlay(title, recorded, simulated, stimulus, predicted.dt, start=start, check=check)])


def _spikes(sweep: Recording) -> np.ndarray:
    if sweep.spikes is not None:
        return sweep.spikes
    return np.empty(0) if sweep.voltage is None else detect_spikes(sweep.voltage, sweep.dt)


def _counts(*responses: Responses) -> list[int]:
    return [0 if r.spikes[0] is None else len(r.spikes[0]) for r in responses]


def _busiest(observed: Responses) -> tuple[float, float]:
    """Beginning and end of the LONGEST ms with most spikes, the earliest of equals."""
    if observed.duration <= LONGEST or observed.spikes[0] is None:
        return 0.0, observed.duration
    starts = np.arange(0.0, observed.duration - LONGEST + 1e-9, max(STRIDE, observed.dt))
    number = np.searchsorted(observed.spikes[0], starts + LONGEST) - np.searchsorted(observed.spikes[0], starts)
    start = float(starts[np.argmax(number)])
    return start, start + LONGEST


def _stretch(response: Responses, start: float, stop: float, part: slice) -> Responses:
    """The responses within [start, stop), their times counted from start."""
    inside = [None if train is None else train[(train >= start) & (train < stop)] - start for train in response.spikes]
    voltage = None if response.voltage is None else response.voltage[:, part]
    return Responses(stop - start, response.dt, voltage, inside)
