"""Populations of finite size by the ages of their neurons; the equations are in :mod:`neuroinf.simulators.mesoscopic`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.glm_draws import normal, uniform
from neuroinf.simulators.microscopic_kernel import INITIAL_RATE, exponential

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

# a cohort smaller than this part of its population is taken to be gone
NONE_LEFT = 1e-15


@njit(nogil=True, cache=True, error_model="numpy")
def binomial(n: int, p: float, stream: Words) -> int:
    """Binomial number, by the gaps between successes: its expected cost grows with n min(p, 1 - p)."""
    if p > 0.5:
        return n - binomial_below_half(n, 1.0 - p, stream)
    return binomial_below_half(n, p, stream)


@njit(nogil=True, cache=True, error_model="numpy")
def binomial_below_half(n: int, p: float, stream: Words) -> int:
    """Binomial number for p up to 1/2."""
    if p <= 0.0:
        return 0
    x = -math.log1p(-p)
    found, i = 0, -1
    while True:
        gap = exponential(stream) / x
        if gap >= n - 1 - i:
            return found
        i += 1 + int(gap)
        found += 1


@njit(nogil=True, cache=True, error_model="numpy")
def population_row(
    a: Floats,
    weights: Floats,
    mu: Floats,
    theta: Floats,
    synapse: Floats,
    refractory: Integers,
    sizes: Integers,
    recorded: Integers,
    stimulus: Floats,
    lead: int,
    per_bin: int,
    step: float,
    ages: int,
    euler: bool,
    gaussian: bool,
    stream: Words,
    rates: Floats,
    expected: Floats,
    spike_steps: Integers,
    spike_units: Integers,
) -> int:
    r"""One circuit.

    Args:
        a, mu, theta: Of each population :math:`(M,)`; a in 1/s.
        weights: Source and target :math:`(M, M)`.
        synapse: Time constants :math:`(M,)`, s.
        refractory: Steps after a spike in which the voltage is held at 0 :math:`(M,)`.
        sizes: Neurons :math:`(M,)`.
        recorded: Neurons of each population drawn beside it :math:`(M,)`.
        stimulus: External input :math:`(M, T)`, held during each bin; 0 before.
        lead: Bins before the first that counts.
        per_bin: Steps in a bin.
        step: s.
        ages: Cohorts followed, in steps since their spike; older neurons have no known age.
        euler: Forward Euler for the membrane; else its exact decay.
        gaussian: Gaussian number of spikes cut off at 0; else binomial.
        stream: Of random numbers.
        rates, expected: Output :math:`(M, T)`: rate and its expectation given the past, Hz, means over each bin.
        spike_steps, spike_units: Output: step (from the first bin that counts) and neuron of each recorded spike.

    Returns:
        The number of recorded spikes.
    """
    populations, bins = rates.shape
    voltage, survival, mass = (
        np.zeros((populations, ages)),
        np.zeros((populations, ages)),
        np.zeros((populations, ages)),
    )
    leak, filtered = np.empty(populations), np.exp(-step / synapse)
    current, activity = np.empty(populations), np.empty(populations)
    units = np.zeros(populations + 1, np.int64)
    for m in range(populations):
        leak[m] = step * a[m] if euler else -math.expm1(-a[m] * step)
        current[m] = INITIAL_RATE * uniform(stream)
        activity[m] = current[m] * step
        units[m + 1] = units[m] + recorded[m]
    own, since = np.zeros(units[-1]), np.zeros(units[-1], np.int64)
    for m in range(populations):
        # stationary ages at the initial rate and its constant input
        drive = mu[m]
        for k in range(populations):
            drive += weights[k, m] * current[k] / a[m]
        log_survival = 0.0
        for age in range(ages):
            survival[m, age] = math.exp(log_survival)
            mass[m, age] = activity[m] * survival[m, age]
            if age >= refractory[m]:
                voltage[m, age] = -drive * math.expm1(-a[m] * step * (age + 1 - refractory[m]))
                log_survival -= step * math.exp(voltage[m, age] - theta[m])
        total = mass[m].sum()
        if total > 1.0:
            mass[m] /= total
        for q in range(units[m], units[m + 1]):
            since[q] = 1 + int(min(exponential(stream) / (max(current[m], 0.1) * step), ages - 1.0))
            own[q] = voltage[m, since[q] - 1]
    found = 0
    for t in range((lead + bins) * per_bin):
        b = t // per_bin - lead
        for m in range(populations):
            current[m] = filtered[m] * current[m] + (1.0 - filtered[m]) * activity[m] / step
        for m in range(populations):
            drive = stimulus[m, b] if b >= 0 else 0.0
            for k in range(populations):
                drive += weights[k, m] * current[k]
            # leak / a is a step for forward Euler, and the exact response to an input held for the step otherwise
            gain = leak[m] * (mu[m] + drive / a[m])
            keep = 1.0 - leak[m]
            spiking = weighed = spread = known = 0.0
            for age in range(ages - 1, -1, -1):
                if age:
                    before, left, part = voltage[m, age - 1], survival[m, age - 1], mass[m, age - 1]
                else:
                    before, left, part = 0.0, 1.0, activity[m]
                if part < NONE_LEFT:
                    voltage[m, age] = keep * before + gain if age >= refractory[m] else 0.0
                    survival[m, age] = left
                    mass[m, age] = 0.0
                    continue
                u, p = 0.0, 0.0
                if age >= refractory[m]:
                    u = keep * before + gain
                    p = -math.expm1(-step * math.exp(u - theta[m]))
                voltage[m, age] = u
                known += part
                spiking += part * p
                weighed += (1.0 - left) * part * p
                spread += (1.0 - left) * part
                # as they enter the next step: those that are left of them
                survival[m, age] = left * (1.0 - p)
                mass[m, age] = part * (1.0 - p)
            # what the cohorts do not add up to has the hazard of those whose number is least certain; without any, that of the free
            hazard = (
                weighed / spread if spread > 0.0 else -math.expm1(-step * math.exp(voltage[m, ages - 1] - theta[m]))
            )
            z = min(max(spiking + hazard * (1.0 - known), 0.0), 1.0)
            if gaussian:
                fraction = max(0.0, z + math.sqrt(z / sizes[m]) * normal(stream))
            else:
                fraction = binomial(sizes[m], z, stream) / sizes[m]
            activity[m] = fraction
            if b >= 0:
                rates[m, b] += fraction / (per_bin * step)
                expected[m, b] += z / (per_bin * step)
            for q in range(units[m], units[m + 1]):
                since[q] += 1
                if since[q] <= refractory[m]:
                    own[q] = 0.0
                    continue
                own[q] = keep * own[q] + gain
                if uniform(stream) < -math.expm1(-step * math.exp(own[q] - theta[m])):
                    own[q], since[q] = 0.0, 0
                    if b >= 0:
                        spike_steps[found], spike_units[found] = t - lead * per_bin, q
                        found += 1
    return found
