"""Batches of (observation, parameters) streamed from a simulated file, for Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.observation import Observation, decimate, hold_or_average
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.splits import Partition, RandomRows, Split
from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.stimuli import Stimulus

Batch = tuple[Tensor, Tensor]
Draw = tuple[int, int]
# rows on which a split is tried before anything is simulated
REHEARSED = 1000


class EpochShuffle(Sampler[Draw]):
    """Every row once per epoch, as (epoch, row): in a new order each epoch, the same for the same seed.

    The epoch goes with the row to the reader, which draws that view's noise from it: a resumed run sees what the
    uninterrupted one would have seen, whatever the number of workers.

    Args:
        rows: The rows of an epoch.
        seed: Of the order.
        shuffle: False: always in order, and as in epoch 0.
        process: Which of the training processes this is.
        processes: How many there are; each takes its share of every epoch.
    """

    def __init__(self, rows: NDArray[np.int64], seed: int, shuffle: bool, process: int = 0, processes: int = 1) -> None:
        self.rows, self.seed, self.shuffle, self.epoch = rows, seed, shuffle, 0
        self.process, self.processes = process, processes

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.rows) // self.processes)

    def __iter__(self) -> Iterator[Draw]:
        epoch, order = 0, self.rows
        if self.shuffle:
            epoch = self.epoch
            stream = np.random.SeedSequence(self.seed, spawn_key=(2, epoch))
            order = np.random.Generator(np.random.Philox(stream)).permutation(order)
        # every training process takes its share; the last ones begin again, so that all shares are of one size
        share = np.resize(order, len(self) * self.processes)[self.process :: self.processes]
        return iter([(epoch, int(row)) for row in share])


class Views(TorchDataset[Batch]):
    """Training views of a file's rows: the observation with fresh noise, and the parameters in unconstrained space.

    The file is opened in each worker. If `hold`, all rows of the file are put on the network's grid once and kept in
    memory; else they are read when asked for.
    """

    def __init__(
        self, path: Path, observation: Observation, prior: Prior, duration: float, seed: int, hold: bool
    ) -> None:
        self.file, self.observation, self.duration, self.seed = Dataset(path), observation, duration, seed
        self.z = prior.to_unconstrained(torch.from_numpy(self.file.parameters)).float()
        self.held: NDArray[np.float32] | None = None
        if hold:
            blocks = [np.arange(i, min(i + 2048, self.file.n)) for i in range(0, self.file.n, 2048)]
            self.held = np.concatenate([self.observe(block) for block in blocks])

    def observe(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Noise-free observations x (n, C, T) of rows."""
        if self.held is not None:
            return self.held[rows]
        return observe_rows(self.file, rows, self.observation, self.duration)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        x = self.observe(np.array([row for _, row in draws]))
        streams = [self._stream(epoch, row) for epoch, row in draws]
        length = self.observation.length(x.shape[-1], streams[0])
        views = np.stack([self.observation.view(x[i], length, stream) for i, stream in enumerate(streams)])
        return torch.from_numpy(views), self.z[[row for _, row in draws]]

    def _stream(self, epoch: int, row: int) -> np.random.Generator:
        key = np.array([self.seed, 1 + epoch], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, row]))

    def __getitem__(self, draw: Draw) -> Batch:
        x, z = self.__getitems__([draw])
        return x[0], z[0]

    def __len__(self) -> int:
        return self.file.n


def observe_rows(
    file: Dataset, rows: NDArray[np.int64], observation: Observation, duration: float
) -> NDArray[np.float32]:
    """Noise-free observations x (n, C, T) of a file's rows."""
    content = file.rows(rows)
    return observation.assemble(
        len(rows),
        duration,
        {name: (values, file.record_dt) for name, values in content.continuous.items()},
        content.spikes,
        (content.stimulus, file.stimulus_dt),
    )


