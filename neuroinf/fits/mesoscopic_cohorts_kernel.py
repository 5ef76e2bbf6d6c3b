r"""The Gaussian terms of the mesoscopic likelihood of one population, and their adjoint, compiled.

Neurons that fired in the same bin c are a cohort, and share their voltage. As the leak is linear,

.. math:: V_c(t) = G(t) - x_c(t), \qquad x_c(t) = d\, x_c(t - 1), \qquad x_c = G \text{ when refractoriness ends}

with G the voltage of a neuron that has never fired. Cohorts stand in the order of their bins: those of an age up to A are
a window that moves on by one with every step, nothing is shifted, and all loops over ages are contiguous. Each is short
and of one kind, so that the compiler turns it into vector instructions; sums may be reordered for that
(``fastmath``), the exponential function may not.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.exponential import exponentials

FloatArray = NDArray[np.float64]
SUMS = {"reassoc", "contract", "nsz"}
LOG_2PI = math.log(2 * math.pi)
NO_MASS = 1e-250  # so little of v, that no hazard is assigned to what it leaves out
CERTAIN = 30.0  # log of hazard x dt from which nobody survives a bin; far from where the products below overflow


@njit(nogil=True, cache=True)
def _log_hazards(x: FloatArray, decay: float, level: float, y: FloatArray) -> None:
    """The deviations x, one step on; and y = level - x, as far as it makes a difference."""
    for j in range(x.size):
        x[j] *= decay
        y[j] = min(level - x[j], CERTAIN)


@njit(nogil=True, cache=True)
def _negative(x: FloatArray, y: FloatArray) -> None:
    for j in range(x.size):
        y[j] = -x[j]


@njit(nogil=True, cache=True, fastmath=SUMS)
def _cohort_sums(
    s: FloatArray, z: FloatArray, load: FloatArray, stay: FloatArray, small: float
) -> tuple[float, float, float, float]:
    """Sums over cohorts of m, m P, v and v P: m = s z the expected survivors, v = (1 - s) m."""
    m_sum, mp_sum, v_sum, vp_sum = 0.0, 0.0, 0.0, 0.0
    for j in range(s.size):
        p = load[j] if load[j] < small else 1.0 - stay[j]
        m = s[j] * z[j]
        v = m - s[j] * m
        m_sum += m
        mp_sum += m * p
        v_sum += v
        vp_sum += v * p
    return m_sum, mp_sum, v_sum, vp_sum


@njit(nogil=True, cache=True)
def _survive(s: FloatArray, stay: FloatArray, after: FloatArray) -> None:
    """Survivors one step on; the oldest cohort leaves, one of age 0 is added at the end."""
    for j in range(s.size - 1):
        after[j] = s[j + 1] * stay[j + 1]
    after[s.size - 1] = 1.0


@njit(nogil=True, cache=True, fastmath=SUMS)
def _sums_back(
    s: FloatArray,
    z: FloatArray,
    load: FloatArray,
    stay: FloatArray,
    small: float,
    hazard: float,
    m_bar: float,
    v_bar: float,
    s_bar: FloatArray,
    z_bar: FloatArray,
    y_bar: FloatArray,
) -> None:
    """Adjoint of `_cohort_sums` and `_survive` with respect to s, z and the log hazards y.

    Args:
        s, z, load, stay, small: As there.
        hazard: Lambda, the ratio of the sums of v P and v.
        m_bar: Derivative by the sum of m P; by that of m it is -Lambda times as much.
        v_bar: Derivative by the sum of v P; by that of v it is -Lambda times as much.
        s_bar: By s one step on; overwritten by that of s.
        z_bar: Added to.
        y_bar: The result.
    """
    for j in range(s.size):
        linear = load[j] < small
        p = load[j] if linear else 1.0 - stay[j]
        slope = 1.0 if linear else stay[j]
        m = s[j] * z[j]
        each = m_bar + (1.0 - s[j]) * v_bar
        by_m = (p - hazard) * each
        later = stay[j] * s_bar[j]
        y_bar[j] = load[j] * (m * each * slope - s[j] * later)
        s_bar[j] = later + by_m * z[j] - m * v_bar * (p - hazard)
        z_bar[j] += by_m * s[j]


@njit(nogil=True, cache=True, fastmath=SUMS)
def _deviations_back(y_bar: FloatArray, decay: float, x_bar: FloatArray, d_bar: FloatArray) -> float:
    """Horner's scheme for the polynomials in d that the deviations are, and for their derivatives; the sum of y_bar."""
    total = 0.0
    for j in range(y_bar.size):
        total += y_bar[j]
        d_bar[j] = decay * d_bar[j] + x_bar[j]
        x_bar[j] = decay * x_bar[j] - y_bar[j]
    return total


