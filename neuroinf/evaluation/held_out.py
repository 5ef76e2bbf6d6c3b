"""The neurons that a checkpoint is tested on: from a file, or simulated as its training configuration says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.construction import build, simulation_from_spec
from neuroinf.datasets.generation import generate
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.simulation import Simulation
from neuroinf.datasets.splits import Split, divide
from neuroinf.datasets.views import observe_rows
from neuroinf.errors import InputError
from neuroinf.evaluation.comparison import Condition
from neuroinf.inference import Estimator

FloatArray = NDArray[np.float64]
# the noise of a test condition is drawn once, from this seed: all methods see the same
NOISE_SEED = 20_260_101
NEIGHBOURS = 5000


@dataclass(frozen=True)
class HeldOut:
    """Test rows: their file, their simulator, and which of them are used.

    Args:
        file: The dataset.
        simulation: What it holds.
        rows: Rows in use, sorted.
        observation: How the network sees them.
    """

    file: Dataset
    simulation: Simulation
    rows: NDArray[np.int64]
    observation: Observation

    @property
    def truth(self) -> FloatArray:
        """True parameters (n, P), natural units."""
        return self.file.parameters[self.rows]

    @property
    def duration(self) -> float:
        """Of a row, ms."""
        return self.simulation.duration

    def observe(self, condition: Condition) -> NDArray[np.float32]:
        """Observations x (n, C, T) under a condition; the same noise each time."""
        x = observe_rows(self.file, self.rows, self.observation, self.duration)
        x = self.observation.add_noise(x, np.random.default_rng(NOISE_SEED), condition.noise)
        for channel in condition.missing:
            x[:, self.observation.rows(channel)] = np.nan
        return x

    def stimulus(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What rows of this set saw (n, K, T), at the simulation's step, in the simulator's unit."""
        content = self.file.rows(self.rows[rows])
        return np.repeat(content.stimulus, round(self.file.stimulus_dt / self.simulation.dt), axis=-1)


def held_out(
    estimator: Estimator, data: Path | None, folder: Path, neurons: int | None, trust: tuple[str, ...]
) -> HeldOut:
    """The test set of a checkpoint.

    Args:
        estimator: The opened checkpoint.
        data: A dataset to test on; None simulates the test set that the training configuration names.
        folder: Where to keep a simulated one.
        neurons: Use at most so many rows.
        trust: Packages whose classes may be imported.

    Raises:
        InputError: if the dataset is of another simulator's parameters than the checkpoint infers.
    """
    if data is None:
        simulation = stated_simulation(estimator.provenance, "test_simulation", trust)
        if neurons is not None and neurons < simulation.n:
            simulation = replace(simulation, n=neurons)
        split = build(estimator.provenance["split"], Split, trust)  # type: ignore[type-abstract]
        path = generate(simulation, folder / f"test_{simulation.n}.h5", progress=True)
        file = Dataset(path)
        partition = divide(split, file.names, file.parameters, file.waveform_index, file.sweeps, 0)
        # a held-out region is a part of the rows; rows and waveforms held out at random are all new in this file
        region = type(split).__name__ == "HeldOutRegion"
        rows = partition.test if region else np.arange(file.n)
    else:
        if not data.is_file():
            raise InputError(f"no dataset at {data}: expected a file written by neuroinf simulate")
        file = Dataset(data)
        simulation = simulation_from_spec(file.specification, trust)
        # one sweep of each neuron: its sweeps are no independent tests of calibration
        rows = np.arange(0, file.n, file.sweeps)[:neurons]
    _check_same(estimator, file)
    if not len(rows):
        raise InputError(f"{file.path}: no row is left to test on: the held-out region has none")
    return HeldOut(file, simulation, rows, estimator.observation)


def training_rows(estimator: Estimator, folder: Path, trust: tuple[str, ...]) -> HeldOut:
    """As many neurons as a search for the nearest one takes, one sweep of each, drawn as those of the training set."""
    simulation = stated_simulation(estimator.provenance, "simulation", trust)
    simulation = replace(simulation, n=min(simulation.n, NEIGHBOURS), sweeps=1)
    file = Dataset(generate(simulation, folder / f"training_{simulation.n}.h5", progress=True))
    return HeldOut(file, simulation, np.arange(file.n), estimator.observation)


def stated_simulation(provenance: dict[str, Any], which: str, trust: tuple[str, ...]) -> Simulation:
    """What a checkpoint's provenance says under `which`."""
    if which not in provenance:
        raise InputError("this checkpoint does not say how its data were simulated: give a dataset with --data FILE")
    return simulation_from_spec(provenance[which], trust)


def _check_same(estimator: Estimator, file: Dataset) -> None:
    trained = estimator.provenance.get("simulation")
    ours, theirs = (None if s is None else s["init_args"]["simulator"] for s in (trained, file.specification))
    if ours is not None and theirs is not None and ours["class_path"] != theirs["class_path"]:
        raise InputError(
            f"{file.path} was simulated by {theirs['class_path']}, the checkpoint {estimator.path} infers the parameters of "
            f"{ours['class_path']}: expected a dataset of the same simulator"
        )
    for what, ours, theirs in (
        ("parameters", estimator.prior.names, file.names),
        ("units", estimator.prior.units, file.units),
    ):
        if tuple(ours) != tuple(theirs):
            raise InputError(
                f"{file.path} holds the {what} {list(theirs)}, the checkpoint {estimator.path} infers {list(ours)}: "
                f"expected a dataset of the same simulator and prior"
            )
