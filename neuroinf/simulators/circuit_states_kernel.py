"""Rates of populations relaxed to a stationary state, one circuit after another; see :mod:`neuroinf.simulators.circuit_states`."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def relax(
    a: FloatArray,
    weights: FloatArray,
    mu: FloatArray,
    threshold: FloatArray,
    refractory: FloatArray,
    table: FloatArray,
    drives: tuple[float, float],
    kappas: tuple[float, float],
    part: float,
    patience: int,
    tolerance: float,
    rates: FloatArray,
) -> None:
    """Relax `rates` (n, M), Hz, in place until no step changes any by more than the tolerance, or for so many steps.

    Args:
        a, mu, threshold: (n, M), the first 1/s.
        weights: (n, M, M), of source and target.
        refractory: (M,), s.
        table: ln K on a grid.
        drives: Lowest drive of the grid and its step.
        kappas: The same of kappa.
        part: Of the way to the equation's right side in each step.
        patience: Number of steps.
        tolerance: Hz.
        rates: Where the relaxation starts, and ends.
    """
    n, populations = a.shape
    new, column, share = np.empty(populations), np.empty(populations, np.int64), np.empty(populations)
    for row in range(n):
        for m in range(populations):
            at = (threshold[row, m] + np.log(a[row, m]) - kappas[0]) / kappas[1]
            at = min(max(at, 0.0), table.shape[1] - 1.000001)
            column[m] = int(at)
            share[m] = at - column[m]
        for _ in range(patience):
            largest = 0.0
            for m in range(populations):
                drive = mu[row, m]
                for k in range(populations):
                    drive += rates[row, k] * weights[row, k, m] / a[row, m]
                at = min(max((drive - drives[0]) / drives[1], 0.0), table.shape[0] - 1.000001)
                i, j, t = int(at), column[m], share[m]
                s = at - i
                log_k = (1 - s) * ((1 - t) * table[i, j] + t * table[i, j + 1])
                log_k += s * ((1 - t) * table[i + 1, j] + t * table[i + 1, j + 1])
                step = part * (1 / (refractory[m] + np.exp(min(log_k, 300.0)) / a[row, m]) - rates[row, m])
                new[m] = rates[row, m] + step
                largest = max(largest, abs(step))
            rates[row] = new
            if largest < tolerance:
                break
