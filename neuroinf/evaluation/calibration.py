"""Is a stated uncertainty honest? Functions of (truth, samples); none of them sees everything, each says what not.

| function | asks | does not see |
|---|---|---|
| `sbc_ranks`, `sbc_p`, `coverage` | is each parameter's posterior right, over the whole prior? | correlations; posterior := prior |
| `expected_coverage` | do joint regions of highest density hold the truth as often as they say? | posterior := prior |
| `tarp` | the same for balls around random points, without any density | posterior := prior; small shifts |
| `contraction`, `z_score` | how much was learnt, and how far off is it? | anything but mean and variance |
| `c2st` | do two sets of samples differ? | what its classifier cannot learn |

The first three rows are tests: the p-value of an exact posterior is uniform. `ecdf_p` goes with the bands of `ecdf_bands`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neuroinf.evaluation.uniformity import ecdf, ecdf_bands, ecdf_p

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Fewest rows in a bin of the rank histogram: from about here on the chi-squared tail is right to 1e-4.
_EXPECTED_PER_BIN = 20
_MOST_BINS = 20
# Of the classifier of c2st: with more it learns a thousand samples by heart, and takes ten times as long.
_CLASSIFIER_EPOCHS = 20

__all__ = [
    "c2st",
    "contraction",
    "coverage",
    "coverage_curve",
    "coverage_p",
    "ecdf",
    "ecdf_bands",
    "ecdf_p",
    "expected_coverage",
    "sbc_p",
    "sbc_ranks",
    "tarp",
    "z_score",
]


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


def expected_coverage(log_prob: FloatArray, sample_log_prob: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    r"""Coverage of the joint regions of highest posterior density, at all levels.

    The smallest such region that holds the truth has the credibility

    .. math:: \alpha_i = q(\theta : \log q(\theta \mid x_i) > \log q(\theta^*_i \mid x_i))

    estimated by the fraction of samples of a higher density than the truth; it is uniform if q is exact. Blind to what
    leaves the density's levels in place: q := prior passes, and a shift may be hidden by wider samples.

    Args:
        log_prob: Log-densities (n,) of the truths under their own posteriors, in any coordinates: others give
            other regions, and another test, but each is uniform if q is exact.
        sample_log_prob: Log-densities (n, S) of samples of those posteriors, in the same coordinates.

    Returns:
        Levels (K,), the fraction (K,) of rows whose truth lies in the region of that credibility, and the p-value of
        :func:`ecdf_p`. Fractions below the levels: too sure. All nan without rows.

    Source:
        Hermans et al. 2022, arXiv 2110.06581; Miller et al. 2021, arXiv 2107.01214.
    """
    if log_prob.ndim != 1 or sample_log_prob.shape[:1] != log_prob.shape or sample_log_prob.ndim != 2:
        raise ValueError(f"expected log-densities (n,) and (n, S), found {log_prob.shape} and {sample_log_prob.shape}")
    known = np.isfinite(log_prob) & np.isfinite(sample_log_prob).all(axis=1)
    higher = (sample_log_prob[known] > log_prob[known, None]).sum(axis=1)
    return _curve(higher, sample_log_prob.shape[1])


def tarp(
    truth: FloatArray, samples: FloatArray, rng: np.random.Generator, references: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, float]:
    r"""Tests of accuracy with random points: coverage of balls around references, at all levels.

    .. math:: \alpha_i = q(\theta : d(\theta, \rho_i) < d(\theta^*_i, \rho_i)), \qquad
              d(\theta, \rho)^2 = \sum_p \left(\frac{\theta_p - \rho_p}{s_{ip}}\right)^2

    uniform for every reference :math:`\rho_i` that does not look at the truth, if q is exact. :math:`s_i` is the
    standard deviation of row i's S + 1 points: with the truth among them it stays exchangeable with its samples, and
    ranks are uniform exactly, for any S.

    By default references are as far from the middle of these points as the points themselves, in all directions. A
    shift then shows only to second order: one of :math:`\delta` standard deviations in each parameter looks about like
    a posterior too narrow by a factor :math:`1 - \delta^2 / 2`. References on one side see it at first order. q := prior
    passes unless references know more of :math:`\theta^*` from the data than the prior does, such as another method's
    estimates.

    Args:
        truth: True parameters (n, P), drawn from the prior.
        samples: Posterior samples (n, S, P).
        rng: Draws the references.
        references: Instead of random ones: (n, P), made from the data, not from the truth.

    Returns:
        As :func:`expected_coverage`.

    Source:
        Lemos et al. 2023, arXiv 2302.03026.
    """
    known = _known(truth, samples)
    if references is not None:
        known &= np.isfinite(references).all(axis=1)
    points = np.concatenate([truth[known, None], samples[known]], axis=1)
    middle, spread = points.mean(axis=1, keepdims=True), points.std(axis=1, keepdims=True)
    points = (points - middle) / np.where(spread > 0, spread, 1.0)
    if references is None:
        chosen = rng.standard_normal((len(points), 1, truth.shape[1]))
    else:
        chosen = (references[known, None] - middle) / np.where(spread > 0, spread, 1.0)
    distance = ((points - chosen) ** 2).sum(axis=2)
    return _curve((distance[:, 1:] < distance[:, :1]).sum(axis=1), samples.shape[1])


def contraction(truth: FloatArray, samples: FloatArray, prior_variance: FloatArray | None = None) -> FloatArray:
    r"""How much of the prior's variance the posterior has done away with.

    .. math:: c_{ip} = 1 - \mathrm{Var}_q[\theta_{ip}] / \mathrm{Var}_\pi[\theta_p]

    1: all is known; 0: the posterior is as wide as the prior, which tests of calibration cannot tell from a good one.
    Says nothing of whether the posterior lies where it should.

    Args:
        truth: True parameters (n, P), drawn from the prior.
        samples: Posterior samples (n, S, P).
        prior_variance: (P,); by default the variance of the truths.

    Returns:
        (n, P), nan for rows without an answer.

    Source:
        Betancourt 2018, "Towards a principled Bayesian workflow"; Schad et al. 2021, Psychol Methods 26:103.
    """
    _check(truth, samples)
    variance = truth.var(axis=0) if prior_variance is None else prior_variance
    return 1 - samples.var(axis=1) / variance


def z_score(truth: FloatArray, samples: FloatArray) -> FloatArray:
    r"""Error of the posterior mean in units of the posterior's own standard deviation.

    .. math:: z_{ip} = (\mathrm E_q[\theta_{ip}] - \theta^*_{ip}) / \mathrm{sd}_q[\theta_{ip}]

    Over truths from the prior, an exact posterior has mean 0 and mean square 1. Only two moments are looked at.

    Returns:
        (n, P), nan for rows without an answer. Arguments and source as for :func:`contraction`.
    """
    _check(truth, samples)
    spread = samples.std(axis=1)
    return (samples.mean(axis=1) - truth) / np.where(spread > 0, spread, math.nan)


def c2st(a: FloatArray, b: FloatArray, rng: np.random.Generator, folds: int = 5) -> float:
    r"""Classifier two-sample test: can a network tell two sets of samples apart?

    A small perceptron is trained on all folds but one and tested on that one, each in turn; both sets are standardised
    together. Its accuracy has the optimum :math:`\frac12 + \frac12 \mathrm{TV}(p_a, p_b)`, half of the two densities' total
    variation more than guessing; sampling noise is about :math:`1 / \sqrt{8 n}`. For one observation whose posterior is
    known, not for many with one truth each. 0.5 does not prove that they are alike: a difference in few samples, or one that
    this network does not learn from them, stays unseen.

    Args:
        a: Samples (n, P).
        b: Samples (n, P), as many.
        rng: Draws folds and weights.
        folds: Number of folds.

    Returns:
        Accuracy: 0.5 for the same distribution, 1 for two that do not overlap.

    Raises:
        ValueError: if there are not as many of both, for guessing the larger set would then do better than half.

    Source:
        Lopez-Paz & Oquab 2017, arXiv 1610.06545.
    """
    # scikit-learn takes a second to import, and only this function needs it
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    if a.ndim != 2 or a.shape != b.shape or len(a) < 2 * folds:
        raise ValueError(f"expected two sets of as many samples (n, P), found {a.shape} and {b.shape}")
    both = np.concatenate([a, b])
    spread = both.std(axis=0)
    x = (both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    seeds = [int(seed) for seed in rng.integers(2**31, size=2)]
    network = MLPClassifier(
        (10 * a.shape[1],), learning_rate_init=0.01, max_iter=_CLASSIFIER_EPOCHS, random_state=seeds[0]
    )
    split = StratifiedKFold(folds, shuffle=True, random_state=seeds[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is meant
        return float(np.mean(cross_val_score(network, x, np.repeat([0, 1], len(a)), cv=split)))


def _curve(ranks: IntArray, s: int) -> tuple[FloatArray, FloatArray, float]:
    """Levels, fraction of rows below them, and p-value of ranks (n,) among s samples."""
    if len(ranks) == 0:
        levels = ecdf(np.zeros(1, np.int64), s)[0]
        return levels, np.full(len(levels), math.nan), math.nan
    return *ecdf(ranks, s), float(ecdf_p(ranks, s))


def _known(truth: FloatArray, samples: FloatArray) -> NDArray[np.bool_]:
    """Rows with an answer: a method that has none leaves them nan."""
    _check(truth, samples)
    return np.asarray(np.isfinite(samples).all(axis=(1, 2)) & np.isfinite(truth).all(axis=1))


def _check(truth: FloatArray, samples: FloatArray) -> None:
    if truth.ndim != 2 or samples.ndim != 3 or samples.shape[::2] != truth.shape:
        raise ValueError(f"expected truth (n, P) and samples (n, S, P), found {truth.shape} and {samples.shape}")
