"""Bits per spike on held-out time, their intervals over blocks of time, and the plain fits they are compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]
LEVEL = 0.95
DRAWS = 5000
NEWTON = 60
SETTLED = 1e-6  # nats
CHANGED = 3.0  # nats that a step gained, from which on the curvature is worked out anew
FARTHEST = 30.0  # of a drive: beyond it nothing changes but the overflow


@dataclass(frozen=True)
class HeldOut:
    """Held-out bins in blocks: what each block's log-likelihood gains over the constant rate.

    Args:
        gain: Nats, by block (B,).
        spikes: Spikes in each (B,).
    """

    gain: FloatArray
    spikes: FloatArray

    @staticmethod
    def of(log_p: FloatArray, constant: FloatArray, y: FloatArray, block: NDArray[np.int64], test: Mask) -> HeldOut:
        """From log-probabilities (T,), the constant rate's, counts, the block of each bin, and which are held out."""
        _, index = np.unique(block[test], return_inverse=True)
        return HeldOut(np.bincount(index, (log_p - constant)[test]), np.bincount(index, y[test]))

    def join(self, other: HeldOut) -> HeldOut:
        """Both sets of blocks."""
        return HeldOut(np.concatenate([self.gain, other.gain]), np.concatenate([self.spikes, other.spikes]))

    @property
    def bits(self) -> float:
        """Bits per spike over the constant rate."""
        return float(self.gain.sum() / self.spikes.sum() / math.log(2))

    def interval(self, over: HeldOut | None = None, seed: int = 0) -> list[float]:
        """Central 95 % interval of the bits per spike (or of what they are more than another's on the same blocks), by
        drawing blocks with replacement."""
        gain = self.gain - (0.0 if over is None else over.gain)
        drawn = np.random.default_rng(seed).integers(0, len(gain), (DRAWS, len(gain)))
        spikes = self.spikes[drawn].sum(1)
        ratio = gain[drawn].sum(1) / np.where(spikes > 0, spikes, np.nan) / math.log(2)
        return np.nanquantile(ratio, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def reached(held: Mask, reach: int) -> Mask:
    """Bins (T,) that follow a held-out one by at most `reach` bins, and are not held out."""
    last = np.maximum.accumulate(np.where(held, np.arange(len(held)), -reach - 1))
    return (np.arange(len(held)) - last <= reach) & ~held


def log_probability(y: FloatArray, eta: FloatArray, output: str) -> FloatArray:
    """Of counts (T,) at drives (T,): Bernoulli with logistic, or Poisson with exponential nonlinearity."""
    if output == "bernoulli":
        return y * eta - np.logaddexp(0.0, eta)
    return y * eta - np.exp(np.minimum(eta, FARTHEST)) - gammaln(y + 1)


def constant_rate(y: FloatArray, train: Mask, output: str) -> FloatArray:
    """Log-probability (T,) of the counts by the training bins' mean rate."""
    mean = (y[train].sum() + 0.5) / (train.sum() + 1)
    eta = math.log(mean / (1 - mean)) if output == "bernoulli" else math.log(mean)
    return log_probability(y, np.full(len(y), eta), output)


def penalised(
    x: FloatArray, y: FloatArray, ridge: FloatArray, output: str, start: FloatArray | None = None
) -> FloatArray:
    """Coefficients (P,) at the maximum of the log-likelihood less half the ridge times their squares, by Newton's
    steps; where they are small, with the curvature of an earlier one.

    Args:
        x: (T, P), the first column constant.
        y: Counts (T,).
        ridge: (P,).
        output: As in `log_probability`.
        start: (P,); None: the mean rate.
    """
    beta = np.zeros(x.shape[1])
    mean = (y.sum() + 0.5) / (len(y) + 1)
    beta[0] = math.log(mean / (1 - mean)) if output == "bernoulli" else math.log(mean)
    beta = beta if start is None else start.copy()

    def loss(beta: FloatArray) -> float:
        return 0.5 * float(ridge @ beta**2) - float(log_probability(y, x @ beta, output).sum())

    now, gained, bent = loss(beta), math.inf, np.empty(0)
    for _ in range(NEWTON):
        eta = np.clip(x @ beta, -FARTHEST, FARTHEST)
        rate = 1 / (1 + np.exp(-eta)) if output == "bernoulli" else np.exp(eta)
        if gained > CHANGED:
            curvature = rate * (1 - rate) if output == "bernoulli" else rate
            bent = (x * curvature[:, None]).T @ x + np.diag(ridge + 1e-9)
        step = np.linalg.solve(bent, x.T @ (y - rate) - ridge * beta)
        length = 1.0
        while (then := loss(beta + length * step)) > now and length > 1e-4:
            length /= 2
        beta = beta + length * step
        gained, now = now - then, then
        if gained < SETTLED * max(1.0, abs(now) * 1e-3):
            break
    return beta
