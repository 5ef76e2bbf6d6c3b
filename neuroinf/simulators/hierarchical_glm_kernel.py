r"""The time loops of hierarchical neurons; the equations are in :mod:`neuroinf.simulators.hierarchical_glm`.

The alpha kernel sampled at steps of dt is the response of two states. With :math:`r = e^{-dt/\tau}` and a synapse whose
delay ends o ms before a step,

.. math::
    q_t &= r\, (q_{t-1} + p_{t-1}), \qquad p_t = r\, p_{t-1} + s_t \\
    (k_\tau * s)_t &= e^{-o/\tau} \left( \tfrac{o}{\tau} p_t + \tfrac{dt}{\tau} q_t \right)

exactly, without an end of the kernel; a third state gives its derivative by :math:`\log\tau`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = NDArray[Any]
Integers = NDArray[np.int64]

SLOW_OFFSET, SLOW_FACTOR = 10.4, 2.8  # ms and 1: the slow time constant of a double synapse
TINY = 1e-250  # a state below is set to 0 before it becomes subnormal: those are a hundred times slower


@njit(nogil=True, cache=True)
def alpha_filter(x: Samples, tau: float, late: int, offset: float, dt: float, weight: float, total: Floats) -> None:
    """Adds the filtered input x :math:`(T,)`, `late` steps later, times the weight to `total`."""
    r = math.exp(-dt / tau)
    scale = weight * math.exp(-offset / tau) * dt / tau
    from_p = scale * offset / dt
    p = q = 0.0
    for t in range(x.shape[0] - late):
        q = r * (q + p)
        p = r * p + x[t]
        if -TINY < p < TINY:
            p = 0.0
        if -TINY < q < TINY:
            q = 0.0
        total[t + late] += from_p * p + scale * q


@njit(nogil=True, cache=True)
def alpha_filters(
    x: Samples, tau: Floats, late: Integers, offset: Floats, dt: float, filtered: Floats, slope: Floats | None
) -> None:
    r"""Filters each of R inputs, and optionally its derivative by :math:`\log\tau`.

    .. math:: \frac{\partial}{\partial \log\tau} k_\tau(t) = (z^2 - z) e^{-z}, \qquad z = t / \tau

    Args:
        x: :math:`(R, T)`.
        tau: ms :math:`(R,)`.
        late, offset: Steps until the delay is over, and by how much it then is, ms :math:`(R,)`.
        dt: Step, ms.
        filtered, slope: Outputs :math:`(R, T)`.
    """
    for row in range(x.shape[0]):
        a, o = dt / tau[row], offset[row] / dt
        r, scale, d = math.exp(-a), math.exp(-o * a) * a, late[row]
        p = q = s = 0.0
        filtered[row, :d] = 0.0
        if slope is not None:
            slope[row, :d] = 0.0
        for t in range(x.shape[1] - d):
            if slope is not None:
                s = r * (s + 2.0 * q + p)
            q = r * (q + p)
            p = r * p + x[row, t]
            if -TINY < p < TINY:
                p = 0.0
            if -TINY < q < TINY:
                q = 0.0
            value = scale * (o * p + q)
            filtered[row, t + d] = value
            if slope is not None:
                if -TINY < s < TINY:
                    s = 0.0
                slope[row, t + d] = scale * a * (o * o * p + 2.0 * o * q + s) - value


@njit(nogil=True, cache=True)
def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


@njit(nogil=True, cache=True)
def hierarchical_rows(
    inputs: Samples,
    dt: float,
    first_input: Integers,
    attached: Integers,
    subunit: Integers,
    weight: Floats,
    tau: Floats,
    late: Integers,
    offset: Floats,
    parents: Integers,
    gain: Floats,
    theta: Floats,
    linear_soma: bool,
    v0: Floats,
    after_spike: Floats | None,
    threshold: Floats | None,
    soft: Floats | None,
    uniform: Floats | None,
    voltage: Samples,
    spiked: NDArray[np.bool_] | None,
) -> None:
    """Simulate n rows.

    Args:
        inputs: :math:`(n, N, T)` or :math:`(1, N, T)`.
        dt: Step, ms.
        first_input, attached: The inputs of filter f are attached[first_input[f]:first_input[f + 1]].
        subunit: Where each filter acts :math:`(F,)`.
        weight, tau: Of each filter :math:`(n, F)`.
        late, offset: See :func:`alpha_filters`, by subunit :math:`(M,)`.
        parents: Index of each subunit's parent :math:`(M,)`; below that of the child.
        gain, theta: J and threshold :math:`(n, M)`; without effect for a linear soma's own.
        linear_soma: Whether the root has no nonlinearity.
        v0: mV :math:`(n,)`.
        after_spike, threshold: What a spike adds to the root's drive and to the threshold at 1 to L steps later
            :math:`(n, L)`.
        soft: beta (1/mV) and v_th (mV) :math:`(n, 2)`.
        uniform: :math:`(n, T)` random numbers; a spike where they lie below its probability.
        voltage, spiked: Outputs :math:`(n, T)`.
    """
    steps, units = inputs.shape[2], parents.shape[0]
    drive = np.empty((units, steps))
    summed = np.empty(steps)
    for i in range(voltage.shape[0]):
        x = inputs[i if inputs.shape[0] > 1 else 0]
        drive[:] = 0.0
        for f in range(subunit.shape[0]):
            m, begin, end = int(subunit[f]), int(first_input[f]), int(first_input[f + 1])
            if end - begin == 1:
                alpha_filter(x[attached[begin]], tau[i, f], late[m], offset[m], dt, weight[i, f], drive[m])
            else:
                summed[:] = 0.0
                for k in range(begin, end):
                    row = attached[k]
                    for t in range(steps):
                        summed[t] += x[row, t]
                alpha_filter(summed, tau[i, f], late[m], offset[m], dt, weight[i, f], drive[m])
        for m in range(units - 1, 0, -1):
            above, J, shift = parents[m], gain[i, m], theta[i, m]
            for t in range(steps):
                drive[above, t] += J * _logistic(drive[m, t] - shift)
        J, shift, rest = gain[i, 0], theta[i, 0], v0[i]
        if soft is None or after_spike is None or threshold is None or uniform is None or spiked is None:
            for t in range(steps):
                voltage[i, t] = rest + (drive[0, t] if linear_soma else J * _logistic(drive[0, t] - shift))
            continue
        beta, level = soft[i, 0], soft[i, 1]
        raised = np.zeros(steps)
        for t in range(steps):
            v = rest + (drive[0, t] if linear_soma else J * _logistic(drive[0, t] - shift))
            voltage[i, t] = v
            hazard = math.exp(beta * (v - level - raised[t]))
            spiked[i, t] = uniform[i, t] < -math.expm1(-hazard * dt / 1000.0)
            if spiked[i, t]:
                for k in range(min(after_spike.shape[1], steps - t - 1)):
                    drive[0, t + 1 + k] += after_spike[i, k]
                    raised[t + 1 + k] += threshold[i, k]
