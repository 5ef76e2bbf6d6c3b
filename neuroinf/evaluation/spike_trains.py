r"""How alike are two spike trains, and what is one like? Coincidences, smoothed trains, interspike intervals.

All times in ms, sorted. No library is used: elephant has the interval statistics (its values stand in the tests) but
none of the three similarities below, and pyspike others; two formulas do not pay for their dependencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.signal.windows import gaussian

FloatArray = NDArray[np.float64]
Trains = Sequence[FloatArray]

# Times on a common grid differ by whole steps up to rounding: a difference equal to the window counts as inside.
_ROUNDING = 1e-9


def coincidences(train: FloatArray, other: FloatArray, window: float) -> int:
    """Most pairs of a spike of each train at most `window` ms apart that can be formed, each spike in one pair only."""
    count = i = j = 0
    while i < len(train) and j < len(other):
        lag = train[i] - other[j]
        if abs(lag) <= window + _ROUNDING:
            count, i, j = count + 1, i + 1, j + 1
        elif lag < 0:
            i += 1
        else:
            j += 1
    return count


def coincidence_factor(data: FloatArray, model: FloatArray, duration: float, window: float = 2.0) -> float:
    r"""Coincidence factor of two spike trains: 1 if they agree to within the window, 0 on average if by chance.

    .. math:: \Gamma = \frac{N_\text{coinc} - 2 \nu \Delta N_\text{data}}{\frac12 (N_\text{data} + N_\text{model})}
        \cdot \frac{1}{1 - 2 \nu \Delta}

    with :math:`\nu` the model's rate, :math:`\Delta` the window: the subtracted term is what a Poisson train of the
    model's rate would reach.

    Args:
        data: Times of the train to be predicted, ms.
        model: Times of the prediction, ms.
        duration: Length of both trains, ms.
        window: :math:`\Delta`, ms.

    Returns:
        :math:`\Gamma \le 1`; nan where undefined: both trains empty, or a rate :math:`\nu \ge 1 / 2\Delta`.

    Source:
        Kistler et al. 1997, Neural Comput. 9:1015; Jolivet et al. 2008, J. Neurosci. Methods 169:417.
    """
    total, chance = len(data) + len(model), 2 * window * len(model) / duration
    if total == 0 or chance >= 1:
        return math.nan
    return (coincidences(data, model, window) - chance * len(data)) / (total / 2) / (1 - chance)


def intrinsic_coincidence(repeats: Trains, duration: float, window: float = 2.0) -> float:
    r"""Mean :math:`\Gamma` between different repeats, both ways: how well one trial predicts another; nan for one."""
    pairs = [(a, b) for x, y in combinations(repeats, 2) for a, b in ((x, y), (y, x))]
    return _mean([coincidence_factor(a, b, duration, window) for a, b in pairs])


def coincidence_factor_of_repeats(repeats: Trains, model: FloatArray, duration: float, window: float = 2.0) -> float:
    r"""Mean :math:`\Gamma` of one prediction with each repeat, over :func:`intrinsic_coincidence`.

    Source:
        The measure of the 2007 spike-time prediction challenge (QSNMC): 1 is as good as another trial.
    """
    intrinsic = intrinsic_coincidence(repeats, duration, window)
    score = _mean([coincidence_factor(data, model, duration, window) for data in repeats])
    return score / intrinsic if intrinsic > 0 else math.nan


def smoothed(trains: Trains, duration: float, dt: float, sigma: float, mode: str) -> FloatArray:
    """Binary trains at step dt (ms), convolved with a Gaussian of unit sum and int(10 sigma / dt) points.

    Args:
        mode: "same" keeps the duration, "full" adds the kernel's length.

    Returns:
        One row for each train.

    Raises:
        ValueError: if the kernel is longer than the train, or a spike lies outside it.
    """
    steps, points = round(duration / dt), int(10 * sigma / dt + _ROUNDING)
    if points > steps:
        raise ValueError(
            f"a kernel of 10 sigma = {10 * sigma:g} ms does not fit into trains of {duration:g} ms: "
            "take longer trains or a smaller sigma"
        )
    kernel = gaussian(points, sigma / dt)
    binary = np.zeros((len(trains), steps))
    for row, train in zip(binary, trains, strict=True):
        index = np.floor(np.asarray(train) / dt + 1e-6).astype(np.int64)
        if len(index) and not (index[0] >= 0 and index[-1] < steps):
            raise ValueError(f"spikes from {train[0]:g} to {train[-1]:g} ms do not lie in [0, {duration:g}) ms")
        row[index] = 1.0
    return fftconvolve(binary, kernel[None] / kernel.sum(), mode, axes=1)


def explained_variance(x: FloatArray, y: FloatArray) -> float:
    r"""Explained variance of two traces; 1 if they differ by a constant at most, two silent ones included.

    .. math:: EV(x, y) = \frac{\operatorname{var} x + \operatorname{var} y - \operatorname{var}(x - y)}
        {\operatorname{var} x + \operatorname{var} y}
    """
    difference = float(np.var(x - y))
    both = float(np.var(x) + np.var(y))
    return 1.0 if difference == 0 else (both - difference) / both


def explained_variance_ratio(
    repeats: Trains,
    model: FloatArray,
    duration: float,
    dt: float,
    sigma: float = 10.0,
    leave_one_out: bool = False,
) -> float:
    r"""Explained variance of a prediction, over that of the repeats' own mean.

    .. math:: EVR = \frac{\langle EV(m, d_i) \rangle_i}{\langle EV(\bar d, d_i) \rangle_i}

    As published: the numerator's trains are convolved with mode "same", the denominator's with "full", and the mean
    :math:`\bar d` includes the repeat that it is compared with, so that the ceiling is too high for few repeats.

    Args:
        repeats: Spike times of each repeat of one stimulus, ms.
        model: Spike times of the prediction, ms.
        duration: Length of the trains, ms.
        dt: Step of the binary trains, ms.
        sigma: Standard deviation of the Gaussian, ms.
        leave_one_out: Compare each repeat with the mean of the others: an honest ceiling, not the published one.

    Returns:
        The ratio, at most about 1; nan without repeats, with `leave_one_out` for one repeat, or if the ceiling is not
        positive. With one repeat the published ceiling is 1, and the ratio is the explained variance itself.

    Source:
        Teeter et al. 2018, Nat. Commun. 9:709, and the code published with it.
    """
    if not len(repeats) or (leave_one_out and len(repeats) < 2):
        return math.nan
    trains = smoothed([*repeats, model], duration, dt, sigma, "same")
    numerator = _mean([explained_variance(trains[-1], d) for d in trains[:-1]])
    if len(repeats) == 1:
        return numerator
    full = smoothed(repeats, duration, dt, sigma, "full")
    mean, n = full.mean(axis=0), len(full)
    others = [(n * mean - d) / (n - 1) if leave_one_out else mean for d in full]
    ceiling = _mean([explained_variance(other, d) for other, d in zip(others, full, strict=True)])
    return numerator / ceiling if ceiling > 0 else math.nan


def md_star(repeats: Trains, model: Trains, window: float = 4.0) -> float:
    r"""Similarity of two sets of spike trains, corrected for the small number of repeats.

    .. math:: M_d^* = \frac{2 \langle d, m \rangle}{\langle d, d \rangle_{i \ne j} + \langle m, m \rangle}

    with the inner product of two trains the number of pairs of spikes at most `window` apart (Kistler's window), and
    :math:`\langle \cdot, \cdot \rangle` its mean over pairs of trains: different ones for the data, all for the model,
    which may be one train if it is deterministic.

    Args:
        repeats: Spike times of two or more repeats of one stimulus, ms.
        model: Spike times of the model's repeats, ms.
        window: Half width, ms.

    Returns:
        About 1 if the model's trains are as like the data's as those are like each other; nan for one repeat, or if
        there is nothing to compare.

    Source:
        Naud et al. 2011, Neural Comput. 23:3016; the Kistler window of Pozzorini et al. 2015, e1004275.
    """
    if len(repeats) < 2 or not len(model):
        return math.nan
    dd = _mean([_inner(a, b, window) for a, b in combinations(repeats, 2)])
    mm = _mean([_inner(a, b, window) for a in model for b in model])
    dm = _mean([_inner(a, b, window) for a in repeats for b in model])
    return 2 * dm / (dd + mm) if dd + mm > 0 else math.nan


def rate(train: FloatArray, duration: float) -> float:
    """Spikes per second, Hz, in `duration` ms."""
    return len(train) / duration * 1e3


def cv(train: FloatArray) -> float:
    """Standard deviation of the interspike intervals over their mean; nan for fewer than three spikes."""
    intervals = _intervals(train)
    return float(intervals.std() / intervals.mean()) if len(intervals) > 1 else math.nan


def lv(train: FloatArray) -> float:
    r"""Local variation of the n - 1 interspike intervals I: as `cv`, but blind to slow changes of the rate.

    .. math:: L_V = \frac{3}{n - 2} \sum_i \left( \frac{I_{i+1} - I_i}{I_{i+1} + I_i} \right)^2

    Returns:
        0 for a regular train, 1 on average for a Poisson train; nan for fewer than three spikes.

    Source:
        Shinomoto et al. 2003, Neural Comput. 15:2823.
    """
    intervals = _intervals(train)
    return float(3 * np.mean(_contrast(intervals) ** 2)) if len(intervals) > 1 else math.nan


def adaptation_index(train: FloatArray) -> float:
    r"""Adaptation index: positive if the n - 1 interspike intervals I grow.

    .. math:: A = \frac{1}{n - 2} \sum_i \frac{I_{i+1} - I_i}{I_{i+1} + I_i}

    Returns:
        The index in (-1, 1); nan for fewer than three spikes.

    Source:
        Allen Institute, Electrophysiology white paper (2017), section "features".
    """
    intervals = _intervals(train)
    return float(np.mean(_contrast(intervals))) if len(intervals) > 1 else math.nan


def _intervals(train: FloatArray) -> FloatArray:
    intervals = np.diff(train)
    if (intervals <= 0).any():
        raise ValueError(f"spike times must increase; they do not at index {int(np.argmax(intervals <= 0)) + 1}")
    return intervals


def _contrast(intervals: FloatArray) -> FloatArray:
    return np.diff(intervals) / (intervals[1:] + intervals[:-1])


def _inner(a: FloatArray, b: FloatArray, window: float) -> int:
    """Number of pairs of a spike of a and a spike of b at most `window` apart."""
    near = window + _ROUNDING
    return int((np.searchsorted(b, a + near, "right") - np.searchsorted(b, a - near, "left")).sum())


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are defined; nan if none is."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
