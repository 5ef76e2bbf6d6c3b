r"""A linear dynamical system as a model of a population: expectation maximisation, exact smoothing, any entry missing.

.. math::
    z_{t+1} = A z_t + w_t, \quad w_t \sim N(0, Q), \qquad x_t = b + C z_t + e_t, \quad e_t \sim N(0, \mathrm{diag}(r))

It starts from factor analysis. The first bin's covariance is held at I while the likelihood climbs; in the end the latents are
turned so that their stationary covariance is I. Counts are seen through :mod:`neuroinf.fits.latent_readout`.

Source:
    Ghahramani and Hinton (1996), Parameter estimation for linear dynamical systems, University of Toronto CRG-TR-96-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

from neuroinf.datasets.populations import PopulationData
from neuroinf.fits.kalman import covariances, means
from neuroinf.fits.latent_model import LatentEstimate, Mask, Matrix, sequence_and_mask
from neuroinf.fits.latent_readout import Readout, poisson_readout, stabilised
from neuroinf.fits.linear_latents import LEAST_NOISE, damped, fit_fa, linear_forecast

FloatArray = NDArray[np.float64]

STEPS, TOLERANCE = 150, 1e-6  # of the likelihood, relative, per step


@dataclass(frozen=True)
class LinearSystem:
    """The parameters: A, Q, the first bin's covariance, C, b, r."""

    transition: FloatArray
    noise: FloatArray
    initial: FloatArray
    loadings: FloatArray
    offset: FloatArray
    private: FloatArray


@dataclass(frozen=True)
class LinearDynamicalLatents:
    """A fitted system, and the expected activity of its latents.

    Attributes:
        system: Its parameters.
        readout: Expected activity of latents.
        log_likelihood: Of the training data, nats per bin, after each step of the fit.
    """

    system: LinearSystem
    readout: Readout
    log_likelihood: tuple[float, ...] = ()

    @property
    def dimension(self) -> int:
        """D."""
        return len(self.system.transition)

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """The latents of one sequence; see :class:`~neuroinf.fits.latent_model.LatentModel`."""
        values, seen = sequence_and_mask(activity, observed, len(self.system.loadings))
        mean, covariance = smoothed(self.system, stabilised(values, self.readout.kind), seen)
        sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        rates, rate_sd = self.readout.moments(mean, covariance)
        return LatentEstimate(mean.astype(np.float32), sd.astype(np.float32), rates, rate_sd)

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """:math:`A^s z` (n, steps, D)."""
        return linear_forecast(self.system.transition, factors, steps)

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """Expected activity (..., K)."""
        return self.readout.rates(factors)


def evidence(system: LinearSystem, activity: FloatArray, seen: Mask) -> tuple[FloatArray, FloatArray]:
    """h (..., D) and J (T or 1, D, D) of activity (..., T, K) with entries (T, K) observed."""
    weighted = system.loadings / system.private[:, None]
    h = (seen * (activity - system.offset)) @ weighted
    size = h.shape[-1]
    products = (weighted[:, :, None] * system.loadings[:, None, :]).reshape(len(weighted), -1)
    patterns = seen[:1] if (seen == seen[0]).all() else seen
    return h, (patterns @ products).reshape(-1, size, size)


def smoothed(system: LinearSystem, activity: FloatArray, seen: Mask) -> tuple[FloatArray, FloatArray]:
    """Mean (T, D) and covariance (T, D, D) of the latents given the entries observed of activity (T, K)."""
    h, j = evidence(system, activity, seen)
    found = covariances(system.transition, system.noise, system.initial, j, len(activity))
    return means(system.transition, found, h[None], j)[0][0], found.smoothed


def log_likelihood(system: LinearSystem, activity: FloatArray, seen: Mask) -> float:
    """Of the entries observed of one sequence (T, K), nats."""
    h, j = evidence(system, activity, seen)
    found = covariances(system.transition, system.noise, system.initial, j, len(activity))
    quadratic = means(system.transition, found, h[None], j)[1]
    return quadratic - 0.5 * found.log_determinant + _alone(system, activity, seen)


def _alone(system: LinearSystem, activity: FloatArray, seen: Mask) -> float:
    """Log density of the activity if all latents were 0."""
    squares = (activity - system.offset) ** 2 / system.private + np.log(2 * np.pi * system.private)
    return -0.5 * float(np.where(seen, squares, 0).sum())


