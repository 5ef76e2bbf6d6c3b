r"""Smoothing of a linear Gaussian state space whose observations come as evidence, so that any entry may be missing.

.. math::
    z_1 \sim N(0, P), \qquad z_{t+1} = A z_t + w_t, \quad w_t \sim N(0, Q), \qquad
    p(x_t | z_t) \propto \exp\bigl(h_t \cdot z_t - \tfrac{1}{2} z_t^T J_t z_t\bigr)

with :math:`h_t = C_o^T r_o^{-1} (x_o - b_o)` and :math:`J_t = C_o^T r_o^{-1} C_o` of the entries o observed in bin t.
Only D x D matrices are inverted, however many neurons there are. Covariances do not depend on the activity: sequences whose
masks are equal share them.

Source:
    Rauch, Tung and Striebel (1965), AIAA J 3:1445.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Covariances:
    """Of one pattern of evidence over T bins.

    Attributes:
        filtered: Of z_t given the evidence up to t (T, D, D).
        smoothed: Of z_t given all (T, D, D).
        gains: The smoother's :math:`G_t = V_t A^T P_{t+1}^{-1}` (T - 1, D, D).
        log_determinant: :math:`\\sum_t \\log |I + P_t J_t|` of predicted covariances P.
    """

    filtered: FloatArray
    smoothed: FloatArray
    gains: FloatArray
    log_determinant: float


def covariances(a: FloatArray, q: FloatArray, initial: FloatArray, precision: FloatArray, steps: int) -> Covariances:
    """All covariances of T = `steps` bins with evidence of precision J (T, D, D), or (1, D, D) if it is the same in every bin."""
    filtered, smoothed, gains, logdet = _covariances(a, q, initial, np.ascontiguousarray(precision), steps)
    return Covariances(filtered, smoothed, gains, float(logdet))


def means(a: FloatArray, found: Covariances, evidence: FloatArray, precision: FloatArray) -> tuple[FloatArray, float]:
    r"""Smoothed means (S, T, D) of S sequences with evidence h (S, T, D), and what their likelihood needs of them.

    Returns:
        The means, and :math:`\sum (h - J \bar z / 2) \cdot \bar z + \tfrac{1}{2} (h - J \bar z)^T V (h - J \bar z)` over bins, with
        :math:`\bar z` predicted and V filtered: the part of the log likelihood that depends on h.
    """
    shape = evidence.shape
    predicted = np.zeros((shape[0], shape[2]))
    filtered = np.empty(shape)
    quadratic = 0.0
    for t in range(shape[1]):
        j = precision[t] if len(precision) > 1 else precision[0]
        pulled = predicted @ j
        innovation = evidence[:, t] - pulled
        step = innovation @ found.filtered[t]
        quadratic += float(((evidence[:, t] - 0.5 * pulled) * predicted).sum() + 0.5 * (step * innovation).sum())
        filtered[:, t] = predicted + step
        predicted = filtered[:, t] @ a.T
    for t in range(shape[1] - 2, -1, -1):
        filtered[:, t] += (filtered[:, t + 1] - filtered[:, t] @ a.T) @ found.gains[t].T
    return filtered, quadratic


@njit(nogil=True, cache=True)
def _covariances(
    a: FloatArray, q: FloatArray, initial: FloatArray, precision: FloatArray, steps: int
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    size = len(a)
    filtered = np.empty((steps, size, size))
    smoothed = np.empty((steps, size, size))
    gains = np.empty((max(steps - 1, 0), size, size))
    predicted = initial.copy()
    logdet, last = 0.0, 0.0
    constant = len(precision) == 1
    settled = False
    unit = np.eye(size)
    for t in range(steps):
        j = precision[0] if constant else precision[t]
        if settled:
            filtered[t] = filtered[t - 1]
            logdet += last
        else:
            system = unit + predicted @ j
            v = np.linalg.solve(system, predicted)
            filtered[t] = (v + v.T) / 2
            last = np.linalg.slogdet(system)[1]
            logdet += last
        if t + 1 == steps:
            break
        if settled:
            gains[t] = gains[t - 1]
        else:
            ahead = a @ filtered[t] @ a.T + q
            ahead = (ahead + ahead.T) / 2
            gains[t] = np.linalg.solve(ahead, a @ filtered[t]).T
            # with the same evidence in every bin the recursion reaches a fixed point, to rounding
            settled = constant and t > 0 and np.abs(ahead - predicted).max() <= 1e-12 * np.abs(ahead).max()
            predicted = ahead
    smoothed[steps - 1] = filtered[steps - 1]
    for t in range(steps - 2, -1, -1):
        ahead = a @ filtered[t] @ a.T + q
        s = filtered[t] + gains[t] @ (smoothed[t + 1] - ahead) @ gains[t].T
        smoothed[t] = (s + s.T) / 2
    return filtered, smoothed, gains, logdet
