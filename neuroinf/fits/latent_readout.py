r"""From latents to expected activity: linear for traces, exponential for counts.

.. math:: \mathrm{E}[x_k] = b_k + c_k \cdot z \qquad \text{or} \qquad \mathrm{E}[x_k] = \exp(b_k + c_k \cdot z)

Linear models of counts see :math:`2 \sqrt{x + 3/8}`, whose noise has variance near 1 whatever the rate; their latents are
turned into rates by a Poisson regression. A neuron's regression is fitted to latents inferred *without* that neuron: fitted
to latents that contain its own noise it would learn to copy it. The latents z of mean m and covariance V are
uncertain, and a count's regression on m is that on z with another offset:

.. math:: \mathrm{E}[x | m] = \exp\bigl(b + c \cdot m + \tfrac{1}{2} c^T V c\bigr)

So the rates hold for latents that are known better or worse than they were in the fit. No expected count is beyond the largest
count that the neuron had: far out, where the square root's latents are no longer linear in the log rate, the exponential explodes.

Source:
    Anscombe (1948), Biometrika 35:246.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.populations import Kind, PopulationData
from neuroinf.fits.latent_model import Mask, Matrix

FloatArray = NDArray[np.float64]
# latents of one sequence from its activity and mask (T, K): their mean (T, D) and covariance (T or 1, D, D)
Inference = Callable[[NDArray[Any], Mask], tuple[FloatArray, FloatArray]]

FOLDS = 4
NEWTON_STEPS = 30
# prior standard deviation of a coefficient of standardised latents; log rates beyond the limit do not occur
PRIOR_SD, LOG_RATE_LIMIT = 10.0, 15.0


def stabilised(activity: NDArray[Any], kind: Kind) -> FloatArray:
    """What a linear model sees: traces as they are, counts with stabilised variance."""
    x = np.asarray(activity, np.float64)
    return 2 * np.sqrt(np.maximum(x, 0.0) + 3 / 8) if kind == "counts" else x


@dataclass(frozen=True)
class Readout:
    """Weights (K, D) and offsets (K,) of an activity of one kind; of counts the largest log rates (K,)."""

    kind: Kind
    weights: FloatArray
    offsets: FloatArray
    largest: FloatArray | float = np.inf

    def rates(self, factors: NDArray[Any]) -> Matrix:
        """Expected activity (..., K) of latents (..., D) that are known."""
        drive = np.asarray(factors, np.float64) @ self.weights.T + self.offsets
        if self.kind == "counts":
            drive = np.exp(np.clip(drive, -LOG_RATE_LIMIT, self.largest))
        return drive.astype(np.float32)

    def moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[Matrix, Matrix]:
        """Mean and standard deviation (T, K) of the rates of Gaussian latents: mean (T, D), covariance (T or 1, D, D)."""
        drive = mean @ self.weights.T + self.offsets
        size = mean.shape[1]
        products = (self.weights[:, :, None] * self.weights[:, None, :]).reshape(len(self.weights), -1)
        variance = covariance.reshape(len(covariance), size * size) @ products.T
        variance = np.broadcast_to(np.maximum(variance, 0), drive.shape)
        if self.kind == "trace":
            return drive.astype(np.float32), np.sqrt(variance).astype(np.float32)
        # the log-normal's moments
        rate = np.exp(np.clip(drive + variance / 2, -LOG_RATE_LIMIT, self.largest))
        return rate.astype(np.float32), (rate * np.sqrt(np.expm1(np.minimum(variance, LOG_RATE_LIMIT)))).astype(
            np.float32
        )


def poisson_readout(data: PopulationData, infer: Inference, dimension: int) -> Readout:
    """The regression of counts on latents inferred without the neuron, in folds of neurons."""
    weights, offsets = np.zeros((data.neurons, dimension)), np.log(np.maximum(data.mean, 1e-6))
    folds = min(FOLDS, data.neurons)
    for fold in range(folds if data.neurons > 1 else 0):
        hidden = np.arange(data.neurons) % folds == fold
        found = [infer(x, np.broadcast_to(~hidden, x.shape)) for x in data.activity]
        mean = np.concatenate([m for m, _ in found])
        covariance = np.average([v.mean(0) for _, v in found], axis=0, weights=[len(m) for m, _ in found])
        counts = np.concatenate([x[:, hidden] for x in data.activity]).astype(np.float64)
        for k, y in zip(np.flatnonzero(hidden), counts.T, strict=True):
            if y.any():
                weights[k], offsets[k] = poisson_regression(mean, covariance, y)
    most = np.max([x.max(0) for x in data.activity], axis=0).astype(np.float64)
    return Readout("counts", weights, offsets, np.log(np.maximum(most, 1.0)))


def poisson_regression(mean: FloatArray, covariance: FloatArray, counts: FloatArray) -> tuple[FloatArray, float]:
    """Weights (D,) and offset of the log rate of counts (n,) given latents, by Newton's method with halved steps.

    Args:
        mean: Of the latents (n, D).
        covariance: Of the latents (D, D), its mean over bins: in a stationary state it hardly changes.
        counts: Of one neuron.
    """
    design = np.column_stack([mean, np.ones(len(mean))])
    penalty = np.full(design.shape[1], PRIOR_SD**-2)
    penalty[-1] = 0.0
    beta = np.zeros(design.shape[1])
    beta[-1] = np.log(counts.mean())
    total = design.T @ counts

    def objective(at: FloatArray) -> tuple[float, FloatArray]:
        mu = np.exp(np.minimum(design @ at, LOG_RATE_LIMIT))
        return float(mu.sum() - total @ at + 0.5 * penalty @ at**2), mu

    value, mu = objective(beta)
    for _ in range(NEWTON_STEPS):
        gradient = mu @ design - total + penalty * beta
        hessian = (design * mu[:, None]).T @ design + np.diag(penalty + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        decrease, size = float(gradient @ step), 1.0
        while decrease > 1e-8 * len(counts) and size > 1e-4:
            tried, tried_mu = objective(beta - size * step)
            if tried <= value - 1e-4 * size * decrease:
                beta, value, mu = beta - size * step, tried, tried_mu
                break
            size /= 2
        else:
            break
    weights = beta[:-1]
    return weights, float(beta[-1] - 0.5 * weights @ covariance @ weights)
