"""Random spike patterns with random labels: what a network can learn by heart."""

from __future__ import annotations

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from neuroinf.datasets.raster import Raster, raster
from neuroinf.errors import InputError

Labelled = tuple[Raster, Tensor]


class RandomPatterns(L.LightningDataModule):
    r"""Patterns of independent spikes, :math:`x_{tbi} \sim \mathrm{Bernoulli}(p)`, their labels uniform over the classes.

    Every network has patterns of its own; all of them are one batch. There is nothing to generalise, so nothing is held
    out.

    Args:
        replicates: N networks side by side, each with its own patterns and labels.
        patterns: B of each.
        inputs: I channels.
        steps: T, of 1 ms.
        probability: p, of a spike in a step.
        classes: Number of labels.
        seed: Of all draws.

    Raises:
        InputError: on an impossible value.
    """

    def __init__(
        self,
        replicates: int = 10,
        patterns: int = 256,
        inputs: int = 100,
        steps: int = 200,
        probability: float = 0.005,
        classes: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"replicates": replicates, "patterns": patterns, "inputs": inputs, "steps": steps, "classes": classes}
        for name, value in sizes.items():
            if value < 1:
                raise InputError(f"data.{name}: expected at least 1, found {value}")
        if not 0 <= probability <= 1:
            raise InputError(f"data.probability: expected a number from 0 to 1, found {probability}")
        self.replicates, self.patterns, self.inputs, self.steps = replicates, patterns, inputs, steps
        self.probability, self.classes, self.seed = probability, classes, seed
        self.origin = f"{patterns} random patterns of {inputs} inputs, {steps} ms, and {classes} random labels"

    def draw(self) -> Labelled:
        """All patterns and their labels (N, B): those of a network are the same however many others there are."""
        spikes, labels = [], []
        for n in range(self.replicates):
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(n,)))
            t, b, i = np.nonzero(rng.random((self.steps, self.patterns, self.inputs)) < self.probability)
            spikes.append((t, np.full(len(t), n), b, i))
            labels.append(rng.integers(self.classes, size=self.patterns))
        t, n, b, i = (np.concatenate(part) for part in zip(*spikes, strict=True))
        shape = (self.steps, self.replicates, self.patterns, self.inputs)
        return raster(t, n, b, i, shape), torch.from_numpy(np.stack(labels))

    def train_dataloader(self) -> DataLoader[Labelled]:
        """One batch of all patterns."""
        return DataLoader([self.draw()], batch_size=None)  # pyright: ignore[reportArgumentType]

    def transfer_batch_to_device(self, batch: Labelled, device: torch.device, dataloader_idx: int) -> Labelled:
        """The labels; the events stay where they are read."""
        return batch[0], batch[1].to(device)