class SimulationDataModule(L.LightningDataModule):
    """Simulates what it does not find, then streams it.

    Args:
        simulation: What the file holds.
        observation: What the network sees of it.
        path: The HDF5 file.
        split: Which rows train, validate and test.
        test_stimulus: The stimulus of the test neurons, if it is to be another than in training.
        test_rows: Number of test neurons; evaluation simulates them, from another seed.
        batch_size: Rows per batch.
        workers: Reading processes; 0 reads in the training process.
        simulation_workers: Processes or threads that simulate.
        memory_limit: GB. A file whose observations take no more than this is held in memory.
        seed: Seed of split, order and noise.
    """

    def __init__(
        self,
        simulation: Simulation,
        observation: Observation,
        path: str,
        split: Split | None = None,
        test_stimulus: Stimulus | None = None,
        test_rows: int = 1000,
        batch_size: int = 256,
        workers: int = 0,
        simulation_workers: int = 2,
        memory_limit: float = 4.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.simulation, self.observation, self.path = simulation, observation, path
        self.split: Split = RandomRows() if split is None else split
        self.test_stimulus, self.test_rows = test_stimulus, test_rows
        self.batch_size, self.workers, self.simulation_workers = batch_size, workers, simulation_workers
        self.memory_limit, self.seed = memory_limit, seed
        self.partition: Partition | None = None
        self._views: Views | None = None
        self._check()

    @property
    def prior(self) -> Prior:
        """The prior that the parameters are drawn from."""
        return self.simulation.prior

    def _check(self) -> None:
        """Refuse now what would otherwise show only once everything has been simulated."""
        for name, least in (
            ("test_rows", 1),
            ("batch_size", 1),
            ("workers", 0),
            ("simulation_workers", 1),
            ("seed", 0),
        ):
            if getattr(self, name) < least:
                raise InputError(f"data.{name} must be at least {least}, found {getattr(self, name)}")
        simulation, seen = self.simulation, self.observation
        recorded = [channel for channel in seen.channels if channel not in ("spikes", "stimulus")]
        unknown = [channel for channel in recorded if channel not in simulation.simulator.channels]
        if unknown:
            raise InputError(
                f"observation.channels: found {unknown}, expected any of the simulator's "
                f"{list(simulation.simulator.channels)}, spikes and stimulus"
            )
        cut = getattr(
            simulation.simulator, "spike_cut", None
        )  # a simulator that blanks its spikes may say for how long
        if cut is not None and abs(cut - seen.spike_cut) > 1e-9:
            raise InputError(
                f"observation.spike_cut is {seen.spike_cut:g} ms, the simulator cuts spikes for {cut:g} ms: recordings must be cut "
                f"as simulations are, give both the same"
            )
        for stimulus in (simulation.stimulus, self.test_simulation().stimulus):
            if "stimulus" in seen.channels:
                hold_or_average(np.empty((1, 0)), stimulus.dt, seen.dt, 0)
                if stimulus.inputs != seen.inputs:
                    raise InputError(
                        f"observation.inputs is {seen.inputs}, the stimulus has {stimulus.inputs} input(s)"
                    )
            if stimulus.duration < seen.dt:
                raise InputError(
                    f"observation.dt is {seen.dt:g} ms, longer than the stimulus of {stimulus.duration:g} ms"
                )
        for channel in recorded:
            decimate(np.empty((1, 0)), simulation.record_dt, seen.dt, channel)
        few = self.prior.sample(min(simulation.n, REHEARSED), np.random.default_rng(0))
        bank = np.arange(len(few)) % (1 if simulation.stimulus.frozen else simulation.waveforms)
        self.split.partition(self.prior.names, few, bank, self.seed)

    def test_simulation(self) -> Simulation:
        """What evaluation tests on: new neurons, under the test stimulus if there is one."""
        stimulus = self.simulation.stimulus if self.test_stimulus is None else self.test_stimulus
        return self.simulation.with_stimulus(stimulus, n=self.test_rows, seed=self.simulation.seed + 1)

    def prepare_data(self) -> None:
        """Simulate, or complete, or check the files (in one process; Lightning calls it)."""
        generate(self.simulation, Path(self.path), workers=self.simulation_workers)

    def setup(self, stage: str) -> None:
        """Open the file and split its rows."""
        if self._views is not None:
            return
        file = Dataset(Path(self.path))
        steps = self.simulation.duration / self.observation.dt
        gigabytes = 4e-9 * file.n * self.observation.width * steps
        self._views = Views(
            Path(self.path),
            self.observation,
            self.prior,
            self.simulation.duration,
            self.seed,
            hold=gigabytes <= self.memory_limit,
        )
        self.partition = self.split.partition(file.names, file.parameters, file.waveform_index, self.seed)

    def _loader(self, rows: NDArray[np.int64], shuffle: bool) -> DataLoader[Batch]:
        if self._views is None:
            raise InputError("the data module has not been set up: call setup('fit') first")
        training = self.trainer
        process, processes = (0, 1) if training is None else (training.global_rank, training.world_size)
        return DataLoader(
            self._views,
            batch_size=self.batch_size,
            sampler=EpochShuffle(rows, self.seed, shuffle, process, processes),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]  (rows come as a batch, not as a list)
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training rows, shuffled, with fresh noise each epoch."""
        return self._loader(self._rows().train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation rows, always in the same order with the same noise."""
        return self._loader(self._rows().val, shuffle=False)

    def _rows(self) -> Partition:
        if self.partition is None:
            self.setup("fit")
        assert self.partition is not None
        return self.partition


def _as_it_is(batch: Batch) -> Batch:
    """Rows are read a batch at a time: there is nothing left to collate."""
    return batch
