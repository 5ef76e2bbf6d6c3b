"""What the tests of inputs share: counts in windows, and whether waveforms agree with a design."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neuroinf.stimuli import Stimulus

FloatArray = NDArray[np.float64]
FALSE_ALARM = 1e-4


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draws(stimulus: Stimulus, n: int, seed: int = 0) -> FloatArray:
    """n waveforms (n, K, T) of one generator."""
    generator = rng(seed)
    return np.stack([stimulus.sample(generator) for _ in range(n)])


def counts(spikes: FloatArray, bins: int) -> FloatArray:
    """Spikes in windows of so many bins (..., K, T / bins)."""
    return spikes.reshape(*spikes.shape[:-1], -1, bins).sum(-1)


def off_diagonal(matrix: FloatArray) -> FloatArray:
    return matrix[..., ~np.eye(matrix.shape[-1], dtype=bool)]


def scaled_error(values: FloatArray, expected: FloatArray) -> float:
    """The largest |error| of the means of independent rows (n, m), in units of what is allowed (1).

    A mean of n >= 200 rows, each itself an average over many windows, is normal, and its own standard error makes it
    Student's t; the m means share the false-alarm rate.
    """
    n, m = values.shape
    allowed = stats.t(n - 1).isf(FALSE_ALARM / 2 / m) * values.std(0, ddof=1) / np.sqrt(n)
    assert n >= 200
    return float((np.abs(values.mean(0) - expected) / allowed).max())


def correlation_error(windows: FloatArray, design: FloatArray) -> tuple[float, float]:
    """The largest error of a correlation of counts (n, K, W), in units of what is allowed, and what is allowed at most.

    With z standardised by pooled mean and deviation, z_i z_j - rho (z_i^2 + z_j^2) / 2 has mean 0 if rho is the
    correlation, and to first order does not depend on the errors of mean and deviation.
    """
    n = len(windows)
    z = (windows - windows.mean((0, 2), keepdims=True)) / windows.std((0, 2), keepdims=True)
    i, j = np.triu_indices(windows.shape[1], 1)
    excess = (z[:, i] * z[:, j] - design[i, j][:, None] * (z[:, i] ** 2 + z[:, j] ** 2) / 2).mean(-1)
    allowed = stats.t(n - 1).isf(FALSE_ALARM / 2 / len(i)) * excess.std(0, ddof=1) / np.sqrt(n)
    return scaled_error(excess, np.zeros(len(i))), float(allowed.max())


def table_agrees(a: FloatArray, b: FloatArray, probability: FloatArray) -> bool:
    """Whether pairs of counts have a joint law (A, B), whose last row and column are "or more", by Pearson's chi-square."""
    rows, columns = probability.shape
    index = np.minimum(a, rows - 1) * columns + np.minimum(b, columns - 1)
    found = np.bincount(index.astype(int).ravel(), minlength=rows * columns)
    expected = probability.ravel() * a.size
    rare = expected < 20  # pooled, so that the statistic has its asymptotic law
    if rare.any():
        found = np.append(found[~rare], found[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        if expected[-1] < 20:
            found[-2], expected[-2] = found[-2] + found[-1], expected[-2] + expected[-1]
            found, expected = found[:-1], expected[:-1]
    return bool(stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > FALSE_ALARM)
