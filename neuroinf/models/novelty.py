"""How far a recording lies from everything the network was trained on, in the encoder's own space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# of the training distribution's own recordings, this fraction is called outside
FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class Novelty:
    r"""Mahalanobis distance of features h (F,) from those of held-out simulations.

    .. math:: d(h)^2 = (h - \bar h)^\top W (h - \bar h), \quad W = (S + \lambda \bar s I)^{-1}

    with S the features' covariance and :math:`\lambda` a shrinkage that keeps directions without spread from ruling.

    Args:
        mean: (F,).
        precision: W, (F, F).
        limit: The distance that a fraction FALSE_ALARMS of held-out simulations exceeds.
        median: Their median distance.
    """

    mean: Tensor
    precision: Tensor
    limit: float
    median: float

    @staticmethod
    def fit(features: Tensor, shrinkage: float = 1e-3) -> Novelty:
        """From the features (n, F) of held-out simulations: moments on one half, the limit on the other."""
        first, second = features[::2].double(), features[1::2].double()
        mean = first.mean(0)
        covariance = torch.cov(first.T)
        scale = covariance.diagonal().mean()
        precision = torch.linalg.inv(covariance + shrinkage * scale * torch.eye(len(mean), dtype=torch.float64))
        distances = _distance(second, mean, precision)
        limit = float(distances.quantile(1 - FALSE_ALARMS))
        return Novelty(mean.float(), precision.float(), limit, float(distances.median()))

    def distance(self, features: Tensor) -> Tensor:
        """Distances (n,) of features (n, F), or of (F,)."""
        return _distance(features.double(), self.mean.double(), self.precision.double())

    def warnings(self, features: Tensor) -> list[str]:
        """A sentence if most of the sweeps (S, F) lie beyond the limit."""
        distances = self.distance(features)
        distance = float(distances.median())
        if distance <= self.limit:
            return []
        return [
            f"outside the training distribution: distance {distance:.1f} in embedding space, "
            f"{100 * (1 - FALSE_ALARMS):.0f} % of simulations lie within {self.limit:.1f} (median {self.median:.1f}): "
            f"compare with the fit made for this neuron alone (neuroinf fit)"
        ]


def _distance(features: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    difference = features - mean
    return torch.einsum("...i,ij,...j->...", difference, precision, difference).clamp(min=0).sqrt()
