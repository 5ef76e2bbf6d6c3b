"""Networks at draws of the prior: what calibration is judged on, and among which the nearest neighbour is searched for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.schema import Dataset
from neuroinf.errors import InputError
from neuroinf.evaluation.comparison import binned_summary
from neuroinf.evaluation.mesoscopic_windows import DT, RECORDED
from neuroinf.priors import Prior
from neuroinf.recordings.network_recording import NetworkRecording, simulated_recording
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]
LEAST = 0.5  # Hz: mean rate of every population of a stable draw
TOGETHER = 50
STRETCHES = 32


@dataclass(frozen=True)
class Draws:
    """Networks with their own parameters each.

    Attributes:
        theta: Parameters :math:`(n, P)`.
        recordings: Of a few neurons of each.
        rates: True rates of the populations :math:`(n, M, T)`, Hz.
        stable: Whether no population is silent or saturated (n,); the others are kept.
    """

    theta: FloatArray
    recordings: list[NetworkRecording]
    rates: FloatArray
    stable: NDArray[np.bool_]


def draws(
    circuit: Circuit, prior: Prior, number: int, seed: int, duration: float = 10_000.0, recorded: int = RECORDED
) -> Draws:
    """Simulated without external input.

    Args:
        circuit: The circuit.
        prior: Over its free parameters, in their order.
        number: How many.
        seed: Of parameters and networks.
        duration: ms.
        recorded: Neurons of each population.
    """
    theta = prior.sample(number, np.random.default_rng(seed))
    network = MicroscopicNetwork(circuit, recorded=recorded)
    silence = np.zeros((len(circuit.names), round(duration / DT)))
    recordings, rates, saturated = [], [], []
    for first in range(0, number, TOGETHER):
        some = theta[first : first + TOGETHER]
        # a number of its own for each network, so that the number drawn together changes nothing
        seeds = [seed * 2**32 + first + i for i in range(len(some))]
        response = network.simulate(some, silence[None], DT, seeds)
        for times, units in zip(response["spikes"], response["units"], strict=True):
            recordings.append(simulated_recording(times, units, network.groups, duration, silence, DT))
        rates.append(response["latent/rates"])
        saturated.append(response["saturated"])
    every = np.concatenate(rates)
    return Draws(theta, recordings, every, ~np.concatenate(saturated) & (every.mean(2) >= LEAST).all(1))


def draws_of_file(path: Path, prior: Prior, number: int) -> Draws:
    """The first rows of a dataset, all its recorded neurons and its external inputs known.

    Raises:
        InputError: if it has no networks, or other parameters than the prior.
    """
    if not path.is_file():
        raise InputError(f"no dataset at {path}: expected a file written by neuroinf simulate")
    file = Dataset(path)
    if tuple(file.names) != tuple(prior.names) or "spikes" not in file.groups:
        raise InputError(
            f"{path}: expected networks with the parameters {list(prior.names)}, found {list(file.names)}"
            f"{'' if 'spikes' in file.groups else ' of single neurons'}"
        )
    index = np.arange(min(number, file.n))
    rows, rates = file.rows(index), file.latent("rates", index).astype(np.float64)
    assert rows.spikes is not None and rows.units is not None
    groups, step = file.groups["spikes"], file.stimulus_dt
    duration = rows.stimulus.shape[-1] * step
    recordings = [
        simulated_recording(times, units, groups, duration, stimulus, step)
        for times, units, stimulus in zip(rows.spikes, rows.units, rows.stimulus, strict=True)
    ]
    return Draws(rows.parameters, recordings, rates, (rows.status == 0) & (rates.mean(2) >= LEAST).all(1))


class NearestDraw:
    """The parameters of the draw with the most similar spikes: mean and standard deviation of each population's counts in
    32 stretches, standardised over the draws. A check, not a contender.

    Args:
        among: The draws.
    """

    def __init__(self, among: Draws) -> None:
        features = summaries(among.recordings)
        self._mean, sd = features.mean(0), features.std(0)
        self._sd = np.where(sd > 0, sd, 1.0)
        self._features, self._theta = (features - self._mean) / self._sd, among.theta

    def __call__(self, recordings: Sequence[NetworkRecording]) -> FloatArray:
        """Parameters :math:`(n, P)` of n recordings."""
        z = (summaries(recordings) - self._mean) / self._sd
        distance = (self._features**2).sum(1) - 2 * z @ self._features.T
        return self._theta[distance.argmin(1)]


def summaries(recordings: Sequence[NetworkRecording]) -> FloatArray:
    """Summary of the mean count of each population's recorded neurons, (n, F); times relative to each recording's duration."""
    populations = max(int(recording.groups.max()) for recording in recordings) + 1
    rows = []
    for recording in recordings:
        bins = int(recording.duration / DT + 1e-6)
        counts = np.zeros((populations, bins))
        for train, group in zip(recording.spikes, recording.groups, strict=True):
            place = np.minimum((train / DT).astype(int), bins - 1)
            np.add.at(counts[group], place, 1.0 / np.count_nonzero(recording.groups == group))
        rows.append(binned_summary(counts[None], STRETCHES)[0])
    return np.array(rows)
