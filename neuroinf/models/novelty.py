"""How far a recording lies from everything the network was trained on, in the network's own space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# of the training distribution's own recordings, this fraction is called outside
FALSE_ALARMS = 0.01


@dataclass(frozen=True)
class Novelty:
    r"""Mahalanobis distance of a recording's embedding h (F,) from those of held-out simulations.

    The embedding is the density's last hidden layer: what the answer is made of. In the encoder's features, of which a
    few have heavy tails, real recordings were not farther away than the farthest hundredth of simulations; here they are.

    .. math:: d(h)^2 = (h - \bar h)^\top W (h - \bar h), \quad W = (S + \lambda \bar s I)^{-1}

    with S the covariance of the embeddings and :math:`\lambda` a shrinkage that keeps directions without spread from ruling.

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
    def fit(embedding: Tensor, shrinkage: float = 1e-3) -> Novelty:
        """From embeddings (n, F) of held-out simulations, all channels observed: moments of one half, limit of the other."""
        first, second = embedding[::2].double(), embedding[1::2].double()
        mean = first.mean(0)
        covariance = torch.cov(first.T)
        scale = covariance.diagonal().mean()
        precision = torch.linalg.inv(covariance + shrinkage * scale * torch.eye(len(mean), dtype=torch.float64))
        distances = _distance(second, mean, precision)
        limit = float(distances.quantile(1 - FALSE_ALARMS))
        return Novelty(mean, precision, limit, float(distances.median()))

    def distance(self, embedding: Tensor) -> Tensor:
        """Distances (n,) of embeddings (n, F), or of (F,)."""
        return _distance(embedding.double(), self.mean.double(), self.precision.double())

    def warnings(self, embedding: Tensor) -> list[str]:
        """A sentence if most of the sweeps (S, F) lie beyond the limit."""
        distances = self.distance(embedding)
        distance = float(distances.median())
        if distance <= self.limit:
            return []
        return [
            f"outside the training distribution: distance {distance:.1f} in embedding space, "
            f"{100 * (1 - FALSE_ALARMS):.0f} % of simulations lie within {self.limit:.1f} (median {self.median:.1f}): "
            f"compare with the fit made for this neuron alone (neuroinf fit), with other ranges or another level"
        ]


def _distance(embedding: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    difference = embedding - mean
    return torch.einsum("...i,ij,...j->...", difference, precision, difference).clamp(min=0).sqrt()
