"""The stage of a training in which populations' activity is learnt: rates of simulations from their spikes and parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from neuroinf.datasets.batches import Draw, EpochBatches
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.simulation import Simulation
from neuroinf.datasets.views import observe_rows
from neuroinf.errors import InputError
from neuroinf.models.amortized import one_cycle
from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.priors import Prior

SEED_AFTER = 10  # of the simulations of other parameters, after the training's own
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ActivityStage:
    """How the network of the activity is trained.

    It learns from the training rows and, in even parts, from simulations of other parameters: those of the section enrichment, and
    `proposals`, where those lie whose networks show what the prior's seldom do, such as switching between states. Its answers are
    then those of a prior that has these in it.

    Args:
        epochs: Number of epochs; 0 leaves this stage out.
        proposals: Of the parameters of further simulations; none: only the training rows.
        n: Number of simulations of each.
        stretch: ms, of each row that is seen at once.
        batch_size: Rows per batch.
        lr: Largest learning rate.
        weight_decay: Decoupled weight decay.
        start: A checkpoint whose network of the activity the training goes on from; None: from the beginning.

    Raises:
        InputError: on an impossible value.
    """

    epochs: int = 0
    proposals: Sequence[Prior] = ()
    n: Sequence[int] = ()
    stretch: float = 5000.0
    batch_size: int = 16
    lr: float = 3.0e-3
    weight_decay: float = 1.0e-2
    start: str | None = None

    def __post_init__(self) -> None:
        if self.start is not None and not Path(self.start).is_file():
            raise InputError(f"activity.start: no checkpoint at {self.start}: name one, or leave it out")
        for name, least in (("epochs", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(f"activity.{name} must be at least {least}, found {getattr(self, name)}")
        if len(self.n) != len(self.proposals) or any(number < 1 for number in self.n):
            raise InputError(
                f"activity.n: expected a number of simulations, at least 1, for each of {len(self.proposals)} proposals, "
                f"found {list(self.n)}"
            )
        for name in ("stretch", "lr"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"activity.{name} must be a positive number, found {getattr(self, name)}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"activity.weight_decay must not be negative, found {self.weight_decay}")

    def simulations(self, training: Simulation) -> list[Simulation]:
        """Of the further rows."""
        return [
            replace(training, prior=prior, n=n, seed=training.seed + SEED_AFTER + k)
            for k, (prior, n) in enumerate(zip(self.proposals, self.n, strict=True))
        ]


class ActivityViews(TorchDataset[Batch]):
    """Stretches of rows of a file, by (epoch, rows (B, 1)): observation (B, C, T) and rates (B, M, T).

    Args:
        path: The file.
        observation: What is seen of it.
        duration: Of the file's rows, ms.
        stretch: Of a view, ms.
        seed: Of the views.
    """

    def __init__(self, path: Path, observation: Observation, duration: float, stretch: float, seed: int) -> None:
        self.file, self.observation, self.duration, self.seed = Dataset(path), observation, duration, seed
        self.steps = round(min(stretch, duration) / observation.dt)

    def __getitem__(self, draw: Draw) -> Batch:
        epoch, rows = draw[0], draw[1].ravel()
        x = observe_rows(self.file, rows, self.observation, self.duration)
        rates = self.file.latent("rates", rows)
        views, kept = [], []
        for one, rate, row in zip(x, rates, rows, strict=True):
            stream = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, epoch, int(row)])))
            start = int(stream.integers(one.shape[-1] - self.steps + 1))
            part = slice(start, start + self.steps)
            views.append(self.observation.view(np.ascontiguousarray(one[:, part]), self.steps, stream))
            kept.append(rate[:, part])
        return torch.from_numpy(np.stack(views)), torch.from_numpy(np.stack(kept)).float()

    def __len__(self) -> int:
        return self.file.n

    def loader(self, rows: NDArray[np.int64], batch_size: int, shuffle: bool) -> DataLoader[Batch]:
        """Batches of some rows."""
        sampler = EpochBatches(rows[:, None], batch_size, self.seed, shuffle)
        return DataLoader(self, batch_size=None, sampler=sampler, collate_fn=_as_it_is)  # pyright: ignore[reportArgumentType]


class ActivityTraining(L.LightningModule):
    """Trains a network of the activity.

    Args:
        network: What is trained.
        groups: Population of each recorded neuron.
        stage: How.
    """

    def __init__(self, network: ActivityNetwork, groups: list[int], stage: ActivityStage) -> None:
        super().__init__()
        self.network, self.stage = network, stage
        self.register_buffer("groups", torch.tensor(groups), persistent=False)
        self.seconds, self._started = 0.0, 0.0

    groups: Tensor

    def _loss(self, batch: Batch) -> Tensor:
        x, rates = batch
        units, inputs = x.split([len(self.groups), x.shape[1] - len(self.groups)], 1)
        return self.network(units, inputs, self.groups).loss(rates).mean()

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """Mean loss of a batch; of the batches of several files with even weight."""
        parts = [part for part in batch if part is not None] if isinstance(batch[0], (list, tuple)) else [batch]
        loss = torch.stack([self._loss(cast(Batch, part)) for part in parts]).mean()
        self.log("activity/train", loss)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the loss."""
        self.log("activity/loss", self._loss(batch), batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        """AdamW, with the learning rate rising and falling once."""
        parameters = list(self.network.parameters())
        return one_cycle(parameters, self.stage.lr, self.stage.weight_decay, self.trainer)

    def on_fit_start(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_validation_epoch_end(self) -> None:
        """Stop the clock, before the checkpoint is written."""
        now = time.perf_counter()
        self.seconds, self._started = self.seconds + now - self._started, now

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What :func:`neuroinf.checkpoints.read_checkpoint` does not know must not look like a finished model."""
        checkpoint["activity_seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the clock."""
        self.seconds = float(checkpoint["activity_seconds"])


def _as_it_is(batch: Batch) -> Batch:
    return batch
