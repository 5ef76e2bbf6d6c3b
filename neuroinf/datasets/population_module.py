"""Windows of the activity of populations, from simulations or recordings, for Lightning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

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


class SessionWindows(NamedTuple):
    """Windows (B, T, K) of one of several recordings."""

    session: int
    activity: Tensor


class Windows(Dataset[list[Tensor]]):
    """Windows (B, T, K) of each session's sequences, by their places (B, 2): sequence and first bin."""

    def __init__(self, sessions: Sequence[PopulationData], length: int) -> None:
        self.sessions, self.length = [tensors(data) for data in sessions], length

    def __getitem__(self, places: Sequence[NDArray[np.int64]]) -> list[Tensor]:
        return [
            torch.stack([sequences[s][start : start + self.length] for s, start in each.tolist()])
            for sequences, each in zip(self.sessions, places, strict=True)
        ]


class RandomWindows(Sampler[list[NDArray[np.int64]]]):
    """Batches of windows at random places: all windows of a session's sequences are equally likely, the same for the same epoch and
    seed.

    Args:
        lengths: Bins of each sequence of each session.
        window: Bins of a window.
        batch: Windows in a batch, divided among the sessions.
        steps: Batches of an epoch.
        seed: Of the places.
    """

    def __init__(self, lengths: Sequence[Sequence[int]], window: int, batch: int, steps: int, seed: int) -> None:
        self.starts = [np.array([length - window + 1 for length in session]) for session in lengths]
        self.each, self.steps, self.seed, self.epoch = math.ceil(batch / len(lengths)), steps, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[NDArray[np.int64]]]:
        # a generator: on resuming, Lightning makes the iterator before it says which epoch it is
        edges = [np.concatenate([[0], np.cumsum(starts)]) for starts in self.starts]
        stream = np.random.default_rng([self.seed, self.epoch])
        for _ in range(self.steps):
            yield [self._places(stream, ends) for ends in edges]

    def _places(self, stream: np.random.Generator, edges: NDArray[np.int64]) -> NDArray[np.int64]:
        place = stream.integers(edges[-1], size=self.each)
        sequence = np.searchsorted(edges, place, side="right") - 1
        return np.stack([sequence, place - edges[sequence]], 1)


def _named(data: PopulationData, label: int) -> PopulationData:
    return replace(data, name=f"{data.name}, group {label}")


def tensors(data: PopulationData) -> list[Tensor]:
    """Each sequence (T, K)."""
    return [torch.from_numpy(x) for x in data.activity]


def check_sessions(sessions: Sequence[PopulationData]) -> None:
    """Refuse recordings that no network can share.

    Raises:
        InputError: if kinds or bins differ, or two have the same neurons and are one session.
    """
    if not sessions:
        raise InputError("sessions: expected a population, found none")
    first = sessions[0]
    for number, data in enumerate(sessions[1:], start=1):
        if data.kind != first.kind:
            raise InputError(f"{data.name}: expected {first.kind}, as {first.name} has, found {data.kind}")
        if abs(data.dt - first.dt) > 1e-6 * first.dt:
            raise InputError(
                f"{data.name}: expected bins of {first.dt:g} ms, as {first.name} has, found {data.dt:g} ms"
            )
        if data.names in [other.names for other in sessions[:number]]:
            raise InputError(
                f"{data.name}: expected neurons of other names than those of the sessions before it, found the same: name them, or "
                f"give all as sequences of one population"
            )


def training_loader(
    sessions: Sequence[PopulationData], window: int, batch: int, steps: int, seed: int
) -> DataLoader[list[Tensor]]:
    """An epoch of batches: of each session (B, T, K); windows are at most as long as the shortest sequence."""
    lengths = [[len(x) for x in data.activity] for data in sessions]
    window = min(window, *(length for session in lengths for length in session))
    return DataLoader(Windows(sessions, window), None, sampler=RandomWindows(lengths, window, batch, steps, seed))


