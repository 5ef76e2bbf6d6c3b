"""The GLIF time loop; the equations are in :mod:`neuroinf.simulators.glif`.

Parts that a level does not have and channels that are not recorded are passed as None. The compiler makes one version
for each combination and drops the branches of what is None, so that an unused part costs nothing. No fused
multiply-adds or other liberties are allowed to it: a row's result is the same in every version, in every batch, and on
every machine with the same ``exp``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = NDArray[Any]  # of the precision chosen for the outputs
Integers = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _row(
    i: int,
    current: Samples,
    dt: float,
    membrane: Floats,
    after_spike: Floats | None,
    reset: Floats | None,
    adaptation: Floats | None,
    cut: int,
    offset: float,
    initial: Floats,
    voltage: Samples | None,
    threshold: Samples | None,
    asc_1: Samples | None,
    asc_2: Samples | None,
    spikes: Integers,
    interpolated: Floats | None,
) -> tuple[int, bool]:
    """Simulate row i into row i of the outputs; returns the number of spikes and whether a reset stopped it."""
    steps = current.shape[0]
    C, R, El, th0 = membrane[i, 0], membrane[i, 1], membrane[i, 2], membrane[i, 3]
    g = 1.0 / (R * C)
    keep, gain, drift = 1.0 - g * dt, dt / C, g * El * dt
    decay_1 = decay_2 = cut_1 = cut_2 = decay_s = cut_s = decay_u = from_v = from_i = from_0 = 0.0
    if after_spike is not None:
        tau_1, tau_2 = after_spike[i, 2], after_spike[i, 3]
        decay_1, decay_2 = math.exp(-dt / tau_1), math.exp(-dt / tau_2)
        cut_1, cut_2 = math.exp(-dt * cut / tau_1), math.exp(-dt * cut / tau_2)
    if reset is not None:
        decay_s, cut_s = math.exp(-reset[i, 3] * dt), math.exp(-reset[i, 3] * dt * cut)
    if adaptation is not None:
        # The exact step of the voltage-driven part is linear in (u, v, J); written with expm1 it has no pole where
        # b_voltage equals 1/(R C) or 0.
        a_voltage, b_voltage = adaptation[i, 0], adaptation[i, 1]
        decay_u = math.exp(-b_voltage * dt)
        rate = b_voltage - g
        overlap = dt if rate == 0.0 else -math.expm1(-rate * dt) / rate
        hold = dt if b_voltage == 0.0 else -math.expm1(-b_voltage * dt) / b_voltage
        from_v = a_voltage * math.exp(-g * dt) * overlap
        from_i = (a_voltage * hold - from_v) * R
        from_0 = -from_v * El

    v, th, a_1, a_2 = initial[i, 0], initial[i, 1], initial[i, 2], initial[i, 3]
    s = u = 0.0
    th1 = th0
    count = 0
    t = 0
    while t < steps:
        spiked = False
        v1 = v
        for t in range(t, steps):  # noqa: B020 - goes on from where the last spike left off
            total = current[t]
            if after_spike is not None:
                total += a_1 + a_2
                a_1 *= decay_1
                a_2 *= decay_2
            v1 = keep * v + (gain * total + drift)
            if adaptation is not None:
                u = decay_u * u + (from_v * v + (from_i * total + from_0))
            if reset is not None:
                s *= decay_s
                th1 = u + s + th0
            if v1 > th1:
                spiked = True
                break
            if voltage is not None:
                voltage[i, t] = v1 + offset
            if threshold is not None:
                threshold[i, t] = th1 + offset
            if asc_1 is not None:
                asc_1[i, t] = a_1
            if asc_2 is not None:
                asc_2[i, t] = a_2
            v = v1
            if interpolated is not None:
                th = th1
        if not spiked:
            return count, False

        spikes[count] = t
        if interpolated is not None:
            interpolated[count] = t * dt + dt * (th - v) / ((v1 - v) - (th1 - th))
        count += 1
        if after_spike is not None:
            a_1 = after_spike[i, 0] + a_1 * cut_1
            a_2 = after_spike[i, 1] + a_2 * cut_2
        v, th = 0.0, th0
        if reset is not None:
            v = reset[i, 0] * v1 + reset[i, 1]
            s = s * cut_s + reset[i, 2]
            th = s + u + th0
        bad = v > th

        # nan up to the end of the cut, then the reset state: once, or if it is above threshold six times and nan after.
        end = min(t + cut, steps)
        stop = min(end + (6 if bad else 1), steps)
        for k in range(t, steps if bad else stop):
            shown = end <= k < stop
            if voltage is not None:
                voltage[i, k] = v + offset if shown else np.nan
            if threshold is not None:
                threshold[i, k] = th + offset if shown else np.nan
            if asc_1 is not None:
                asc_1[i, k] = a_1 if shown else np.nan
            if asc_2 is not None:
                asc_2[i, k] = a_2 if shown else np.nan
        if bad:
            return count, True
        t += cut + 1
    return count, False


@njit(nogil=True, cache=True)
def glif_rows(
    first: int,
    last: int,
    current: Samples,
    dt: float,
    membrane: Floats,
    after_spike: Floats | None,
    reset: Floats | None,
    adaptation: Floats | None,
    cuts: Integers,
    offset: Floats,
    initial: Floats,
    voltage: Samples | None,
    threshold: Samples | None,
    asc_1: Samples | None,
    asc_2: Samples | None,
    interpolate: bool | None,
    counts: Integers,
    terminated: NDArray[np.bool_],
) -> tuple[Integers, Floats]:
    """Simulate rows first to last.

    Args:
        first, last: The range of rows, last excluded and at least one of them.
        current: :math:`(n, T)` or :math:`(1, T)`, pA.
        dt: Step, ms.
        membrane: C, R_input, El, th_inf :math:`(n, 4)`.
        after_spike: asc_amp_1, asc_amp_2, asc_tau_1, asc_tau_2 :math:`(n, 4)`.
        reset: reset_a, reset_b, a_spike, b_spike :math:`(n, 4)`.
        adaptation: a_voltage, b_voltage :math:`(n, 2)`.
        cuts: Steps of the spike cut :math:`(n,)`.
        offset: Added to the recorded voltage and threshold :math:`(n,)`, mV.
        initial: v, threshold, a_1, a_2 at the start :math:`(n, 4)`.
        voltage, threshold, asc_1, asc_2: Outputs :math:`(n, T)`.
        interpolate: True for interpolated spike times, else None.
        counts, terminated: Outputs :math:`(n,)`: spikes of each row, and whether a reset stopped it.

    Returns:
        The rows' spike steps and interpolated spike times (ms; empty if not asked for), one row after the other.
    """
    most = current.shape[1] // (cuts[first:last].min() + 1) + 1
    spikes = np.empty(most, np.int64)
    all_spikes = np.empty(16 * (last - first), np.int64)
    all_times = np.empty(0)
    times = None
    if interpolate is not None:
        times = np.empty(most)
        all_times = np.empty(all_spikes.size)
    total = 0
    for i in range(first, last):
        counts[i], terminated[i] = _row(
            i,
            current[i if current.shape[0] > 1 else 0],
            dt,
            membrane,
            after_spike,
            reset,
            adaptation,
            cuts[i],
            offset[i],
            initial,
            voltage,
            threshold,
            asc_1,
            asc_2,
            spikes,
            times,
        )
        upto = total + counts[i]
        if upto > all_spikes.size:
            all_spikes = _enlarged(all_spikes, total, 2 * upto)
            if interpolate is not None:
                all_times = _enlarged(all_times, total, 2 * upto)
        all_spikes[total:upto] = spikes[: counts[i]]
        if times is not None:
            all_times[total:upto] = times[: counts[i]]
        total = upto
    return all_spikes[:total].copy(), all_times[:total].copy()


@njit(nogil=True, cache=True)
def _enlarged(values: NDArray[Any], used: int, size: int) -> NDArray[Any]:
    larger = np.empty(size, values.dtype)
    larger[:used] = values[:used]
    return larger
