r"""Inputs filtered and summed, for the GLM's kernel.

The order of filtering and summing may be exchanged,

.. math:: \sum_i \Big( \sum_j w_{ij} B_j \Big) * x_i = \sum_j B_j * \Big( \sum_i w_{ij} x_i \Big),

and the side with fewer multiplications is taken: on the left I filters as long as the basis, on the right J filters of
which each is as long as its own function. Raised cosines on a logarithmic axis overlap little: for 9 inputs and 5
functions up to 170 bins the right side has a fifth of the left one's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = NDArray[Any]  # of the precision chosen for the stimulus

# A long filter is spread out from each bin that is not 0 where those are fewer than one in SPARSE; else it is gathered
# for each bin, which skips none but is faster for each: 4.6 times with 9 lags, 3.9 with 30, 1.6 with 200.
SPARSE, LONG = 4, 9


@njit(nogil=True, cache=True)
def combine(weights: Floats, basis: Floats, kernel: Floats) -> None:
    """The filter (L,) that the weights (J,) make of the basis (J, L)."""
    kernel[:] = 0.0
    for j in range(weights.size):
        for lag in range(kernel.size):
            kernel[lag] += weights[j] * basis[j, lag]


@njit(nogil=True, cache=True)
def weigh(eta: Floats, x: Samples, weights: Floats) -> None:
    """Add the inputs x (I, T), each times its weight, to eta: four at a time, so that eta is loaded less often."""
    i = 0
    while i + 4 <= weights.size:
        x_0, x_1, x_2, x_3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        w_0, w_1, w_2, w_3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for t in range(eta.size):
            eta[t] = (((eta[t] + w_0 * x_0[t]) + w_1 * x_1[t]) + w_2 * x_2[t]) + w_3 * x_3[t]
        i += 4
    while i < weights.size:
        x_0, w_0 = x[i], weights[i]
        for t in range(eta.size):
            eta[t] += w_0 * x_0[t]
        i += 1


@njit(nogil=True, cache=True)
def spread(eta: Floats, first: int, x: float, kernel: Floats) -> None:
    """Add x times the kernel to the bins from `first` on."""
    out = eta[first : first + kernel.size]
    for lag in range(out.size):
        out[lag] += x * kernel[lag]


@njit(nogil=True, cache=True)
def _filter(eta: Floats, x: Samples, kernel: Floats, delay: int) -> None:
    """Add the input x, filtered, to eta: kernel[l] times bin t - delay - l to bin t."""
    steps, lags = eta.size - delay, kernel.size
    if lags * steps <= 0:
        return
    some = 0
    if lags >= LONG:
        for t in range(steps):
            some += x[t] != 0.0
    if lags >= LONG and some * SPARSE < steps:
        for t in range(steps):
            if x[t] != 0.0:
                spread(eta, t + delay, float(x[t]), kernel)
        return
    lag = min(lags, steps) - 1
    while lag >= 3:  # four lags at a time, each from the first bin that all of them reach
        k_3, k_2, k_1, k_0 = kernel[lag], kernel[lag - 1], kernel[lag - 2], kernel[lag - 3]
        for t in range(lag - 3, lag):
            for back in range(t, lag - 4, -1):
                eta[t + delay] += kernel[back] * x[t - back]
        out, in_3, in_2 = eta[lag + delay :], x[: steps - lag], x[1 : steps - lag + 1]
        in_1, in_0 = x[2 : steps - lag + 2], x[3 : steps - lag + 3]
        for t in range(out.size):
            out[t] = (((out[t] + k_3 * in_3[t]) + k_2 * in_2[t]) + k_1 * in_1[t]) + k_0 * in_0[t]
        lag -= 4
    while lag >= 0:
        out, k_0 = eta[lag + delay :], kernel[lag]
        for t in range(out.size):
            out[t] += k_0 * x[t]
        lag -= 1


@njit(nogil=True, cache=True)
def extent(basis: Floats, lags: NDArray[np.int64]) -> int:
    """Write each function's first lag that is not 0, and the one after its last, to lags (J, 2); return their number."""
    total = 0
    for j in range(len(basis)):
        first, last = 0, basis.shape[1]
        while last > 0 and basis[j, last - 1] == 0.0:
            last -= 1
        while first < last and basis[j, first] == 0.0:
            first += 1
        lags[j, 0], lags[j, 1] = first, last
        total += last - first
    return total


@njit(nogil=True, cache=True)
def add_filtered(
    eta: Floats, x: Samples, weights: Floats, basis: Floats, lags: NDArray[np.int64], delay: int, room: Floats
) -> None:
    r"""Add :math:`\sum_i \sum_j w_{ij} (B_j * x_i)_{t - delay}` to eta.

    Args:
        eta: The drive (T,).
        x: Inputs (I, T).
        weights: (I, J).
        basis: (J, L).
        lags: Its :func:`extent` (J, 2).
        delay: Bins, not negative.
        room: (T,) or more, and (L,) or more; overwritten.
    """
    inputs, functions = weights.shape
    if inputs * basis.shape[1] <= inputs * functions + (lags[:, 1] - lags[:, 0]).sum():
        kernel = room[: basis.shape[1]]
        for i in range(inputs):
            combine(weights[i], basis, kernel)
            _filter(eta, x[i], kernel, delay)
        return
    together = room[: eta.size]
    for j in range(functions):
        together[:] = 0.0
        weigh(together, x, np.ascontiguousarray(weights[:, j]))
        _filter(eta, together, basis[j, lags[j, 0] : lags[j, 1]], delay + lags[j, 0])