def validation_loader(sessions: Sequence[PopulationData]) -> DataLoader[SessionWindows]:
    """Whole sequences, those of a session that are equally long together."""
    batches = []
    for session, data in enumerate(sessions):
        by_length: dict[int, list[Tensor]] = {}
        for x in tensors(data):
            by_length.setdefault(len(x), []).append(x)
        for length, same in by_length.items():
            size = max(1, TOGETHER // length)
            stacks = [torch.stack(same[i : i + size]) for i in range(0, len(same), size)]
            batches += [SessionWindows(session, stack) for stack in stacks]
    return DataLoader(batches, None)  # pyright: ignore[reportArgumentType]


class PopulationDataModule(L.LightningDataModule):
    """Simulates a population, or reads a recording, and cuts windows from it.

    Args:
        path: The HDF5 file of the simulation; without one, any file that `neuroinf.recordings.populations` reads.
        simulation: What the file holds; None: it is there.
        sessions: Further recordings, of other neurons that are taken to share latents and dynamics.
        groups_apart: Each group of neurons, such as a layer, is a session of its own.
        test_sequences: The last so many sequences of each are kept for evaluation alone.
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
        InputError: if a number is out of its range, a file is missing or damaged, or sessions do not fit each other.
    """

    def __init__(
        self,
        path: str,
        simulation: Simulation | None = None,
        sessions: list[str] | None = None,
        groups_apart: bool = False,
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
        self.sessions, self.groups_apart = list(sessions or []), groups_apart
        self._data: list[PopulationData] | None = None
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
            if self.sessions:
                raise InputError("data.sessions: expected recordings only, or a simulation alone, found both")
            self._check_sequences(simulation.n)
            if round(simulation.duration / simulation.record_dt) < 2 * bins:
                raise InputError(f"data.bins: expected two bins at least, found one of {bins} in a sequence")
        else:
            for data in self.data:
                self._check_sequences(len(data.activity))

    def _check_sequences(self, number: int) -> None:
        left = number - self.test_sequences
        if left < (2 if self.divide == "sequences" else 1):
            raise InputError(
                f"data.test_sequences: expected sequences to train on beside {self.test_sequences} to test on, found {number} "
                "in all"
            )

    @property
    def neurons(self) -> list[int]:
        """K, of each session."""
        if self.simulation is not None:
            simulator = self.simulation.simulator
            assert isinstance(simulator, OfPopulations)
            groups = np.asarray(simulator.groups)
            return np.unique(groups, return_counts=True)[1].tolist() if self.groups_apart else [len(groups)]
        return [data.neurons for data in self.data]

    @property
    def kind(self) -> Kind:
        """Counts or traces."""
        if self.simulation is not None:
            return "counts" if self.simulation.simulator.channels["activity"] == "count" else "trace"
        return self.data[0].kind

    @property
    def data(self) -> list[PopulationData]:
        """All sequences of each session, in their bins."""
        if self._data is None:
            found = [read_population(path, self.dt) for path in (self.path, *self.sessions)]
            if self.groups_apart:
                found = [_named(data.of_group(label), label) for data in found for label in data.groups.tolist()]
            check_sessions(found)
            self._data = [bin_activity(data, self.bins) if self.bins > 1 else data for data in found]
        return self._data

    def parts(self, session: int = 0) -> tuple[PopulationData, PopulationData, PopulationData | None]:
        """A session's training, validation and, if there is any, test data."""
        data = self.data[session]
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
        """Read the files."""
        parts = [self.parts(session) for session in range(len(self.data))]
        self.train, self.val = [train for train, _, _ in parts], [val for _, val, _ in parts]

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Windows at random places."""
        return training_loader(self.train, self.window, self.batch_size, self.steps, self.seed)

    def val_dataloader(self) -> DataLoader[SessionWindows]:
        """Whole sequences."""
        return validation_loader(self.val)
