"""Windows of a population's activity, from simulations or a recording, for Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from neuroinf.datasets.generation import generate
from neuroinf.datasets.populations import Kind, PopulationData
from neuroinf.datasets.preprocessing import bin_activity, split_time
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.recordings.populations import read_population
from neuroinf.simulators.protocol import OfPopulations

# bins of a validation batch
TOGETHER = 20_000


class Windows(Dataset[Tensor]):
    """Windows (B, T, K) of sequences, by their places (B, 2): sequence and first bin."""

    def __init__(self, data: PopulationData, length: int) -> None:
        self.sequences, self.length = [torch.from_numpy(x) for x in data.activity], length

    def __getitem__(self, places: NDArray[np.int64]) -> Tensor:
        return torch.stack([self.sequences[s][start : start + self.length] for s, start in places.tolist()])

    def __getitems__(self, index: list[NDArray[np.int64]]) -> list[Tensor]:
        return [self[places] for places in index]


class RandomWindows(Sampler[NDArray[np.int64]]):
    """Batches of windows at random places: all windows of all sequences are equally likely, the same for the same epoch and seed.

    Args:
        lengths: Bins of each sequence.
        window: Bins of a window.
        batch: Windows in a batch.
        steps: Batches of an epoch.
        seed: Of the places.
    """

    def __init__(self, lengths: list[int], window: int, batch: int, steps: int, seed: int) -> None:
        self.starts = np.array([length - window + 1 for length in lengths])
        self.batch, self.steps, self.seed, self.epoch = batch, steps, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        # a generator: on resuming, Lightning makes the iterator before it says which epoch it is
        edges = np.concatenate([[0], np.cumsum(self.starts)])
        stream = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.steps):
            place = stream.integers(edges[-1], size=self.batch)
            sequence = np.searchsorted(edges, place, side="right") - 1
            yield np.stack([sequence, place - edges[sequence]], 1)


def training_loader(data: PopulationData, window: int, batch: int, steps: int, seed: int) -> DataLoader[Tensor]:
    """An epoch of batches (B, T, K); windows are at most as long as the shortest sequence."""
    lengths = [len(x) for x in data.activity]
    window = min(window, *lengths)
    return DataLoader(Windows(data, window), None, sampler=RandomWindows(lengths, window, batch, steps, seed))


def validation_loader(data: PopulationData) -> DataLoader[Tensor]:
    """Whole sequences (B, T, K), those of equal length together."""
    by_length: dict[int, list[Tensor]] = {}
    for x in data.activity:
        by_length.setdefault(len(x), []).append(torch.from_numpy(x))
    batches = []
    for length, same in by_length.items():
        size = max(1, TOGETHER // length)
        batches += [torch.stack(same[i : i + size]) for i in range(0, len(same), size)]
    return DataLoader(batches, None)  # pyright: ignore[reportArgumentType]


class PopulationDataModule(L.LightningDataModule):
    """Simulates a population, or reads a recording, and cuts windows from it.

    Args:
        path: The HDF5 file of the simulation; without one, any file that `neuroinf.recordings.populations` reads.
        simulation: What the file holds; None: it is there.
        test_sequences: The last so many sequences are kept for evaluation alone.
        validation: Part of the rest that is not trained on.
        divide: Whether this part is the last stretch of each sequence (time), or the last of the sequences.
        bins: So many bins are joined to one.
        dt: Bin of recorded spike trains, ms.
        window: Bins of a window, at most; shorter if a sequence is.
        batch_size: Windows in a step.
        steps: Steps of an epoch.
        simulation_workers: Processes or threads that simulate.
        seed: Of the windows' places.

    Raises:
        InputError: if a number is out of its range, or the file is missing or damaged.
    """

    def __init__(
        self,
        path: str,
        simulation: Simulation | None = None,
        test_sequences: int = 0,
        validation: float = 0.2,
        divide: Literal["time", "sequences"] = "time",
        bins: int = 1,
        dt: float | None = None,
        window: int = 100,
        batch_size: int = 16,
        steps: int = 50,
        simulation_workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.path, self.simulation, self.dt, self.divide = path, simulation, dt, divide
        self.test_sequences, self.validation, self.bins, self.window = test_sequences, validation, bins, window
        self.batch_size, self.steps, self.simulation_workers, self.seed = batch_size, steps, simulation_workers, seed
        self._data: PopulationData | None = None
        for name, least in (
            ("test_sequences", 0),
            ("bins", 1),
            ("window", 2),
            ("batch_size", 1),
            ("steps", 1),
            ("simulation_workers", 1),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise InputError(f"data.{name} must be at least {least}, found {getattr(self, name)}")
        if not 0 < validation < 1:
            raise InputError(f"data.validation: expected a part between 0 and 1, found {validation}")
        if simulation is not None:
            if not isinstance(simulation.simulator, OfPopulations):
                raise InputError(
                    f"data.simulation.simulator: expected one of populations, found {type(simulation.simulator).__name__}"
                )
            if dt is not None:
                raise InputError("data.dt is of recorded spike trains: simulations have their own; leave it out")
            self._check_sequences(simulation.n)
            if round(simulation.duration / simulation.record_dt) < 2 * bins:
                raise InputError(f"data.bins: expected two bins at least, found one of {bins} in a sequence")
        else:
            self._check_sequences(len(self.data.activity))

    def _check_sequences(self, number: int) -> None:
        left = number - self.test_sequences
        if left < (2 if self.divide == "sequences" else 1):
            raise InputError(
                f"data.test_sequences: expected sequences to train on beside {self.test_sequences} to test on, found {number} "
                "in all"
            )

    @property
    def neurons(self) -> int:
        """K."""
        if self.simulation is not None:
            simulator = self.simulation.simulator
            assert isinstance(simulator, OfPopulations)
            return len(simulator.groups)
        return self.data.neurons

    @property
    def kind(self) -> Kind:
        """Counts or traces."""
        if self.simulation is not None:
            return "counts" if self.simulation.simulator.channels["activity"] == "count" else "trace"
        return self.data.kind

    @property
    def data(self) -> PopulationData:
        """All sequences, in their bins."""
        if self._data is None:
            data = read_population(self.path, self.dt)
            self._data = bin_activity(data, self.bins) if self.bins > 1 else data
        return self._data

    def parts(self) -> tuple[PopulationData, PopulationData, PopulationData | None]:
        """Training, validation and, if there is any, test data."""
        data = self.data
        kept = len(data.activity) - self.test_sequences
        test = data.take(range(kept, len(data.activity))) if self.test_sequences else None
        rest = data.take(range(kept))
        if self.divide == "time":
            train, val = split_time(rest, (1 - self.validation, self.validation))
        else:
            first = min(max(round(kept * (1 - self.validation)), 1), kept - 1)
            train, val = rest.take(range(first)), rest.take(range(first, kept))
        shortest = min(len(x) for x in (*train.activity, *val.activity))
        if shortest < 2:
            raise InputError(f"{data.name}: expected two bins at least in each part of a sequence, found {shortest}")
        return train, val, test

    def prepare_data(self) -> None:
        """Simulate, or complete, or check the file."""
        if self.simulation is not None:
            generate(self.simulation, Path(self.path), workers=self.simulation_workers)

    def setup(self, stage: str) -> None:
        """Read the file."""
        self.train, self.val, self.test = self.parts()

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Windows at random places."""
        return training_loader(self.train, self.window, self.batch_size, self.steps, self.seed)

    def val_dataloader(self) -> DataLoader[Tensor]:
        """Whole sequences."""
        return validation_loader(self.val)
