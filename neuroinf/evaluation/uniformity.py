"""Are ranks uniform? Their distribution function, the band that holds all of it, and the exact p-value."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

FloatArray = NDArray[np.float64]
Ranks = NDArray[np.integer[Any]]

# Points at which a distribution function is looked at: more would cost time, and show nothing more.
_MOST_POINTS = 100
_RESOLVED = 1e-12


def ecdf(ranks: Ranks, s: int) -> tuple[FloatArray, FloatArray]:
    r"""Empirical distribution function of ranks on the S + 1 values 0 to S.

    .. math:: F_k = \frac{1}{n} \#\{i : r_i < e_k\}, \qquad z_k = \frac{e_k}{S + 1}

    at K whole numbers :math:`e_k` spread over 1 to S: if ranks are uniform, F has exactly the expectation z.

    Args:
        ranks: Ranks (n,), or (n, P) of P parameters.
        s: Number S of samples that each rank was taken among.

    Returns:
        z (K,) and F (K,) or (K, P).

    Raises:
        ValueError: if a rank is not one of 0 to S, or there is none.
    """
    if len(ranks) == 0 or ranks.min() < 0 or ranks.max() > s:
        raise ValueError(f"expected ranks from 0 to {s}, found {'none' if len(ranks) == 0 else ranks}")
    edges = _edges(s)
    ordered = np.sort(ranks, axis=0)
    columns = ordered.reshape(len(ranks), -1).T
    below = np.stack([np.searchsorted(column, edges) for column in columns], axis=1).reshape(-1, *ranks.shape[1:])
    return edges / (s + 1), below / len(ranks)


@lru_cache(maxsize=64)
def ecdf_bands(n: int, s: int, level: float = 0.95) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Band that holds the whole of :func:`ecdf` of n uniform ranks with probability `level` (or slightly more).

    At each point, :math:`n F_k` is binomial with n and :math:`z_k`. The band lies between its :math:`\gamma / 2` and
    :math:`1 - \gamma / 2` quantiles, with the one :math:`\gamma` for which all points together are inside with
    probability `level`. That probability is exact, discreteness of the ranks included: nothing is simulated.

    Args:
        n: Number of ranks.
        s: Number S of samples that each was taken among.
        level: Probability of the whole band.

    Returns:
        z, lowest F and highest F, each (K,).

    Source:
        Sailynoja, Buerkner & Vehtari 2022, Stat Comput 32:32, sections 2.2 and 2.3.
    """
    if not (n > 0 and s > 0 and 0 < level < 1):
        raise ValueError(f"expected n and s above 0 and a level in (0, 1), found {n}, {s} and {level}")
    z = _edges(s) / (s + 1)
    # with one point gamma would be 1 - level; with more it is smaller, at least by Bonferroni's bound
    low, high = math.log((1 - level) / len(z)) - 1e-6, math.log(1 - level)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(n, z, math.exp(middle)) >= level else (low, middle)
    first, last = _limits(n, z, math.exp(low))
    return z, first / n, last / n


def ecdf_p(ranks: Ranks, s: int) -> FloatArray:
    r"""p-value of the hypothesis that ranks are uniform on 0 to S.

    The statistic is the smallest pointwise two-sided tail along the distribution function,

    .. math:: g = 2 \min_k \min\{P(B_k \le n F_k), P(B_k \ge n F_k)\}, \qquad B_k \sim \mathrm{Bin}(n, z_k)

    and p the exact probability that uniform ranks give a g as small: :func:`ecdf_bands` at level 1 - p touches F.

    Args:
        ranks: Ranks (n,), or (n, P).
        s: Number S of samples.

    Returns:
        () or (P,); never below 1e-12, where the sum of what is inside no longer differs from 1.
    """
    z, fraction = ecdf(ranks, s)
    n = len(ranks)
    counts, points = np.rint(fraction * n).reshape(len(z), -1).T, z[None]
    tails = np.minimum(stats.binom.cdf(counts, n, points), stats.binom.sf(counts - 1, n, points))
    # p is at most 2 K g: where that cannot be resolved, a smaller g changes nothing, and scipy's quantiles break down
    least = np.maximum(tails.min(axis=1), _RESOLVED / (4 * len(z)))
    smallest, column = np.unique(least, return_inverse=True)
    # a hair above g: what is exactly as small as g counts as such
    p = np.array([1 - _inside(n, z, min(2 * g * (1 + 1e-9), 2.0)) for g in smallest])
    return np.clip(p, _RESOLVED, 1)[column].reshape(ranks.shape[1:])


def _edges(s: int) -> NDArray[np.int64]:
    """Whole numbers from 1 to S at which the distribution function is looked at, as evenly as can be."""
    points = min(s + 1, _MOST_POINTS + 1)
    return np.arange(1, points) * (s + 1) // points


def _limits(n: int, z: FloatArray, gamma: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest and most ranks below each point that are within the pointwise quantiles."""
    fewest = stats.binom.ppf(gamma / 2, n, z)
    most = n - stats.binom.ppf(gamma / 2, n, 1 - z)
    return np.maximum(fewest, 0).astype(np.int64), np.minimum(most, n).astype(np.int64)


def _inside(n: int, z: FloatArray, gamma: float) -> float:
    """Probability that n uniform ranks stay within the limits of `gamma` at all points.

    Counts between the points are multinomial, which is the law of independent Poisson counts given their sum: one
    convolution for each point.
    """
    low, high = _limits(n, z, gamma)
    if (low > high).any():
        return 0.0
    rates = n * np.diff(z, prepend=0.0, append=1.0)
    mass, start = np.ones(1), 0
    for rate, first, last in zip(rates, low, high, strict=False):
        reached = np.convolve(mass, _poisson(rate, last - start + 1))[: last - start + 1]
        first = max(int(first), start)  # counts never fall
        mass, start = reached[first - start :], first
    rest = _poisson(rates[-1], n - start + 1)[::-1]
    return float(mass @ rest[: len(mass)] / _poisson(float(n), n + 1)[-1])


def _poisson(rate: float, length: int) -> FloatArray:
    """Probabilities of 0 to length - 1."""
    k = np.arange(length)
    return np.exp(k * math.log(rate) - rate - special.gammaln(k + 1))
