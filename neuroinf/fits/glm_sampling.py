r"""Samples of a neuron's exact posterior: draws of something nearby, each weighed by the exact density.

.. math:: w_s \propto \frac{p(y \mid \theta_s)\, p(\theta_s)}{q(\theta_s)}, \qquad
    n_e = \frac{(\sum_s w_s)^2}{\sum_s w_s^2}

:func:`reweigh` takes the draws and their density from elsewhere, a network for example; :func:`resample` makes its own
from a mixture of multivariate t about the modes, which is fitted to all weighted draws so far, a few times. In the end all draws
count, each against the mean density of all mixtures.

Source:
    Cappe et al. 2008, Adaptive importance sampling in general mixture classes, Statistics and Computing 18:447;
    Cornuet et al. 2012, Adaptive multiple importance sampling, Scandinavian Journal of Statistics 39:798.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.fits.glm_refinement import Refined, choose, double
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
DEGREES = 5  # of freedom: tails heavier than a normal posterior's
WIDER = 4.0  # variance of a second component at each mode, for a posterior that is wider than its curvature says
LEAST = 0.05  # share of the components before they are fitted: Laplace's may be wrong about a mode
ROUNDS = 4  # of draws, the mixture fitted between them
ENOUGH = 30  # effective draws, below which weighted samples say less than the Laplace approximation


class Posterior(Protocol):
    """What is known of B neurons.

    Attributes:
        prior: Of their parameters, standard normal in z.
    """

    prior: Prior

    def log_likelihood(self, theta: Tensor, /) -> Tensor:
        """:math:`(B, S)` of parameters :math:`(B, S, P)` in the prior's order, natural units."""
        ...


@dataclass(frozen=True)
class Resampled:
    r"""Posterior samples of B neurons.

    Attributes:
        theta: :math:`(B, S, P)`, natural units, in the prior's order.
        mean: Of the weighted draws, :math:`(B, P)`, natural units.
        effective: Effective number of draws :math:`n_e`, :math:`(B,)`.
    """

    theta: FloatArray
    mean: FloatArray
    effective: FloatArray

    @property
    def doubtful(self) -> NDArray[np.bool_]:
        """Where fewer than 30 draws had weight, :math:`(B,)`: they say little."""
        return self.effective < ENOUGH


def reweigh(
    posterior: Posterior,
    theta: NDArray[np.floating[Any]],
    log_density: NDArray[np.floating[Any]],
    samples: int,
    rng: np.random.Generator,
) -> Resampled:
    """Samples of the exact posterior from draws of another density, such as a network's.

    Args:
        posterior: Of B neurons.
        theta: Draws :math:`(B, N, P)`, natural units, in the prior's order.
        log_density: Of each draw, :math:`(B, N)`, in natural units.
        samples: Number S.
        rng: For the resampling.
    """
    drawn = double(theta)
    target = posterior.log_likelihood(drawn) + posterior.prior.log_prob(drawn)
    return _weighed(drawn.numpy(), _weights(target.numpy() - np.asarray(log_density, np.float64)), samples, rng)


def resample(
    posterior: Posterior, refined: Refined, samples: int, rng: np.random.Generator, draws: int = 500
) -> Resampled:
    """Samples of the exact posterior from its modes.

    Args:
        posterior: Of B neurons.
        refined: Their modes.
        samples: Number S.
        rng: For draws and samples.
        draws: Number of each round's; there are four rounds.
    """
    mixtures = [_Mixture.about(refined)]
    z = log_target = np.empty((len(refined.z), 0))
    log_weight = z
    for _ in range(ROUNDS):
        new = mixtures[-1].draw(draws, rng)
        at = torch.from_numpy(new)
        value = posterior.log_likelihood(posterior.prior.from_unconstrained(at)).numpy() - 0.5 * (new**2).sum(2)
        z = new if z.ndim == 2 else np.concatenate((z, new), axis=1)
        log_target = np.concatenate((log_target, np.where(np.isnan(value), -math.inf, value)), axis=1)
        log_weight = log_target - np.logaddexp.reduce([mixture.log_density(z) for mixture in mixtures], axis=0)
        mixtures.append(mixtures[-1].fitted(z, _weights(log_weight)))
    theta = posterior.prior.from_unconstrained(torch.from_numpy(z)).numpy()
    return _weighed(theta, _weights(log_weight), samples, rng)


