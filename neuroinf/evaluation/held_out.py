"""The neurons that a checkpoint is tested on: from a file, or simulated as its training configuration says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.construction import build, simulation_from_spec
from neuroinf.datasets.designs import in_words
from neuroinf.datasets.generation import generate
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.simulation import Simulation
from neuroinf.datasets.splits import Split, divide
from neuroinf.datasets.views import observe_rows
from neuroinf.errors import InputError
from neuroinf.evaluation.comparison import Condition
from neuroinf.fits import Evidence
from neuroinf.inference import Estimator

FloatArray = NDArray[np.float64]
# the noise of a test condition is drawn once, from this seed: all methods see the same
NOISE_SEED = 20_260_101
NEIGHBOURS = 5000
# values of one observation of all of them: the training rows of long recordings are fewer
NEIGHBOUR_VALUES = 2**27
# rows read together
TOGETHER = 256


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

    def first(self, n: int) -> HeldOut:
        """The first n rows."""
        return replace(self, rows=self.rows[:n])

    def bins(self, condition: Condition) -> int | None:
        """Number of samples observed under a condition; None: all."""
        return None if condition.duration is None else round(condition.duration / self.observation.dt)

    def observe(self, condition: Condition) -> NDArray[np.float32]:
        """Observations x (n, C, T) under a condition, the first T samples of each row; the same noise each time."""
        bins = self.bins(condition)
        parts = np.array_split(self.rows, -(-len(self.rows) // TOGETHER)) if len(self.rows) else [self.rows]
        # a copy, so that the rest of a long row is not kept
        cut = [observe_rows(self.file, part, self.observation, self.duration)[..., :bins].copy() for part in parts]
        x = self.observation.add_noise(np.concatenate(cut), np.random.default_rng(NOISE_SEED), condition.noise)
        for channel in condition.missing:
            x[:, self.observation.rows(channel)] = np.nan
        return x

    def evidence(self, x: NDArray[np.floating[Any]], condition: Condition) -> Evidence:
        """What a fit of the first len(x) rows is given beside the observations x."""
        rows = self.rows[: len(x)]
        content = None if "spikes" in condition.missing else self.file.rows(rows).spikes
        end = math.inf if condition.duration is None else condition.duration
        trains = [None if content is None else _before(content[i], end) for i in range(len(x))]
        return Evidence(
            x, self.observation, trains, self.hidden(rows, x.shape[-1]), self._known_stimulus(condition, len(x))
        )

    def _known_stimulus(self, condition: Condition, n: int) -> NDArray[np.float32] | None:
        """The first n rows' inputs (n, K, T) at the simulation's step; None where they are not all observed."""
        if "stimulus" not in self.observation.channels or "stimulus" in condition.missing or self.hidden_inputs:
            return None
        end = None if condition.duration is None else round(condition.duration / self.simulation.dt)
        return self.stimulus(np.arange(n))[..., :end]

    def hidden(self, rows: NDArray[np.int64], bins: int) -> FloatArray | None:
        """Activity (n, T) or (n, K, T) of the hidden inputs of some rows of the file; None if there are none."""
        if not self.hidden_inputs:
            return None
        return self.file.latent("hidden", rows).astype(np.float64)[..., :bins]

    @property
    def hidden_inputs(self) -> int:
        """Number of inputs that the file does not show."""
        return self.simulation.stimulus.inputs - self.simulation.observed_inputs

    def stimulus(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """What rows of this set saw (n, K, T), hidden inputs included, at the simulation's step, in the simulator's unit."""
        if self.hidden_inputs:
            # the file does not show them; rows say which waveform they saw, and each can be made again by itself
            seen, step = self.simulation.waveforms_of(self.rows[rows]), self.simulation.stimulus.dt
        else:
            seen, step = self.file.rows(self.rows[rows]).stimulus, self.file.stimulus_dt
        return np.repeat(seen, round(step / self.simulation.dt), axis=-1)


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


def remarks(estimator: Estimator, test: HeldOut) -> list[str]:
    """What calibration cannot mean on test neurons that are no independent draws from the network's prior."""
    found = []
    if test.file.prior.to_dict() != estimator.prior.to_dict():
        how = in_words(test.file.design, test.file.prior)
        found.append(
            f"The test neurons are not of the network's prior ({how}): SBC asks for draws from it and says nothing here, and an "
            f"honest interval may cover more or less of them than it says."
        )
    elif test.file.design != "random":
        found.append(
            "The test neurons are a Sobol design: each is a draw from the prior, but they lie more evenly than independent ones, "
            "so that SBC's p-values come out too large and standard errors are too wide."
        )
    return found


def training_rows(estimator: Estimator, folder: Path, trust: tuple[str, ...]) -> HeldOut:
    """As many neurons as a search for the nearest one takes, one sweep of each, drawn as those of the training set."""
    simulation = stated_simulation(estimator.provenance, "simulation", trust)
    values = estimator.observation.width * simulation.duration / estimator.observation.dt
    most = min(simulation.n, NEIGHBOURS, max(1, int(NEIGHBOUR_VALUES / values)))
    simulation = replace(simulation, n=most, sweeps=1)
    file = Dataset(generate(simulation, folder / f"training_{simulation.n}.h5", progress=True))
    return HeldOut(file, simulation, np.arange(file.n), estimator.observation)


def stated_simulation(provenance: dict[str, Any], which: str, trust: tuple[str, ...]) -> Simulation:
    """What a checkpoint's provenance says under `which`."""
    if which not in provenance:
        raise InputError("this checkpoint does not say how its data were simulated: give a dataset with --data FILE")
    return simulation_from_spec(provenance[which], trust)


def _before(train: NDArray[np.float32], end: float) -> FloatArray:
    """Spike times before an end, ms."""
    times = np.asarray(train, np.float64)
    return times[times < end]


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
