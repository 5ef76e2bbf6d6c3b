r"""Latents without dynamics: principal components, probabilistic principal components and factor analysis.

.. math:: x_t = b + C z_t + e_t, \qquad z_t \sim N(0, I), \qquad e_t \sim N(0, \mathrm{diag}(r))

with :math:`r_k = r` for probabilistic PCA, and least squares instead of the posterior for PCA. With the entries o of a bin
observed the posterior is exact:

.. math:: \Sigma = \bigl(I + C_o^T r_o^{-1} C_o\bigr)^{-1}, \qquad \mathrm{E}[z | x_o] = \Sigma C_o^T r_o^{-1} (x_o - b_o)

Source:
    Tipping and Bishop (1999), J R Stat Soc B 61:611.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FactorAnalysis
from sklearn.utils.extmath import svd_flip

from neuroinf.datasets.populations import Kind, PopulationData
from neuroinf.errors import InputError
from neuroinf.fits.latent_model import LatentEstimate, Mask, Matrix, sequence_and_mask
from neuroinf.fits.latent_readout import Readout, poisson_readout, stabilised

FloatArray = NDArray[np.float64]

# bins whose precision matrices are held at once; ridge of least squares, relative to the mean squared loading
CHUNK, RIDGE = 2048, 1e-6
# noise variance is at least this part of a neuron's variance: factor analysis can drive it to 0
LEAST_NOISE = 1e-3
FACTOR_STEPS = 500


@dataclass(frozen=True)
class LinearLatents:
    """A fitted model.

    Attributes:
        loadings: C (K, D).
        offset: b (K,).
        noise: r (K,).
        prior: Precision of the latents' prior: 1, or 0 for least squares.
        transition: A (D, D), of the regression of a bin's latents on those of the bin before: what forecasts use.
        readout: Expected activity of latents.
    """

    loadings: FloatArray
    offset: FloatArray
    noise: FloatArray
    prior: float
    transition: FloatArray
    readout: Readout

    @property
    def dimension(self) -> int:
        """D."""
        return self.loadings.shape[1]

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """The latents of one sequence; see :class:`~neuroinf.fits.latent_model.LatentModel`."""
        values, seen = sequence_and_mask(activity, observed, len(self.loadings))
        mean, covariance = posterior(self, values, seen)
        if self.prior == 0:
            unknown = np.full(mean.shape, np.nan, np.float32)
            return LatentEstimate(mean.astype(np.float32), unknown, self.readout.rates(mean))
        sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        rates, rate_sd = self.readout.moments(mean, covariance)
        return LatentEstimate(
            mean.astype(np.float32), np.broadcast_to(sd, mean.shape).astype(np.float32), rates, rate_sd
        )

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """:math:`A^s z` (n, steps, D)."""
        return linear_forecast(self.transition, factors, steps)

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """Expected activity (..., K)."""
        return self.readout.rates(factors)


def posterior(model: LinearLatents, activity: FloatArray, seen: Mask) -> tuple[FloatArray, FloatArray]:
    """Mean (T, D) and covariance (T or 1, D, D): one if every bin has the same entries observed."""
    weighted = model.loadings / model.noise[:, None]
    evidence = (seen * (stabilised(activity, model.readout.kind) - model.offset)) @ weighted
    products = (weighted[:, :, None] * model.loadings[:, None, :]).reshape(len(weighted), -1)
    least = model.prior if model.prior else RIDGE * float((weighted * model.loadings).sum(0).mean())
    one = bool((seen == seen[0]).all())
    size = model.dimension
    means, covariances = [], []
    for start in range(0, 1 if one else len(seen), CHUNK):
        part = seen[:1] if one else seen[start : start + CHUNK]
        precision = (part @ products).reshape(-1, size, size) + least * np.eye(size)
        covariance = np.linalg.inv(precision)
        given = evidence if one else evidence[start : start + CHUNK]
        means.append(given @ covariance[0] if one else np.einsum("tde,te->td", covariance, given))
        covariances.append(covariance)
    return np.concatenate(means), np.concatenate(covariances)


def linear_forecast(transition: FloatArray, factors: NDArray[Any], steps: int) -> Matrix:
    """:math:`A^s z`, s from 1, of states (n, D)."""
    state, path = np.asarray(factors, np.float64), []
    for _ in range(steps):
        state = state @ transition.T
        path.append(state)
    return np.stack(path, 1).astype(np.float32)


def regressed_transition(sequences: list[FloatArray]) -> FloatArray:
    """A (D, D) of least squares of each bin on the one before, its spectral radius below 1."""
    before = np.concatenate([z[:-1] for z in sequences])
    after = np.concatenate([z[1:] for z in sequences])
    size = before.shape[1]
    if len(before) <= size:
        return np.zeros((size, size))
    return damped(np.linalg.lstsq(before, after, rcond=None)[0].T)


def damped(transition: FloatArray, radius: float = 0.9995) -> FloatArray:
    """The matrix, scaled to a spectral radius at most this: a stationary process has one below 1."""
    largest = float(np.abs(np.linalg.eigvals(transition)).max())
    return transition * min(1.0, radius / largest) if largest > 0 else transition


def fit_pca(data: PopulationData, dimension: int) -> LinearLatents:
    """Principal components; latents by least squares on the entries observed.

    Raises:
        InputError: if the dimension is not between 1 and the smaller of neurons and bins.
    """
    x, offset = _centred(data, dimension)
    directions, variances = _principal(x, dimension)
    loadings = directions * np.sqrt(np.maximum(variances[:dimension], 1e-12))
    return _finished(data, loadings, offset, np.ones(data.neurons), 0.0)


def fit_ppca(data: PopulationData, dimension: int) -> LinearLatents:
    """Probabilistic principal components, in closed form.

    Raises:
        InputError: as of :func:`fit_pca`.
    """
    x, offset = _centred(data, dimension)
    directions, variances = _principal(x, dimension)
    rest = variances[dimension:]
    noise = float(rest.mean()) if rest.size else LEAST_NOISE * float(variances.mean())
    noise = max(noise, LEAST_NOISE * float(variances.mean()), 1e-12)
    loadings = directions * np.sqrt(np.maximum(variances[:dimension] - noise, 0.0))
    return _finished(data, loadings, offset, np.full(data.neurons, noise), 1.0)


def fit_fa(data: PopulationData, dimension: int) -> LinearLatents:
    """Factor analysis by maximum likelihood.

    Raises:
        InputError: as of :func:`fit_pca`.
    """
    x, offset = _centred(data, dimension)
    scale = np.maximum(x.std(0), 1e-6)
    found = FactorAnalysis(dimension, max_iter=FACTOR_STEPS, tol=1e-3, svd_method="lapack").fit(x / scale)
    noise = np.maximum(np.asarray(found.noise_variance_), LEAST_NOISE)
    loadings = np.asarray(found.components_).T
    # a rotation of the latents that makes their posterior covariance diagonal, the best seen first
    turn = np.linalg.eigh(loadings.T @ (loadings / noise[:, None]))[1]
    loadings = loadings @ turn[:, ::-1]
    return _finished(data, loadings * scale[:, None], offset, noise * scale**2, 1.0)


def _centred(data: PopulationData, dimension: int) -> tuple[FloatArray, FloatArray]:
    if not 1 <= dimension <= min(data.neurons, data.bins - 1):
        raise InputError(
            f"{data.name}: dimension: expected 1 to {min(data.neurons, data.bins - 1)}, the smaller of neurons and bins less "
            f"one, found {dimension}"
        )
    x = np.concatenate([stabilised(s, data.kind) for s in data.activity])
    offset = x.mean(0)
    return x - offset, offset


def _principal(x: FloatArray, dimension: int) -> tuple[FloatArray, FloatArray]:
    """Directions (K, D) and the variances along all (K,), falling."""
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    directions = vectors[:, ::-1][:, :dimension]
    turned = svd_flip(directions, directions.T)[0]
    return turned, np.maximum(values[::-1], 0.0)


def _finished(
    data: PopulationData, loadings: FloatArray, offset: FloatArray, noise: FloatArray, prior: float
) -> LinearLatents:
    kind: Kind = data.kind
    size = loadings.shape[1]
    bare = LinearLatents(loadings, offset, noise, prior, np.eye(size), Readout(kind, loadings, offset))

    def factors(activity: NDArray[Any], seen: Mask) -> tuple[FloatArray, FloatArray]:
        mean, covariance = posterior(bare, np.asarray(activity, np.float64), seen)
        return mean, covariance if prior else np.zeros_like(covariance)

    transition = regressed_transition([factors(x, np.ones(x.shape, bool))[0] for x in data.activity])
    readout = poisson_readout(data, factors, size) if kind == "counts" else bare.readout
    return LinearLatents(loadings, offset, noise, prior, transition, readout)
