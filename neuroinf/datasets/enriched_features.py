"""Stored features of the training rows and of further ones, each with its weight in the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from neuroinf.datasets.batches import Draw
from neuroinf.datasets.features import Features

Weighted = tuple[Tensor, Tensor, Tensor]


class EnrichedFeatures(TorchDataset[Weighted]):
    """Features f (B, F), parameters z (B, P) and weights (B,) of rows, asked for as :class:`Features` are.

    Rows from `first` on are those of the further file.

    Args:
        own: Of the training's file.
        further: Of the further one, all its rows.
        first: Number of rows of the training's file, N.
        weight: Of each row of both files, by its parameters (N + n1,).
        share: Weight (B,) of features (B, F).
    """

    def __init__(
        self,
        own: Features,
        further: Features,
        first: int,
        weight: NDArray[np.float32],
        share: Callable[[Tensor], Tensor],
    ) -> None:
        self.own, self.further, self.first = own, further, first
        self.weight, self.share = torch.from_numpy(weight), share

    def __getitem__(self, draw: Draw) -> Weighted:
        epoch, rows = draw
        later = rows[:, 0] >= self.first
        parts = []
        for source, which, before in ((self.own, ~later, 0), (self.further, later, self.first)):
            if which.any():
                parts.append((source[epoch, rows[which] - before], rows[which]))
        f, z = (torch.cat([part[0][k] for part in parts]) for k in (0, 1))
        number = torch.from_numpy(np.concatenate([part[1] for part in parts])[:, 0])
        return f, z, self.weight[number] * self.share(f)

    def __len__(self) -> int:
        return self.first + len(self.further)