def fit_lds(data: PopulationData, dimension: int) -> LinearDynamicalLatents:
    """A linear dynamical system by expectation maximisation.

    Raises:
        InputError: if the dimension is not between 1 and the smaller of neurons and bins.
    """
    start = fit_fa(data, dimension)
    activity = [stabilised(x, data.kind) for x in data.activity]
    unit = np.eye(dimension)
    a = damped(start.transition)
    noise = unit - a @ a.T
    values, vectors = np.linalg.eigh((noise + noise.T) / 2)
    noise = (vectors * np.maximum(values, 0.01)) @ vectors.T
    system = LinearSystem(a, noise, unit, start.loadings, start.offset, start.noise)
    least = LEAST_NOISE * np.concatenate(activity).var(0) + 1e-12
    climbed: list[float] = []
    for _ in range(STEPS):
        updated, likelihood = step(system, activity, least)
        climbed.append(likelihood / data.bins)
        if len(climbed) > 1 and climbed[-1] - climbed[-2] < TOLERANCE * abs(climbed[-2]):
            break
        system = updated
    system = standardised(system)
    readout = Readout(data.kind, system.loadings, system.offset)
    if data.kind == "counts":

        def factors(x: NDArray[Any], seen: Mask) -> tuple[FloatArray, FloatArray]:
            return smoothed(system, stabilised(x, data.kind), seen)

        readout = poisson_readout(data, factors, dimension)
    return LinearDynamicalLatents(system, readout, tuple(climbed))


def step(system: LinearSystem, activity: Sequence[FloatArray], least: FloatArray) -> tuple[LinearSystem, float]:
    """One step of expectation maximisation on fully observed sequences (T_s, K).

    Args:
        system: Where it is.
        activity: The sequences.
        least: Smallest noise variance of each neuron (K,).

    Returns:
        The next system, and the log likelihood of the one given, nats.
    """
    size, neurons = system.loadings.shape[1], len(system.loadings)
    # of bins with a next one; of next ones; of both; of all, with a column of ones; with the activity; of the activity
    before, after, both = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    whole, crossed, squares = np.zeros((size + 1, size + 1)), np.zeros((neurons, size + 1)), np.zeros(neurons)
    steps, bins, likelihood = 0, 0, 0.0
    for length in sorted({len(x) for x in activity}):
        x = np.stack([s for s in activity if len(s) == length])
        seen = np.ones((length, neurons), bool)
        h, j = evidence(system, x, seen)
        found = covariances(system.transition, system.noise, system.initial, j, length)
        z, quadratic = means(system.transition, found, h, j)
        n = len(x)
        likelihood += quadratic - 0.5 * n * found.log_determinant + sum(_alone(system, s, seen) for s in x)
        spread = found.smoothed
        before += n * spread[:-1].sum(0) + np.einsum("std,ste->de", z[:, :-1], z[:, :-1], optimize=True)
        after += n * spread[1:].sum(0) + np.einsum("std,ste->de", z[:, 1:], z[:, 1:], optimize=True)
        # Cov(z_{t+1}, z_t) = V_{t+1} G_t^T
        lagged = np.einsum("tde,tfe->df", spread[1:], found.gains, optimize=True)
        both += n * lagged + np.einsum("std,ste->de", z[:, 1:], z[:, :-1], optimize=True)
        flat = np.concatenate([z.reshape(-1, size), np.ones((n * length, 1))], 1)
        whole += flat.T @ flat
        whole[:size, :size] += n * spread.sum(0)
        rows = x.reshape(-1, neurons)
        crossed += rows.T @ flat
        squares += (rows**2).sum(0)
        steps, bins = steps + n * (length - 1), bins + n * length
    a = np.linalg.solve(before, both.T).T if steps else system.transition
    q = (after - a @ both.T) / steps if steps else system.noise
    weights = np.linalg.solve(whole, crossed.T).T
    private = np.maximum((squares - (weights * crossed).sum(1)) / bins, least)
    noise = (q + q.T) / 2 + 1e-9 * np.eye(size)
    return replace(
        system, transition=a, noise=noise, loadings=weights[:, :size], offset=weights[:, size], private=private
    ), likelihood


def standardised(system: LinearSystem) -> LinearSystem:
    """The same system in latents whose stationary covariance is I, those that explain most first."""
    a = damped(system.transition)
    stationary = solve_discrete_lyapunov(a, system.noise)
    root = np.linalg.cholesky((stationary + stationary.T) / 2)
    loadings = system.loadings @ root
    turn = np.linalg.eigh(loadings.T @ (loadings / system.private[:, None]))[1][:, ::-1]
    to_old = root @ turn
    to_new = np.linalg.inv(to_old)
    noise = to_new @ system.noise @ to_new.T
    return replace(
        system,
        transition=to_new @ a @ to_old,
        noise=(noise + noise.T) / 2,
        initial=np.eye(len(a)),
        loadings=system.loadings @ to_old,
    )
