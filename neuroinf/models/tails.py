"""Survival functions of numbers of which a sample is known: quantiles, and an exponential tail beyond the highest of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.floating]
LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)  # quantiles that are kept of a distribution; beyond, an exponential tail
BEYOND = 10  # held-out simulations that the highest of them leaves to the tail
DECADE = 1 / math.log(10)  # mean excess of -log10 p


@dataclass(frozen=True)
class Tail:
    """Survival functions of F numbers: quantiles (F, Q) at increasing levels (Q,), then exponential with mean excess (F,)."""

    levels: tuple[float, ...]
    knots: Tensor
    excess: Tensor

    @staticmethod
    def fit(values: FloatArray, least: float, least_excess: float) -> Tail:
        """From values (n, F), nan left out; knots and mean excess no smaller than given."""
        highest = 1 - BEYOND / len(values)
        levels = tuple(level for level in LEVELS if level <= highest) or LEVELS[:1]
        knots, excess = [], []
        for column in values.T:
            known = column[np.isfinite(column)]
            known = known if len(known) else np.zeros(1)
            quantiles = np.quantile(known, levels)
            quantiles[-1] = max(quantiles[-1], least)
            beyond = known[known > quantiles[-1]] - quantiles[-1]
            knots.append(quantiles)
            excess.append(max(float(beyond.mean()) if len(beyond) else 0.0, least_excess))
        return Tail(levels, torch.from_numpy(np.array(knots)), torch.tensor(excess, dtype=torch.float64))

    def log10(self, values: FloatArray) -> FloatArray:
        """log10 of the probability to exceed values (n, F); nan where they are."""
        survival = np.log10(1 - np.array([0.0, *self.levels]))
        result = np.empty_like(values)
        for j, (knots, excess) in enumerate(zip(self.knots.numpy(), self.excess.numpy(), strict=True)):
            first = min(knots[0], 0.0) - 1e-9
            body = np.interp(
                values[:, j], [first, *np.maximum.accumulate(knots + 1e-9 * np.arange(len(knots)))], survival
            )
            tail = survival[-1] - (values[:, j] - knots[-1]) / excess * DECADE
            result[:, j] = np.where(values[:, j] > knots[-1], tail, body)
        return np.where(np.isfinite(values), result, np.nan)
