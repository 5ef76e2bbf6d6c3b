"""What a training sees of a file's rows: with fresh noise in each epoch, stretches of them, and channels missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from neuroinf.datasets.batches import Draw
from neuroinf.datasets.observation import Observation
from neuroinf.datasets.schema import Dataset
from neuroinf.priors import Prior

Batch = tuple[Tensor, Tensor]


class Views(TorchDataset[Batch]):
    """Training views of a file's rows: the observation with fresh noise, and the parameters in unconstrained space.

    A view is asked for as (epoch, rows (B, S)) and is x (B, C, T) if S is 1, else x (B, S, C, T): S sweeps of each of B
    neurons, every sweep with its own noise; and z (B, P).

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

    def __getitem__(self, draw: Draw) -> Batch:
        epoch, rows = draw
        x = self.observe(rows.ravel())
        streams = [self._stream(epoch, int(row)) for row in rows.ravel()]
        length = self.observation.length(x.shape[-1], streams[0])
        views = np.stack([self.observation.view(x[i], length, stream) for i, stream in enumerate(streams)])
        shape = rows.shape if rows.shape[1] > 1 else rows.shape[:1]
        return torch.from_numpy(views.reshape(*shape, *views.shape[1:])), self.z[rows[:, 0]]

    def _stream(self, epoch: int, row: int) -> np.random.Generator:
        key = np.array([self.seed, 1 + epoch], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, row]))

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
        content.units,
    )
