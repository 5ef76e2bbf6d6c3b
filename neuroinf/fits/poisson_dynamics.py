r"""A linear dynamical system seen through counts: expectation maximisation with Laplace's approximation, any entry missing.

.. math::
    z_1 \sim N(0, I), \qquad z_{t+1} = A z_t + w_t, \quad w_t \sim N(0, Q), \qquad
    x_{tk} \sim \mathrm{Poisson}(e^{b_k + c_k \cdot z_t})

It starts from factor analysis of square roots. The posterior of all bins is taken as normal around its mode
(:mod:`neuroinf.fits.laplace_smoother`); A and Q then have closed forms, and each neuron's b and c maximise, by Newton's method,

.. math:: \sum_t x_{tk} (b_k + c_k \cdot m_t) - \exp\bigl(b_k + c_k \cdot m_t + \tfrac12 c_k^T V_t c_k\bigr)

with means m and covariances V. In the end the latents are turned so that their stationary covariance is I.

Source:
    Macke, Buesing, Cunningham, Yu, Shenoy and Sahani (2011), Empirical models of spiking in neural populations, NIPS 24.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError
from neuroinf.fits.laplace_smoother import Smoothed, laplace_smoothed
from neuroinf.fits.latent_model import LatentEstimate, Mask, sequence_and_mask
from neuroinf.fits.latent_readout import LOG_RATE_LIMIT, PRIOR_SD, Readout
from neuroinf.fits.linear_dynamics import LinearDynamicalLatents, LinearSystem, standardised
from neuroinf.fits.linear_latents import damped, fit_fa

FloatArray = NDArray[np.float64]

# of the likelihood, relative, per step; Newton steps of the read-out in each; steps of a search along Newton's direction
STEPS, TOLERANCE, READOUT_STEPS, HALVINGS = 100, 1e-5, 2, 12
LEAST_EIGENVALUE = 0.01  # of Q at the start


class PoissonDynamicalLatents(LinearDynamicalLatents):
    """A fitted system.

    Attributes:
        system: Its parameters; of each neuron `private` is the inverse of the mean count, the noise of a log rate.
        readout: Expected counts of latents.
        log_likelihood: Laplace's approximation of that of the training data, nats per bin, after each step of the fit.
    """

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """The latents of one sequence of counts; see :class:`~neuroinf.fits.latent_model.LatentModel`."""
        values, seen = sequence_and_mask(activity, observed, len(self.system.loadings))
        found = laplace_smoothed(self.system, values, seen, [len(values)])
        sd = np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2))
        rates, rate_sd = self.readout.moments(found.mean, found.covariance)
        return LatentEstimate(found.mean.astype(np.float32), sd.astype(np.float32), rates, rate_sd)


def fit_poisson_lds(data: PopulationData, dimension: int) -> PoissonDynamicalLatents:
    """A linear dynamical system of counts by expectation maximisation.

    Raises:
        InputError: if the activity is no counts, or the dimension is not between 1 and the smaller of neurons and bins.
    """
    if data.kind != "counts":
        raise InputError(f"{data.name}: expected counts for a Poisson system, found traces: fit_lds is for them")
    system = _start(data, dimension)
    x, lengths = np.concatenate(data.activity).astype(np.float64), [len(s) for s in data.activity]
    seen = np.ones(x.shape, bool)
    climbed: list[float] = []
    mode = None
    for _ in range(STEPS):
        found = laplace_smoothed(system, x, seen, lengths, mode)
        climbed.append(found.log_likelihood / data.bins)
        if len(climbed) > 1 and climbed[-1] - climbed[-2] < TOLERANCE * abs(climbed[-2]):
            break
        system, mode = maximised(system, x, lengths, found), found.mean
    system = standardised(system)
    readout = Readout("counts", system.loadings, system.offset, np.log(np.maximum(x.max(0), 1.0)))
    return PoissonDynamicalLatents(system, readout, tuple(climbed))


def _start(data: PopulationData, dimension: int) -> LinearSystem:
    """Factor analysis: its read-out to counts, and its latents' regression on those of the bin before."""
    start = fit_fa(data, dimension)
    unit = np.eye(dimension)
    a = damped(start.transition)
    noise = unit - a @ a.T
    values, vectors = np.linalg.eigh((noise + noise.T) / 2)
    noise = (vectors * np.maximum(values, LEAST_EIGENVALUE)) @ vectors.T
    private = 1 / np.maximum(data.mean, 1e-6)
    return LinearSystem(a, noise, unit, start.readout.weights, start.readout.offsets, private)


def maximised(system: LinearSystem, x: FloatArray, lengths: list[int], found: Smoothed) -> LinearSystem:
    """The system that makes the expected log likelihood larger, of A and Q the largest.

    Args:
        system: Where it is.
        x: Counts of all sequences (T, K).
        lengths: Bins of each sequence.
        found: Posterior of the latents.
    """
    z, covariance = found.mean, found.covariance
    second = covariance + z[:, :, None] * z[:, None, :]
    last = np.cumsum(lengths) - 1
    followed = np.ones(len(z), bool)
    followed[last] = False
    size, steps = z.shape[1], int(followed.sum())
    a, noise = system.transition, system.noise
    if steps > size:
        follows = np.flatnonzero(followed) + 1
        before, after = second[followed].sum(0), second[follows].sum(0)
        both = found.lagged[followed[:-1]].sum(0) + z[follows].T @ z[followed]
        a = np.linalg.solve(before, both.T).T
        noise = (after - a @ both.T) / steps
        noise = (noise + noise.T) / 2 + 1e-9 * np.eye(size)
    loadings, offset = system.loadings.copy(), system.offset.copy()
    for k, counts in enumerate(x.T):
        if counts.any():  # the rate of a silent neuron would go to 0 for ever
            loadings[k], offset[k] = _climbed(loadings[k], offset[k], counts, z, covariance)
    return replace(system, transition=a, noise=noise, loadings=loadings, offset=offset)


def _climbed(
    weights: FloatArray, offset: float, counts: FloatArray, z: FloatArray, covariance: FloatArray
) -> tuple[FloatArray, float]:
    """One neuron's weights (D,) and offset, after Newton steps, each halved until it climbs."""
    size = len(weights)
    penalty = np.full(size + 1, PRIOR_SD**-2)
    penalty[-1] = 0.0
    total = np.append(counts @ z, counts.sum())

    def cost(at: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        spread = covariance @ at[:-1]
        mu = np.exp(np.minimum(z @ at[:-1] + at[-1] + 0.5 * spread @ at[:-1], LOG_RATE_LIMIT))
        return float(mu.sum() - total @ at + 0.5 * penalty @ at**2), mu, spread

    at = np.append(weights, offset)
    value, mu, spread = cost(at)
    for _ in range(READOUT_STEPS):
        design = np.column_stack([z + spread, np.ones(len(z))])
        gradient = mu @ design - total + penalty * at
        hessian = (design * mu[:, None]).T @ design + np.diag(penalty + 1e-9)
        hessian[:size, :size] += np.tensordot(mu, covariance, 1)
        step, share = np.linalg.solve(hessian, gradient), 1.0
        for _ in range(HALVINGS):
            tried = cost(at - share * step)
            if tried[0] <= value:
                at, (value, mu, spread) = at - share * step, tried
                break
            share /= 2
    return at[:-1], float(at[-1])