@njit(nogil=True, cache=True)
def gaussian_terms(
    free: FloatArray,
    decay: float,
    threshold: float,
    voltage: FloatArray,
    survivors: FloatArray,
    z: FloatArray,
    size: float,
    dt: float,
    refractory: int,
    refractory_load: float,
    floor: float,
    small: float,
    wanted: bool,
    free_bar: FloatArray,
    z_bar: FloatArray,
    voltage_bar: FloatArray,
    survivors_bar: FloatArray,
    expected: FloatArray,
    storage: FloatArray,
) -> tuple[float, float, float]:
    r"""Sum over T bins of -log p(Z_t | past), with the derivatives of that sum.

    Args:
        free: G, :math:`(T,)`; the bin before the first is G = 0.
        decay: d, the factor by which a deviation of voltage shrinks in a step.
        threshold: theta.
        voltage: Of the cohorts before the first bin, youngest first, :math:`(A,)`.
        survivors: Of them, :math:`(A,)`.
        z: Fraction of the population that fires, of A bins before the first and of all bins, :math:`(A + T,)`.
        size: N.
        dt: Bin, s.
        refractory: Bins after a spike in which the voltage is held at 0.
        refractory_load: Hazard x dt of a neuron in them.
        floor: Activity that is added to the variance, Hz.
        small: Below this hazard x dt, that is taken for the probability to fire.
        wanted: Whether derivatives are; without them the following are not touched.
        free_bar: By G, :math:`(T,)`, overwritten.
        z_bar: :math:`(A + T,)`, to be given as 0.
        voltage_bar: :math:`(A,)`, overwritten.
        survivors_bar: :math:`(A,)`, overwritten.
        expected: Zbar, :math:`(T,)`, overwritten.
        storage: Room for the adjoint, :math:`(3, T + 1, A)` or :math:`(3, 2, A)` where no derivatives are wanted, overwritten.

    Returns:
        The sum in nats, and its derivatives by d and by theta.
    """
    steps, ages = free.size, voltage.size
    active = ages - refractory
    rows = steps + 1 if wanted else 2
    load, stay, s = storage[0], storage[1], storage[2]
    sums = np.empty((steps, 4))
    x, scratch = np.zeros(ages + steps), np.empty(ages)
    for j in range(ages):
        x[j] = -voltage[ages - 1 - j]
        s[0, j] = survivors[ages - 1 - j]
    loss, refractory_stay = 0.0, math.exp(-refractory_load)
    for k in range(steps):
        row = k % rows
        hazards, stays, now = load[row], stay[row], s[row]
        _log_hazards(x[k : k + active], decay, free[k] - threshold + math.log(dt), hazards[:active])
        exponentials(hazards[:active], scratch[:active])
        _negative(hazards[:active], stays[:active])
        exponentials(stays[:active], scratch[:active])
        for j in range(active, ages):
            hazards[j], stays[j] = refractory_load, refractory_stay
        if k + active < ages + steps:
            x[k + active] = free[k]
        m, mp, v, vp = _cohort_sums(now, z[k : k + ages], hazards, stays, small)
        sums[k] = (m, mp, v, vp)
        _survive(now, stays, s[(row + 1) % rows])
        mean = mp + (vp / v * (1.0 - m) if v > NO_MASS else 0.0)
        mean = min(max(mean, 0.0), 1.0)
        expected[k] = mean
        variance = (mean + floor * dt) / size
        error = z[ages + k] - mean
        loss += 0.5 * (error * error / variance + math.log(variance) + LOG_2PI)
    if not wanted:
        return loss, 0.0, 0.0

    decay_bar, threshold_bar = 0.0, 0.0
    s_bar, x_bar, d_bar, y_bar = np.zeros(ages + steps), np.zeros(ages + steps), np.zeros(ages + steps), np.empty(ages)
    for k in range(steps - 1, -1, -1):
        free_bar[k] = 0.0
        cohort = k + active
        if cohort < ages + steps:
            free_bar[k] = decay * x_bar[cohort]
            decay_bar += free[k] * (x_bar[cohort] + decay * d_bar[cohort])
        m, v, vp = sums[k, 0], sums[k, 2], sums[k, 3]
        mean = expected[k]
        variance = (mean + floor * dt) / size
        error = z[ages + k] - mean
        z_bar[ages + k] += error / variance
        mean_bar = -error / variance + 0.5 * (1.0 - error * error / variance) / (variance * size)
        hazard = vp / v if v > NO_MASS else 0.0
        if mean <= 0.0 or mean >= 1.0:  # where it is cut off
            mean_bar = 0.0
        v_bar = mean_bar * (1.0 - m) / v if v > NO_MASS else 0.0
        window = slice(k, k + ages)
        _sums_back(
            s[k], z[window], load[k], stay[k], small, hazard, mean_bar, v_bar, s_bar[window], z_bar[window], y_bar
        )
        total = _deviations_back(y_bar[:active], decay, x_bar[k : k + active], d_bar[k : k + active])
        free_bar[k] += total
        threshold_bar -= total
    for j in range(ages):
        age = ages - 1 - j
        survivors_bar[age] = s_bar[j]
        voltage_bar[age] = 0.0
        if j < active:
            voltage_bar[age] = -decay * x_bar[j]
            decay_bar -= voltage[age] * (x_bar[j] + decay * d_bar[j])
    return loss, decay_bar, threshold_bar
