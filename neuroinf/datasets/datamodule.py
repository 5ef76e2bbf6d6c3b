"""Batches of (observation, parameters) streamed from a simulated file, for Lightning."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from neuroinf.datasets.batches import EpochBatches
from neuroinf.datasets.features import Features, encode
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.observation import Observation, decimate, hold_or_average
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.splits import Partition, RandomRows, Split, divide
from neuroinf.datasets.views import Batch, Views
from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import OfPopulations, Simulator
from neuroinf.stimuli import Stimulus

# rows on which a split is tried before anything is simulated
REHEARSED = 1000


class SimulationDataModule(L.LightningDataModule):
    """Simulates what it does not find, then streams it.

    Args:
        simulation: What the file holds.
        observation: What the network sees of it.
        path: The HDF5 file.
        split: Which rows train, validate and test.
        test_stimulus: The stimulus of the test neurons, if it is to be another than in training.
        test_rows: Number of test neurons; evaluation simulates them, from another seed.
        batch_size: Rows per batch; of neurons with several sweeps about so many, see `batches.EpochBatches`.
        together: Part of the neurons, each epoch, that show several of their sweeps together, in sets of 2 to all of
            them; needs simulation.sweeps and a model with pooling. Validation has the same part.
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
        together: float = 0.0,
        workers: int = 0,
        simulation_workers: int = 2,
        memory_limit: float = 4.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.simulation, self.observation, self.path = simulation, observation, path
        self.split: Split = RandomRows() if split is None else split
        self.test_stimulus, self.test_rows = test_stimulus, test_rows
        self.batch_size, self.together, self.workers = batch_size, together, workers
        self.simulation_workers, self.memory_limit, self.seed = simulation_workers, memory_limit, seed
        self.partition: Partition | None = None
        self._views: Views | None = None
        self._check()

    @property
    def prior(self) -> Prior:
        """The prior that the parameters are drawn from."""
        return self.simulation.prior

    @property
    def simulator(self) -> Simulator:
        """The model that is simulated."""
        return self.simulation.simulator

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
        if not 0 <= self.together <= 1:
            raise InputError(f"data.together must be a fraction from 0 to 1, found {self.together}")
        if self.together > 0 and simulation.sweeps == 1:
            raise InputError(
                f"data.together is {self.together:g}, but every neuron has one sweep: give simulation.sweeps, or leave it at 0"
            )
        recorded = [channel for channel in seen.channels if channel not in ("spikes", "units", "stimulus")]
        unknown = [channel for channel in recorded if channel not in simulation.simulator.channels]
        if unknown:
            raise InputError(
                f"observation.channels: found {unknown}, expected any of the simulator's "
                f"{list(simulation.simulator.channels)}, spikes and stimulus"
            )
        groups = list(simulation.simulator.groups) if isinstance(simulation.simulator, OfPopulations) else []
        if "units" in seen.channels and list(seen.groups) != groups:
            raise InputError(f"observation.groups: expected the simulator's {groups}, found {list(seen.groups)}")
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
                hidden = simulation.stimulus.inputs - simulation.observed_inputs
                if stimulus.inputs - hidden != seen.inputs:
                    raise InputError(
                        f"observation.inputs is {seen.inputs}, the stimulus has {stimulus.inputs} input(s)"
                        + (f", of which the simulator hides {hidden}" if hidden else "")
                    )
            if stimulus.duration < seen.dt:
                raise InputError(
                    f"observation.dt is {seen.dt:g} ms, longer than the stimulus of {stimulus.duration:g} ms"
                )
        for channel in recorded:
            decimate(np.empty((1, 0)), simulation.record_dt, seen.dt, channel)
        few = self.prior.sample(min(simulation.n // simulation.sweeps, REHEARSED), np.random.default_rng(0))
        few = np.repeat(few, simulation.sweeps, axis=0)
        bank = np.arange(len(few)) % (1 if simulation.stimulus.frozen else simulation.waveforms)
        divide(self.split, self.prior.names, few, bank, simulation.sweeps, self.seed)

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
        self.partition = divide(self.split, file.names, file.parameters, file.waveform_index, file.sweeps, self.seed)

    def _loader(self, rows: NDArray[np.int64], shuffle: bool) -> DataLoader[Batch]:
        if self._views is None:
            raise InputError("the data module has not been set up: call setup('fit') first")
        training = self.trainer
        process, processes = (0, 1) if training is None else (training.global_rank, training.world_size)
        neurons = rows.reshape(-1, self._views.file.sweeps)
        return DataLoader(
            self._views,
            batch_size=None,  # the sampler's draws are batches
            sampler=EpochBatches(neurons, self.batch_size, self.seed, shuffle, self.together, process, processes),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]  (its argument is a batch, not a list)
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training rows, shuffled, with fresh noise each epoch."""
        return self._loader(self._rows().train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation rows, always in the same order with the same noise."""
        return self._loader(self._rows().val, shuffle=False)

    def encode(self, encoder: nn.Module, views: int, epoch: int, folder: Path, device: str) -> float:
        """Features of all training and validation rows in `folder`; see `features.encode`."""
        file = Path(self.path)
        fresh = Views(file, self.observation, self.prior, self.simulation.duration, self.seed, hold=False)
        return encode(fresh, encoder, self._encoded(), views, epoch, folder, self.simulation_workers, device)

    def feature_loader(self, folder: Path, batch_size: int, train: bool) -> DataLoader[Batch]:
        """Features in place of observations, in the batches of training or validation."""
        rows = self._rows().train if train else self._rows().val
        neurons = rows.reshape(-1, self.simulation.sweeps)
        return DataLoader(
            self.features(folder),
            batch_size=None,
            sampler=EpochBatches(neurons, batch_size, self.seed + 1, train, self.together),
            collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]
        )

    def features(self, folder: Path) -> Features:
        """Of all training and validation rows, as :meth:`encode` has left them."""
        self.setup("fit")
        assert self._views is not None
        return Features(folder, self._encoded(), self._views.z)

    def _encoded(self) -> NDArray[np.int64]:
        return np.sort(np.concatenate([self._rows().train, self._rows().val]))

    def _rows(self) -> Partition:
        if self.partition is None:
            self.setup("fit")
        assert self.partition is not None
        return self.partition


def _as_it_is(batch: Batch) -> Batch:
    """Rows are read a batch at a time: there is nothing left to collate."""
    return batch
