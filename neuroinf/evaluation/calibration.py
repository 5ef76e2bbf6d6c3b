"""Is a stated uncertainty honest? Functions of (truth, samples): coverage, and ranks that must be uniform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Fewest rows in a bin of the rank histogram: from about here on the chi-squared tail is right to 1e-4.
_EXPECTED_PER_BIN = 20
_MOST_BINS = 20


def sbc_ranks(truth: FloatArray, samples: FloatArray) -> IntArray:
    r"""Rank of each truth among its posterior samples.

    .. math:: r_{ip} = \#\{s : \theta_{isp} < \theta^*_{ip}\} \in \{0, \dots, S\}

    If the posterior is exact and the S samples are independent, each column is uniform on the S + 1 ranks.

    Args:
        truth: True parameters (n, P), drawn from the prior.
        samples: Posterior samples (n, S, P).

    Returns:
        Ranks (n, P).

    Source:
        Talts et al. 2018, arXiv 1804.06788.
    """
    _check(truth, samples)
    return (samples < truth[:, None, :]).sum(axis=1).astype(np.int64)


def sbc_p(truth: FloatArray, samples: FloatArray) -> FloatArray:
    """p-value, per parameter, of the hypothesis that the ranks of :func:`sbc_ranks` are uniform.

    Chi-squared over at most 20 bins of ranks, each with its exact probability. A biased posterior piles the ranks up
    at one end, a narrow one at both, a wide one in the middle.

    Returns:
        p-values (P,); nan if fewer than 40 rows are known, which cannot tell.
    """
    known = _known(truth, samples)
    ranks, s = sbc_ranks(truth[known], samples[known]), samples.shape[1]
    bins = min(_MOST_BINS, len(ranks) // _EXPECTED_PER_BIN, s + 1)
    if bins < 2:
        return np.full(truth.shape[1], math.nan)
    bin_of_rank = np.arange(s + 1) * bins // (s + 1)
    expected = len(ranks) * np.bincount(bin_of_rank, minlength=bins) / (s + 1)
    p = [stats.chisquare(np.bincount(bin_of_rank[r], minlength=bins), expected).pvalue for r in ranks.T]
    return np.array(p, dtype=np.float64)


def coverage(truth: FloatArray, samples: FloatArray, level: float = 0.9) -> FloatArray:
    """Fraction of rows whose truth lies in the central interval of the samples, per parameter.

    Args:
        truth: True parameters (n, P).
        samples: Posterior samples (n, S, P).
        level: Probability that the interval should hold.

    Returns:
        Fractions (P,), which equal `level` up to binomial noise for an honest posterior; nan without rows.
    """
    return coverage_curve(truth, samples, [level])[0]


def coverage_curve(truth: FloatArray, samples: FloatArray, levels: Sequence[float]) -> FloatArray:
    """:func:`coverage` at L levels: (L, P)."""
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels must lie in (0, 1), found {list(levels)}")
    known = _known(truth, samples)
    if not known.any():
        return np.full((len(levels), truth.shape[1]), math.nan)
    # The middle of the rank's cell: the interval then holds its level to within 1 / (S + 1), without interpolation.
    u = (sbc_ranks(truth[known], samples[known]) + 0.5) / (samples.shape[1] + 1)
    return np.stack([(np.abs(u - 0.5) <= level / 2).mean(axis=0) for level in levels])


def coverage_p(fraction: FloatArray, n: int, level: float = 0.9) -> FloatArray:
    """Two-sided binomial p-value (P,) of coverages seen in n rows, if each were covered with probability `level`."""
    p = [math.nan if math.isnan(f) else stats.binomtest(round(f * n), n, level).pvalue for f in fraction]
    return np.array(p, dtype=np.float64)


def _known(truth: FloatArray, samples: FloatArray) -> NDArray[np.bool_]:
    """Rows with an answer: a method that has none leaves them nan."""
    _check(truth, samples)
    return np.asarray(np.isfinite(samples).all(axis=(1, 2)) & np.isfinite(truth).all(axis=1))


def _check(truth: FloatArray, samples: FloatArray) -> None:
    if truth.ndim != 2 or samples.ndim != 3 or samples.shape[::2] != truth.shape:
        raise ValueError(f"expected truth (n, P) and samples (n, S, P), found {truth.shape} and {samples.shape}")
