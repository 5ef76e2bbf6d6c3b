"""Windows of microscopic networks at the circuit's own parameters: what fits and networks are compared on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.fits.mesoscopic import binned
from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood
from neuroinf.recordings.network_recording import NetworkRecording, simulated_recording
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]
DT, HISTORY = 4.0, 1000.0  # ms
RECORDED = 3  # of each population, as in the published study
FIRST_SEED = 20_221  # of the first network: far from the roots of data sets, which are small numbers


@dataclass(frozen=True)
class Window:
    """Some seconds of a network, and the second before, which the published fit needs for its initial state.

    Attributes:
        name: With the network's seed and the first scored second.
        recording: History and scored time; without external input.
        rates: True rates of the populations in the scored time :math:`(M, T)`, Hz.
    """

    name: str
    recording: NetworkRecording
    rates: FloatArray

    @property
    def scored(self) -> NetworkRecording:
        """The recording without the history."""
        return self.recording.window(HISTORY, self.recording.duration)

    @property
    def switches(self) -> int:
        """How often the leading one of the first two populations changes; 0 where there is one population."""
        return int(np.count_nonzero(np.diff(dominance(self.rates, DT)))) if len(self.rates) > 1 else 0

    def likelihood(self, circuit: Circuit) -> MesoscopicLikelihood:
        """As the published fit has it: Euler's scheme at 4 ms."""
        times = np.concatenate(self.recording.spikes)
        units = np.repeat(np.arange(self.recording.neurons), [len(train) for train in self.recording.spikes])
        bins = round(self.recording.duration / DT)
        counts = binned(times, units, self.recording.neurons, bins, DT)
        return MesoscopicLikelihood(circuit, counts, self.recording.groups, DT, external=self.recording.inputs)


def windows(
    circuit: Circuit,
    number: int,
    networks: int,
    duration: float = 10_000.0,
    recorded: int = RECORDED,
    seed: int = FIRST_SEED,
) -> list[Window]:
    """Consecutive windows of networks at the circuit's own parameters, none of them chosen.

    Args:
        circuit: The circuit.
        number: Of windows, as many from each network as possible.
        networks: How many, each with its own seed.
        duration: Scored time of a window, ms.
        recorded: Neurons of each population.
        seed: Of the first network; the others' follow.

    Raises:
        InputError: if there are fewer windows than networks.
    """
    if not 1 <= networks <= number:
        raise InputError(f"windows: expected at least one of each of {networks} networks, found {number}")
    found, simulator = [], MicroscopicNetwork(circuit, recorded=recorded)
    span = round((HISTORY + duration) / DT)
    for k in range(networks):
        held = number // networks + (k < number % networks)
        silence = np.zeros((len(circuit.names), held * span))
        response = simulator.simulate(circuit.truth[None], silence[None], DT, seed + k)
        whole = simulated_recording(
            response["spikes"][0], response["units"][0], simulator.groups, held * span * DT, silence, DT
        )
        for first in range(0, held * span, span):
            begin = (first * DT + HISTORY) / 1000
            recording = whole.window(first * DT, (first + span) * DT)
            rates = response["latent/rates"][0][:, first + round(HISTORY / DT) : first + span]
            found.append(Window(f"seed{seed + k}_{begin:.0f}s", recording, rates))
    return found
