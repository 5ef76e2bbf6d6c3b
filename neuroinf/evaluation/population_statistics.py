"""What the activity of populations is like over a long time: states, how long they last, levels, fluctuations.

Rates in Hz, times in ms; functions of arrays, so that they judge a simulation, a free simulation of a fit, and data alike. The
intervals of single neurons are in :mod:`neuroinf.evaluation.spike_trains`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

FloatArray = NDArray[np.float64]
States = NDArray[np.int64]

# two states are told apart by the mean over this time, ms, once it is this far from their middle, Hz: the excitatory populations
# of the published circuit are 19 and 6 Hz, and the mean of their difference over 200 ms has a standard deviation of 1.5 Hz
WINDOW, MARGIN = 200.0, 6.0


def two_states(signal: ArrayLike, low: float, high: float) -> States:
    """State of each sample (T,): 1 from where the signal reaches `high` until it reaches `low`, 0 after that.

    Samples before the first of either have the state of the first; all are 0 if there is none.

    Raises:
        ValueError: if `low` is not below `high`.
    """
    x = np.asarray(signal, np.float64)
    if not low < high:
        raise ValueError(f"low must be below high, found {low} and {high}")
    known = np.where(x >= high, 1, np.where(x <= low, 0, -1))
    where = np.flatnonzero(known >= 0)
    if not len(where):
        return np.zeros(len(x), np.int64)
    last = np.searchsorted(where, np.arange(len(x)), side="right") - 1
    return known[where[np.maximum(last, 0)]].astype(np.int64)


def dominance(
    rates: ArrayLike, dt: float, pair: tuple[int, int] = (0, 1), window: float = WINDOW, margin: float = MARGIN
) -> States:
    """Which of two competing populations fires more (T,): 1 the first, 0 the second.

    Args:
        rates: :math:`(M, T)`, Hz.
        dt: Bin, ms.
        pair: The two.
        window: The difference of their rates is averaged over it, ms.
        margin: It must be exceeded by the mean difference for the state to change, Hz.
    """
    x = np.asarray(rates, np.float64)
    difference = uniform_filter1d(x[pair[0]] - x[pair[1]], max(1, round(window / dt)), mode="nearest")
    return two_states(difference, -margin, margin)


def dwell_times(states: ArrayLike, dt: float) -> FloatArray:
    """How long each state lasted, ms; the first and the last, whose ends are not seen, are left out."""
    changes = np.flatnonzero(np.diff(np.asarray(states))) + 1
    return np.diff(changes) * float(dt)


def switches(states: ArrayLike, dt: float) -> float:
    """Changes of state in 100 s."""
    x = np.asarray(states)
    return float(np.count_nonzero(np.diff(x)) / (len(x) * dt / 1e5))


@dataclass(frozen=True)
class Levels:
    """Mean rates of competing populations, Hz.

    Attributes:
        winner: Of whichever population fires more.
        loser: Of the other.
        rest: Of each population that does not compete (M - 2,).
    """

    winner: float
    loser: float
    rest: FloatArray


def levels(rates: ArrayLike, states: ArrayLike, pair: tuple[int, int] = (0, 1)) -> Levels:
    """Mean rates of winner, loser and the others, of rates :math:`(M, T)` with :func:`dominance` (T,)."""
    x, first = np.asarray(rates, np.float64), np.asarray(states) == 1
    winner = np.where(first, x[pair[0]], x[pair[1]])
    loser = np.where(first, x[pair[1]], x[pair[0]])
    rest = [m for m in range(len(x)) if m not in pair]
    return Levels(float(winner.mean()), float(loser.mean()), x[rest].mean(1))


def is_bistable(found: Levels, truth: Levels, changes: float, tolerance: float = 2.0) -> bool:
    """Whether winner's and loser's levels are right to within the tolerance, Hz, and there is a change of state at all."""
    close = max(abs(found.winner - truth.winner), abs(found.loser - truth.loser)) < tolerance
    return bool(close and changes > 0)


def fluctuation(rates: ArrayLike, states: ArrayLike | None = None) -> FloatArray:
    """Standard deviation of the rates (M,), Hz; with states (T,), around the mean of each state."""
    x = np.asarray(rates, np.float64)
    if states is None:
        return x.std(1)
    labels = np.asarray(states)
    residual = x.copy()
    for state in np.unique(labels):
        residual[:, labels == state] -= residual[:, labels == state].mean(1, keepdims=True)
    return residual.std(1)


def autocorrelation(signal: ArrayLike, lags: int) -> FloatArray:
    """Autocorrelation (lags + 1,) of a signal (T,) at lags 0 to `lags` bins; nan if it is constant.

    Raises:
        ValueError: if there are not more samples than lags.
    """
    x = np.asarray(signal, np.float64)
    if not 0 <= lags < len(x):
        raise ValueError(f"expected 0 to {len(x) - 1} lags of {len(x)} samples, found {lags}")
    x = x - x.mean()
    variance = float(x @ x) / len(x)
    if variance == 0.0:
        return np.full(lags + 1, math.nan)
    return np.array([float(x[: len(x) - lag] @ x[lag:]) / (len(x) - lag) / variance for lag in range(lags + 1)])


def activity_correlation(rates: ArrayLike, truth: ArrayLike, dt: float, sd: float = 20.0) -> FloatArray:
    """Correlation (M,) of rates with true ones :math:`(M, T)`, both smoothed by a Gaussian of `sd` ms; 0 ms: as they are."""
    found = []
    for a, b in zip(np.asarray(rates, np.float64), np.asarray(truth, np.float64), strict=True):
        x, y = (gaussian_filter1d(signal, sd / dt) if sd > 0 else signal for signal in (a, b))
        constant = np.ptp(x) == 0.0 or np.ptp(y) == 0.0
        found.append(math.nan if constant else float(np.corrcoef(x, y)[0, 1]))
    return np.array(found)
