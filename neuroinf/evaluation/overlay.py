"""A recording with the response of the inferred model over it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.evaluation.figures import Overlay, overlays
from neuroinf.evaluation.predictive import Responses, compare, simulate
from neuroinf.recordings import Recording, detect_spikes, resample


def respond(recording: Recording, simulation: Simulation, theta: Mapping[str, float]) -> Responses:
    """What a neuron with these parameters does under the recording's current.

    Args:
        recording: With a stimulus.
        simulation: The simulator and its step.
        theta: Value of each of its parameters.

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
    row = np.array([[theta[name] for name in simulation.simulator.parameters]])
    return simulate(simulation.simulator, row, current[None, None], dt, record_dt, [0])


def overlay(recording: Recording, simulation: Simulation, theta: Mapping[str, float]) -> Figure:
    """Recorded and simulated voltage and spikes, with their errors in the title."""
    predicted = respond(recording, simulation, theta)
    steps = round(predicted.duration / predicted.dt)
    spikes = recording.spikes
    if spikes is None:
        spikes = np.empty(0) if recording.voltage is None else detect_spikes(recording.voltage, recording.dt)
    coarse = resample(recording, predicted.dt) if recording.dt <= predicted.dt else recording
    voltage = None if coarse.voltage is None else coarse.voltage[None, :steps]
    observed = Responses(predicted.duration, predicted.dt, voltage, [spikes[spikes < predicted.duration]])
    scores = compare(observed, predicted)
    error, gamma = scores["voltage_rmse"][0], scores["spike_gamma_4"][0]
    title = f"{recording.name}: voltage error {error:.1f} mV, coincidence within 4 ms {gamma:.2f}"
    stimulus = None if coarse.stimulus is None else coarse.stimulus[:steps]
    return overlays([Overlay(title, observed, predicted, stimulus, predicted.dt)])
