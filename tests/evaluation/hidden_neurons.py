"""A small GLM experiment: three observed inputs, a hidden one, all standard normal."""

from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.datasets import Observation, Simulation
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM
from neuroinf.stimuli import GaussianInputs, Stimulus

SIZE = 1 / 10**0.5


def prior(size: float = SIZE, inputs: int = 3) -> Prior:
    names = [*(f"w_{i + 1}" for i in range(inputs)), "b", "w_hidden"]
    return Prior({name: Parameter("1", -size, size) for name in names})


def simulation(
    n: int, duration: float, stimulus: Stimulus | None = None, size: float = SIZE, seed: int = 0, **neuron: Any
) -> Simulation:
    inputs = GaussianInputs(4, duration) if stimulus is None else stimulus
    return Simulation(GLM(inputs=3, **neuron), prior(size), inputs, n, 1.0, 1.0, seed, waveforms=4 * n)


def held_out(simulated: Simulation, folder: Path, duration: list[float] | None = None) -> HeldOut:
    channel = next(iter(simulated.simulator.channels))
    observation = Observation(channels=[channel, "stimulus"], inputs=3, duration=duration)
    file = Dataset(generate(simulated, folder / "neurons.h5", progress=False, workers=1))
    return HeldOut(file, simulated, np.arange(file.n), observation)
