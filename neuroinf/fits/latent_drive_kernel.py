r"""Forward and backward passes over the states of a hidden drive, compiled.

The chain (Rouwenhorst's) has states :math:`(2 k - N) / \sqrt N`, k = 0 .. N, N = G - 1. State k is that of N switches of which k
are on; in every bin each switch keeps its position with probability (1 + rho) / 2. Mean, variance, conditional mean and
conditional variance are those of the autoregressive process exactly, for every rho, however close to 1, and n bins on as
well, with rho^n for rho. A grid on which the normal transition density is evaluated fails there, because the density is narrower
than the grid.

Source:
    Kopecky and Suen (2010), Review of Economic Dynamics 13:701-714, section 2.1.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

FloatArray = NDArray[np.float64]
# (output, nonlinearity) -> how the kernels know them
FAMILIES: dict[tuple[str, str], int] = {
    ("bernoulli", "logistic"): 0,
    ("bernoulli", "exponential"): 1,
    ("poisson", "logistic"): 2,
    ("poisson", "exponential"): 3,
}
UNREACHED = 1e-12  # transitions less likely than this from any state are left out
SMALLEST = 1e-300


def drive_chain(tau: float, states: int) -> tuple[FloatArray, FloatArray, int]:
    r"""States :math:`(G,)` of unit variance, transitions :math:`(G, G)` from row to column, and the farthest jump in states.

    Args:
        tau: Time constant in bins; rho = exp(-1/tau).
        states: G, at least 2.
    """
    n = states - 1
    stay = (1 + math.exp(-1 / tau)) / 2
    transition = np.empty((states, states))
    for on in range(states):
        transition[on] = np.convolve(
            binom.pmf(np.arange(on + 1), on, stay), binom.pmf(np.arange(n - on + 1), n - on, 1 - stay)
        )
    reach = max(abs(int(i) - int(j)) for i, j in np.argwhere(transition > UNREACHED))
    return (2 * np.arange(states) - n) / math.sqrt(n), transition, reach


@numba.njit(cache=True, inline="always")
def _softplus(eta: float) -> float:
    return max(eta, 0.0) + math.log1p(math.exp(-abs(eta)))


@numba.njit(cache=True)
def _log_density(count: float, eta: float, family: int) -> float:
    """Of families 0 to 2; the passes have the last one themselves."""
    if family == 0:
        return count * eta - _softplus(eta)
    if family == 1:
        rate = math.exp(min(eta, 30.0))
        return math.log(max(-math.expm1(-rate), SMALLEST)) if count > 0 else -rate
    return -count * _softplus(-eta) - 1 / (1 + math.exp(-eta)) - math.lgamma(count + 1)


@numba.njit(cache=True)
def _score(count: float, eta: float, family: int) -> float:
    """Derivative of the log density by eta; families 0 to 2."""
    if family == 0:
        return count - 1 / (1 + math.exp(-eta))
    if family == 1:
        rate = math.exp(min(eta, 30.0))
        return rate / max(math.expm1(min(rate, 500.0)), SMALLEST) if count > 0 else -rate
    sigmoid = 1 / (1 + math.exp(-eta))
    return count * (1 - sigmoid) - sigmoid * (1 - sigmoid)


@numba.njit(cache=True)
def _step(density: FloatArray, transition: FloatArray, reach: int, out: FloatArray) -> None:
    states = len(density)
    for j in range(states):
        total = 0.0
        for i in range(max(0, j - reach), min(states, j + reach + 1)):
            total += density[i] * transition[i, j]
        out[j] = total


@numba.njit(cache=True)
def forward(
    eta: FloatArray,
    count: FloatArray,
    weight: float,
    values: FloatArray,
    transition: FloatArray,
    reach: NDArray[np.int64],
    kind: NDArray[np.int64],
    family: int,
) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood of each bin given those before it (T,), and the states given all bins so far (T, G).

    `transition` (K, G, G) and `reach` (K,) are of K distances between bins, `kind` (T,) says which one lies before a bin. The
    first bin's drive has the stationary law, binomial(N, 1/2).
    """
    bins, states = len(eta), len(values)
    log_likelihood, filtered = np.zeros(bins), np.empty((bins, states))
    now, factor = np.empty(states), np.exp(weight * values)
    for g in range(states):
        now[g] = math.exp(
            math.lgamma(states) - math.lgamma(g + 1) - math.lgamma(states - g) - (states - 1) * math.log(2.0)
        )
    for t in range(bins):
        if t > 0:
            _step(filtered[t - 1], transition[kind[t]], int(reach[kind[t]]), now)
        if math.isnan(count[t]):
            filtered[t] = now
            continue
        largest = -math.inf
        rate = math.exp(min(eta[t], 30.0))
        for g in range(states):
            drive = eta[t] + weight * values[g]
            # for the commonest family one exponential a bin, not one a state
            if family == 3:
                filtered[t, g] = count[t] * drive - rate * factor[g]
            else:
                filtered[t, g] = _log_density(count[t], drive, family)
            largest = max(largest, filtered[t, g])
        total = 0.0
        for g in range(states):
            filtered[t, g] = now[g] * math.exp(filtered[t, g] - largest)
            total += filtered[t, g]
        # A state of no probability at all may be the only one that explains the bin.
        total = max(total, SMALLEST)
        log_likelihood[t] = largest + math.log(total)
        if family == 3 and count[t] > 1:
            log_likelihood[t] -= math.lgamma(count[t] + 1)
        filtered[t] /= total
    return log_likelihood, filtered


@numba.njit(cache=True)
def backward(
    eta: FloatArray,
    count: FloatArray,
    weight: float,
    values: FloatArray,
    transition: FloatArray,
    reach: NDArray[np.int64],
    kind: NDArray[np.int64],
    family: int,
    filtered: FloatArray,
) -> tuple[FloatArray, float, FloatArray, FloatArray]:
    r"""What all bins say, from the last to the first.

    Returns:
        The derivative of the log-likelihood by eta (T,) and by the weight, the states given all bins (T, G), and its
        derivative by each transition probability (K, G, G).
    """
    bins, states = len(eta), len(values)
    score, score_weight, moves = np.zeros(bins), 0.0, np.zeros(transition.shape)
    posterior = np.empty((bins, states))
    posterior[bins - 1] = filtered[bins - 1]
    now, ratio, factor = np.empty(states), np.empty(states), np.exp(weight * values)
    for t in range(bins - 1, -1, -1):
        if t < bins - 1:
            # posterior over prediction of the next bin; its expectation over moves corrects what was known at t
            k = kind[t + 1]
            move, far = transition[k], int(reach[k])
            _step(filtered[t], move, far, now)
            for g in range(states):
                ratio[g] = posterior[t + 1, g] / now[g] if now[g] > SMALLEST else 0.0
            for i in range(states):
                total = 0.0
                for j in range(max(0, i - far), min(states, i + far + 1)):
                    total += move[i, j] * ratio[j]
                    moves[k, i, j] += filtered[t, i] * ratio[j]
                posterior[t, i] = filtered[t, i] * total
        if math.isnan(count[t]):
            continue
        rate = math.exp(min(eta[t], 30.0))
        for g in range(states):
            if posterior[t, g] > 1e-14:
                drive = eta[t] + weight * values[g]
                slope = count[t] - rate * factor[g] if family == 3 else _score(count[t], drive, family)
                part = posterior[t, g] * slope
                score[t] += part
                score_weight += part * values[g]
    return score, score_weight, posterior, moves
