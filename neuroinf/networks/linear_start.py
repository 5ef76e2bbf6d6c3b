"""Where the training of a latent autoencoder begins: loadings, offsets and noise of the linear solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FactorAnalysis

from neuroinf.datasets.populations import population
from neuroinf.fits.linear_latents import fit_fa
from neuroinf.networks.evidence import Kind

FloatArray = NDArray[np.float64]

# above so many neurons the iterations of factor analysis take longer than the training gains by them
MOST_ITERATED, ITERATIONS = 200, 200
LEAST_NOISE = 1e-2


@dataclass(frozen=True)
class LinearStart:
    """Of K neurons: mean and scale of their activity (K,), loadings (K, D), offset and noise variance (K,) of what they scale."""

    mean: FloatArray
    scale: FloatArray
    loadings: FloatArray
    offset: FloatArray
    noise: FloatArray


def linear_start(x: FloatArray, kind: Kind, factors: int, sparse: bool = False) -> LinearStart:
    r"""The linear solution for activity x (n, K).

    Of traces: factor analysis of standard scores. Of sparse counts: factor analysis of their square roots, and the Poisson
    regression of each neuron on latents inferred without it (:mod:`neuroinf.fits.latent_readout`). Of other counts: the covariance
    of the log rates that explains that of the counts,

    .. math::
        \mathrm{Cov}(\log \mu)_{ij} = \log\left(1 + \frac{\mathrm{Cov}(x)_{ij} - \delta_{ij} \bar x_i}{\bar x_i \bar x_j}\right)

    for normal log rates, and its leading eigenvectors.

    Source:
        Buesing, Macke and Sahani (2012), Spectral learning of linear dynamics from generalised-linear observations, NIPS 25.
    """
    mean = x.mean(0)
    if kind == "counts":
        return _of_sparse_counts(x, mean, factors) if sparse else _of_counts(x, mean, factors)
    scale = x.std(0)
    scale[scale < 1e-9 * (1 + np.abs(mean))] = 1.0  # of a neuron that never changes
    scores = (x - mean) / scale
    if x.shape[1] <= MOST_ITERATED and len(x) > x.shape[1]:
        # a little noise variance more: a neuron that never changes would have none
        found = FactorAnalysis(factors, max_iter=ITERATIONS).fit(scores)
        loadings, noise = found.components_.T, found.noise_variance_
    else:
        _, values, vectors = np.linalg.svd(scores, full_matrices=False)
        variances = values**2 / len(x)
        rest = variances[factors:].sum() / max(x.shape[1] - factors, 1)
        loadings = np.zeros((x.shape[1], factors))
        rank = min(factors, len(variances))
        loadings[:, :rank] = vectors[:rank].T * np.sqrt(np.maximum(variances[:rank] - rest, 1e-6))
        noise = scores.var(0) - (loadings**2).sum(1)
    return LinearStart(mean, scale, loadings, np.zeros_like(mean), np.maximum(noise, LEAST_NOISE))


def _of_sparse_counts(x: FloatArray, mean: FloatArray, factors: int) -> LinearStart:
    if factors >= len(x):
        return _of_counts(x, mean, factors)
    found = fit_fa(population(x, 1.0, "counts"), factors).readout
    return LinearStart(mean, np.ones_like(mean), found.weights, found.offsets, np.ones_like(mean))


def _of_counts(x: FloatArray, mean: FloatArray, factors: int) -> LinearStart:
    rates = np.maximum(mean, 1 / len(x))  # of a silent neuron
    ratio = 1 + (np.atleast_2d(np.cov(x.T)) - np.diag(rates)) / np.outer(rates, rates)
    # of a few spikes this is mostly chance: no log rate varies by more than a factor exp(3)
    covariance = np.clip(np.log(np.maximum(ratio, 0.05)), -9.0, 9.0)
    values, vectors = np.linalg.eigh(covariance)
    loadings = vectors[:, ::-1][:, :factors] * np.sqrt(np.maximum(values[::-1][:factors], 1e-2))
    offset = np.log(rates) - 0.5 * (loadings**2).sum(1)
    return LinearStart(mean, np.ones_like(mean), loadings, offset, np.ones_like(mean))
