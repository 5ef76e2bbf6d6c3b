r"""The mode of a linearised neuron: least squares for the voltage, logistic crossings, normal prior, each row by itself.

.. math:: G(d, \sigma, w) = \frac{|r - J d|^2}{2 \sigma^2} + n \log \sigma
    + \sum_m \log(1 + e^{-s_m (a_m + b_m d) / w}) + \tfrac12 |z + d|^2 + \tfrac12 (\log w / 3)^2

is convex in d. It is minimised for a falling series of widths w, each from where the last one ended, until a narrower
threshold explains the crossings less well; sigma follows, unless it is known.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from neuroinf.models.glif_descent import NOISE_FLOOR, WIDTH_PRIOR
from neuroinf.models.glif_linearisation import Linearised

FloatArray = NDArray[np.float64]
Voltage = tuple[float, FloatArray, FloatArray, float]  # squares, pull, stiffness, count
WIDTHS = (
    0.4,
    0.13,
    0.04,
    0.013,
    0.006,
)  # mV; of a wider threshold more steps would have to be known than those NEAR it
NOTHING = 20.0  # widths from threshold, beyond which a step adds 2e-9 to G
DECREMENT = 1e-2  # of G, below which a Newton iteration ends
ITERATIONS, HALVINGS = 12, 30


class Mode(NamedTuple):
    """Where G is least, R rows.

    Attributes:
        step: d, :math:`(R, Q)`.
        curvature: Of G there, :math:`(R, Q, Q)`.
        noise: :math:`(R,)`, mV.
        width: :math:`(R,)`, mV.
        before: G at d = 0, with the noise and width that suit it best, :math:`(R,)`.
        after: G at d, :math:`(R,)`.
        down: Largest distance above threshold of a silent step, at d, :math:`(R,)`, mV.
        up: Smallest of a spike.
    """

    step: FloatArray
    curvature: FloatArray
    noise: FloatArray
    width: FloatArray
    before: FloatArray
    after: FloatArray
    down: FloatArray
    up: FloatArray


def mode(at: Linearised, z: FloatArray, noise: float | None = None, width: FloatArray | None = None) -> Mode:
    """The mode of each row, expanded at z :math:`(R, Q)`.

    Args:
        at: The expansion.
        z: Where.
        noise: Sd of the voltage noise, mV; None: estimated for each row.
        width: :math:`(R,)`, mV, that an expansion nearby led to: no more than two steps wider ones are tried then.
    """
    rows, q = z.shape
    out = Mode(np.zeros((rows, q)), np.zeros((rows, q, q)), *(np.zeros(rows) for _ in range(6)))
    widths = np.array(WIDTHS)
    first = np.zeros(rows, np.int64) if width is None else np.maximum((widths > width[:, None]).sum(1) - 2, 0)
    known = math.nan if noise is None else noise
    _modes(*[*vars(at).values(), z, known, widths, first, *out])
    return out


def loss(at: Linearised, z: FloatArray, noise: FloatArray, width: FloatArray) -> FloatArray:
    """G at d = 0, :math:`(R,)`."""
    return _losses(*[*vars(at).values(), z, noise, width])


@numba.njit(cache=True, nogil=True)
def _losses(
    squares: FloatArray,
    pull: FloatArray,
    stiffness: FloatArray,
    count: FloatArray,
    number: NDArray[np.integer[Any]],
    distance: FloatArray,
    slope: FloatArray,
    sign: FloatArray,
    z: FloatArray,
    noise: FloatArray,
    width: FloatArray,
) -> FloatArray:
    total, origin = np.zeros(len(z)), np.zeros(z.shape[1])
    for r in range(len(z)):
        m = number[r]
        voltage = (squares[r], pull[r], stiffness[r], count[r])
        total[r] = _value(voltage, distance[r, :m], sign[r, :m], z[r], noise[r], width[r], origin)
    return total


@numba.njit(cache=True, nogil=True)
def _modes(
    squares: FloatArray,
    pull: FloatArray,
    stiffness: FloatArray,
    count: FloatArray,
    number: NDArray[np.integer[Any]],
    distance: FloatArray,
    slope: FloatArray,
    sign: FloatArray,
    z: FloatArray,
    known_noise: float,
    widths: FloatArray,
    first: NDArray[np.integer[Any]],
    step: FloatArray,
    curvature: FloatArray,
    noise: FloatArray,
    width: FloatArray,
    before: FloatArray,
    after: FloatArray,
    down: FloatArray,
    up: FloatArray,
) -> None:
    q = z.shape[1]
    gradient, bend, move = np.zeros(q), np.zeros((q, q)), np.zeros(q)
    for r in range(len(z)):
        m, full = number[r], stiffness[r]
        for i in range(q):
            for j in range(i):
                full[j, i] = full[i, j]
        voltage = (squares[r], pull[r], full, count[r])
        signs, slopes = sign[r, :m], slope[r, :m]
        d, there, origin, best, sigma = np.zeros(q), np.zeros(q), np.zeros(q), np.inf, known_noise
        # distances from threshold at d, at a trial, and by how much they change along a step
        above, trial, change = distance[r, :m].copy(), np.zeros(m), np.zeros(m)
        if np.isnan(known_noise):
            sigma = _noise(voltage, origin)
        before[r], down[r], up[r] = np.inf, -np.inf, np.inf
        for w in widths:
            before[r] = min(before[r], _value(voltage, above, signs, z[r], sigma, w, origin))
        for w in widths[first[r] :]:
            value = np.inf
            for iteration in range(ITERATIONS + 1):
                if np.isnan(known_noise):
                    sigma = _noise(voltage, d)
                value = _expand(voltage, above, slopes, signs, z[r], sigma, w, d, gradient, bend)
                decrement = _newton(bend, gradient, move)
                if decrement < DECREMENT or iteration == ITERATIONS:
                    break
                for k in range(m):
                    change[k] = _along(0.0, slopes[k], move)
                size = 1.0
                for _ in range(HALVINGS):
                    for i in range(q):
                        there[i] = d[i] + size * move[i]
                    for k in range(m):
                        trial[k] = above[k] + size * change[k]
                    if _value(voltage, trial, signs, z[r], sigma, w, there) <= value - 1e-4 * size * decrement:
                        break
                    size /= 2
                else:  # rounding: no step is a better one
                    break
                d[:], above[:] = there, trial
            if value < best:
                best = value
                step[r], curvature[r], noise[r], width[r], after[r] = d, bend, sigma, w, value
        for k in range(m):
            at_step = _along(distance[r, k], slope[r, k], step[r])
            if sign[r, k] > 0:
                up[r] = min(up[r], at_step)
            else:
                down[r] = max(down[r], at_step)


@numba.njit(cache=True, nogil=True)
def _along(value: float, slope: FloatArray, d: FloatArray) -> float:
    for i in range(len(d)):
        value += slope[i] * d[i]
    return value


@numba.njit(cache=True, nogil=True)
def _squares(voltage: Voltage, d: FloatArray) -> float:
    """Squared residuals at d, mV^2."""
    squares, pull, stiffness, _ = voltage
    for i in range(len(pull)):
        squares += d[i] * (_along(0.0, stiffness[i], d) - 2 * pull[i])
    return max(squares, 0.0)


@numba.njit(cache=True, nogil=True)
def _noise(voltage: Voltage, d: FloatArray) -> float:
    return max(NOISE_FLOOR, math.sqrt(_squares(voltage, d) / max(voltage[3], 1.0)))


@numba.njit(cache=True, nogil=True)
def _value(
    voltage: Voltage, above: FloatArray, sign: FloatArray, z: FloatArray, sigma: float, w: float, d: FloatArray
) -> float:
    """G at d, where the crossings are `above` threshold."""
    total = _rest(voltage, z, sigma, w, d)
    for k in range(len(above)):
        x = sign[k] * above[k] / w
        if x < NOTHING:
            total += math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x)) - x
    return total


@numba.njit(cache=True, nogil=True)
def _rest(voltage: Voltage, z: FloatArray, sigma: float, w: float, d: FloatArray) -> float:
    """G at d but for the crossings."""
    total = _squares(voltage, d) / (2 * sigma**2) + voltage[3] * math.log(sigma)
    total += 0.5 * (math.log(w) / WIDTH_PRIOR) ** 2
    for i in range(len(z)):
        total += 0.5 * (z[i] + d[i]) ** 2
    return total


@numba.njit(cache=True, nogil=True)
def _expand(
    voltage: Voltage,
    above: FloatArray,
    slope: FloatArray,
    sign: FloatArray,
    z: FloatArray,
    sigma: float,
    w: float,
    d: FloatArray,
    gradient: FloatArray,
    bend: FloatArray,
) -> float:
    """G at d; its gradient and the lower triangle of its curvature are written into the last two."""
    _, pull, stiffness, _ = voltage
    q = len(d)
    for i in range(q):
        gradient[i] = (_along(0.0, stiffness[i], d) - pull[i]) / sigma**2 + z[i] + d[i]
        for j in range(i + 1):
            bend[i, j] = stiffness[i, j] / sigma**2
        bend[i, i] += 1.0
    total = _rest(voltage, z, sigma, w, d)
    for k in range(len(above)):
        x = sign[k] * above[k] / w
        if x >= NOTHING:
            continue
        e = math.exp(-abs(x))
        total += math.log1p(e) + max(-x, 0.0)
        p = e / (1 + e) if x > 0 else 1 / (1 + e)
        first, second = -sign[k] * p / w, p * (1 - p) / w**2
        for i in range(q):
            gradient[i] += first * slope[k, i]
            for j in range(i + 1):
                bend[i, j] += second * slope[k, i] * slope[k, j]
    return total


@numba.njit(cache=True, nogil=True)
def _newton(bend: FloatArray, gradient: FloatArray, move: FloatArray) -> float:
    """Solves for the Newton step by Cholesky and returns the decrement; mirrors the curvature's lower triangle."""
    q = len(gradient)
    factor = np.zeros((q, q))
    for i in range(q):
        for j in range(i + 1):
            total = bend[i, j]
            bend[j, i] = total
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i == j:  # nan by rounding: no step is then a better one
                factor[i, j] = math.sqrt(total) if total > 0 else math.nan
            else:
                factor[i, j] = total / factor[j, j]
    decrement = 0.0
    for i in range(q):
        total = -gradient[i]
        for k in range(i):
            total -= factor[i, k] * move[k]
        move[i] = total / factor[i, i]
        decrement += move[i] ** 2
    for i in range(q - 1, -1, -1):
        total = move[i]
        for k in range(i + 1, q):
            total -= factor[k, i] * move[k]
        move[i] = total / factor[i, i]
    return decrement