@dataclass(frozen=True)
class _Mixture:
    """Of C multivariate t of each of B neurons: shares (B, C), centres (B, C, P), scale matrices (B, C, P, P)."""

    share: FloatArray
    centre: FloatArray
    scale: FloatArray

    @staticmethod
    def about(refined: Refined) -> _Mixture:
        share = np.maximum(refined.share, LEAST)
        share = np.concatenate((share, share), axis=1)
        return _Mixture(
            share / share.sum(1, keepdims=True),
            np.concatenate((refined.z, refined.z), axis=1),
            np.concatenate((refined.covariance, WIDER * refined.covariance), axis=1),
        )

    def draw(self, number: int, rng: np.random.Generator) -> FloatArray:
        """(B, N, P)."""
        each, component = np.arange(len(self.share))[:, None], choose(self.share, number, rng)
        e = rng.standard_normal((*component.shape, self.centre.shape[2]))
        e /= np.sqrt(rng.chisquare(DEGREES, (*component.shape, 1)) / DEGREES)
        factor = np.linalg.cholesky(self.scale)
        return self.centre[each, component] + np.einsum("bnpq,bnq->bnp", factor[each, component], e)

    def log_density(self, z: FloatArray) -> FloatArray:
        """(B, N) of points (B, N, P), but for a constant."""
        return np.logaddexp.reduce(self._components(z)[0], axis=1)

    def fitted(self, z: FloatArray, weight: FloatArray) -> _Mixture:
        """One step of expectation and maximisation on weighted draws (B, N, P), (B, N)."""
        log, distance = self._components(z)
        part = np.exp(log - np.logaddexp.reduce(log, axis=1, keepdims=True)) * weight[:, None]
        share = part.sum(2)
        near = part * (DEGREES + z.shape[2]) / (DEGREES + distance)
        total = np.maximum(near.sum(2), 1e-300)
        centre = np.einsum("bcn,bnp->bcp", near, z) / total[..., None]
        apart = z[:, None] - centre[:, :, None]
        scale = np.einsum("bcn,bcnp,bcnq->bcpq", near, apart, apart) / np.maximum(share, 1e-300)[..., None, None]
        # few draws have a covariance of few directions: as much of the last one is kept
        number = np.square(share) / np.maximum(np.square(part).sum(2), 1e-300)
        trust = (number / (number + ENOUGH))[..., None]
        share = 0.9 * share + 0.1 / share.shape[1]
        return _Mixture(
            share / share.sum(1, keepdims=True),
            trust * centre + (1 - trust) * self.centre,
            trust[..., None] * scale + (1 - trust[..., None]) * self.scale,
        )

    def _components(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log densities (B, C, N) with their shares, and squared Mahalanobis distances."""
        p = z.shape[2]
        apart = (z[:, None] - self.centre[:, :, None]).swapaxes(2, 3)
        distance = np.square(np.linalg.solve(np.linalg.cholesky(self.scale), apart)).sum(2)
        log = -0.5 * (DEGREES + p) * np.log1p(distance / DEGREES)
        return log + (np.log(self.share) - 0.5 * np.linalg.slogdet(self.scale)[1])[..., None], distance


def _weights(log_weight: FloatArray) -> FloatArray:
    """Normalised (B, N); a draw whose weight is no number has none."""
    log_weight = np.where(np.isnan(log_weight), -math.inf, log_weight)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    return weight / weight.sum(1, keepdims=True)


def _weighed(drawn: FloatArray, weight: FloatArray, samples: int, rng: np.random.Generator) -> Resampled:
    """Draws (B, N, P) resampled, each as often as its weight says to within one."""
    edges = np.cumsum(weight, axis=1)
    place = (rng.random((len(weight), 1)) + np.arange(samples)) / samples
    rows = zip(edges / edges[:, -1:], place, strict=True)
    index = np.stack([rng.permutation(np.minimum(np.searchsorted(e, u), len(e) - 1)) for e, u in rows])
    mean = np.einsum("bn,bnp->bp", weight, drawn)
    return Resampled(np.take_along_axis(drawn, index[..., None], axis=1), mean, 1 / np.square(weight).sum(1))
