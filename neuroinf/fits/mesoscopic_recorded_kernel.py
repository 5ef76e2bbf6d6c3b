r"""Synaptic currents, free voltages and the recorded neurons of the mesoscopic likelihood, and their adjoints, compiled.

A recorded neuron has the voltage :math:`V(t) = G(t) - x(t)` of its cohort (`mesoscopic_cohorts_kernel`), with its own spikes
in the place of the cohort's.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
LARGEST = 500.0  # log of hazard x dt, beyond which it is no number


@njit(nogil=True, cache=True)
def free_voltages(
    z: FloatArray,
    rates: FloatArray,
    keep: FloatArray,
    weights: FloatArray,
    external: FloatArray,
    decay: FloatArray,
    drive: FloatArray,
    gain: FloatArray,
    dt: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Currents I and inputs h, and the voltage of a neuron that never fires, :math:`G(t) = d G(t - 1) + p + q h(t)`.

    Args:
        z: Fraction that fires in each bin, :math:`(M, T)`.
        rates: Of the populations before the first bin, Hz; also I in the first bin.
        keep: Factor by which a current shrinks in a bin.
        weights: Of source and target.
        external: Input that is added to h, :math:`(M, T)`.
        decay, drive, gain: d, p and q, :math:`(M,)`.
        dt: Bin, s.

    Returns:
        I, h and G, each :math:`(M, T)`; G is 0 before the first bin.
    """
    populations, steps = z.shape
    current, inputs, free = np.empty((populations, steps)), external.copy(), np.empty((populations, steps))
    for m in range(populations):
        current[m, 0] = rates[m]
        for k in range(1, steps):
            current[m, k] = keep[m] * current[m, k - 1] + (1.0 - keep[m]) * z[m, k - 1] / dt
    for source in range(populations):
        for m in range(populations):
            if weights[source, m] != 0.0:
                for k in range(steps):
                    inputs[m, k] += weights[source, m] * current[source, k]
    for m in range(populations):
        before = 0.0
        for k in range(steps):
            before = decay[m] * before + drive[m] + gain[m] * inputs[m, k]
            free[m, k] = before
    return current, inputs, free


@njit(nogil=True, cache=True)
def free_voltages_back(
    free_bar: FloatArray,
    current: FloatArray,
    inputs: FloatArray,
    free: FloatArray,
    keep: FloatArray,
    weights: FloatArray,
    decay: FloatArray,
    gain: FloatArray,
    dt: float,
    decay_bar: FloatArray,
    drive_bar: FloatArray,
    gain_bar: FloatArray,
    weights_bar: FloatArray,
    rates_bar: FloatArray,
    z_bar: FloatArray,
) -> None:
    """Adjoint of `free_voltages`: all but `free_bar`, which is overwritten by that of h, are added to."""
    populations, steps = free.shape
    for m in range(populations):
        later = 0.0
        for k in range(steps - 1, -1, -1):
            later = free_bar[m, k] + decay[m] * later
            decay_bar[m] += later * (free[m, k - 1] if k > 0 else 0.0)
            drive_bar[m] += later
            gain_bar[m] += later * inputs[m, k]
            free_bar[m, k] = later * gain[m]
    for source in range(populations):
        for m in range(populations):
            total = 0.0
            for k in range(steps):
                total += free_bar[m, k] * current[source, k]
            weights_bar[source, m] += total
        later = 0.0
        for k in range(steps - 1, -1, -1):
            later *= keep[source]
            for m in range(populations):
                later += weights[source, m] * free_bar[m, k]
            if k > 0:
                z_bar[source, k - 1] += later * (1.0 - keep[source]) / dt
        rates_bar[source] += later


@njit(nogil=True, cache=True)
def recorded_terms(
    fired: NDArray[np.bool_],
    ages: IntArray,
    free: FloatArray,
    decay: float,
    threshold: float,
    voltage: FloatArray,
    dt: float,
    refractory: int,
    silent_load: float,
    small: float,
    wanted: bool,
    free_bar: FloatArray,
    voltage_bar: FloatArray,
) -> tuple[float, float, float]:
    r"""Sum over bins and recorded neurons of one population of -log p(y | past), with the derivatives of that sum.

    Args:
        fired: y, :math:`(Q, T)`.
        ages: Bins since the last spike at the first bin, :math:`(Q,)`.
        free: G, :math:`(T,)`.
        decay: d.
        threshold: theta.
        voltage: By age in bins before the first one, :math:`(A,)`.
        dt: Bin, s.
        refractory: Bins after a spike in which the voltage is held at 0.
        silent_load: Hazard x dt of no spike in them; negative: that of the voltage 0.
        small: Below this hazard x dt, that is taken for the probability to fire.
        wanted: Whether derivatives are; without them the following are not touched.
        free_bar: By G, :math:`(T,)`, added to.
        voltage_bar: :math:`(A,)`, added to.

    Returns:
        The sum in nats, and its derivatives by d and by theta.
    """
    steps = free.size
    loss, decay_bar, threshold_bar = 0.0, 0.0, 0.0
    before, by_log, held = np.empty(steps), np.empty(steps), np.empty(steps, np.int64)
    for neuron in range(fired.shape[0]):
        age, x = ages[neuron], -voltage[ages[neuron]]
        for k in range(steps):
            before[k], held[k] = x, 0
            if age < refractory:
                held[k] = 2 if age == refractory - 1 else 1
                log_load = math.log(dt) - threshold
                if held[k] == 2:
                    x = free[k]
            else:
                x *= decay
                log_load = min(free[k] - x - threshold + math.log(dt), LARGEST)
            load = math.exp(log_load)
            silent = held[k] > 0 and silent_load >= 0.0
            if not fired[neuron, k]:
                loss += silent_load if silent else load
                by_log[k] = 0.0 if silent else load
            elif load < small or silent:
                loss -= log_load
                by_log[k] = -1.0
            else:
                stay = math.exp(-load)
                loss -= math.log(-math.expm1(-load))
                by_log[k] = load * stay / math.expm1(-load)
            age = 0 if fired[neuron, k] else age + 1
            if refractory == 0 and fired[neuron, k]:
                x = free[k]
        if not wanted:
            continue
        x_bar = 0.0
        for k in range(steps - 1, -1, -1):
            threshold_bar -= by_log[k]
            if held[k] == 2 or (refractory == 0 and fired[neuron, k]):
                free_bar[k] += x_bar
                x_bar = 0.0
            if held[k] == 0:
                free_bar[k] += by_log[k]
                x_bar -= by_log[k]
                decay_bar += x_bar * before[k]
                x_bar *= decay
        if ages[neuron] >= refractory:
            voltage_bar[ages[neuron]] -= x_bar
    return loss, decay_bar, threshold_bar
