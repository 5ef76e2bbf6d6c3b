r"""Every neuron of a circuit, step by step, exact in law, with most neurons of most steps passed over.

All neurons of a population have the same input, and are reset to 0. With G the voltage of a neuron that never spikes,

.. math:: u_i(t) = G(t) - e^{-a (t - r_i)} G(r_i)

for one whose refractory time ended at step r_i: a neuron's state is one integer, and nothing has to be done for neurons that do
not spike. With B(t) an upper bound of :math:`-e^{-a (t - r_i)} G(r_i)` over the population, the probability

.. math:: p_i = 1 - e^{-\lambda_i dt} \le p = 1 - e^{-x}, \qquad x = dt\, e^{G + B - \vartheta}

so that candidates are found with probability p each and accepted with :math:`p_i / p` (thinning). As every (step, neuron) is no
candidate with probability :math:`e^{-x}`, one exponential variable lasts until its sum of x is used up, over neurons and steps.

Source:
    Lewis and Shedler 1979, Naval Research Logistics Quarterly 26:403 (thinning).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.simulators.glm_draws import uniform

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

# a reset older than this many time constants leaves nothing: exp(-40) is below the rounding of a double
FORGOTTEN = 40.0
# steps between exact bounds; and the x from which asking every neuron is faster than drawing candidates: any give the same law
REFRESH, DENSE = 16, 0.2
# initial rates of the populations are uniform up to this, Hz
INITIAL_RATE = 30.0


@njit(nogil=True, cache=True)
def exponential(stream: Words) -> float:
    """Standard exponential variable."""
    return -math.log(1.0 - uniform(stream))


@njit(nogil=True, cache=True, error_model="numpy")
def _spikes(v: float, log_x: float) -> bool:
    """Whether v < 1 - exp(-x), with the second exponential only where simple bounds do not decide."""
    x = math.exp(log_x)
    if v >= x:
        return False
    return v < x - 0.5 * x * x or v < -math.expm1(-x)


@njit(nogil=True, cache=True, error_model="numpy")
def network_row(
    a: Floats,
    weights: Floats,
    mu: Floats,
    theta: Floats,
    synapse: Floats,
    refractory: Integers,
    sizes: Integers,
    recorded: Integers,
    stimulus: NDArray[np.float64],
    lead: int,
    per_bin: int,
    step: float,
    stream: Words,
    counts: Integers,
    spike_steps: Integers,
    spike_units: Integers,
) -> int:
    r"""One network.

    Args:
        a, mu, theta: Of each population :math:`(M,)`; a in 1/s.
        weights: Source and target :math:`(M, M)`.
        synapse: Time constants :math:`(M,)`, s.
        refractory: Steps after a spike in which the voltage is held at 0 :math:`(M,)`.
        sizes: Neurons :math:`(M,)`.
        recorded: The first so many neurons of each population are recorded :math:`(M,)`.
        stimulus: External input :math:`(M, T)`, held during each bin; 0 before.
        lead: Bins before the first that counts.
        per_bin: Steps in a bin.
        step: s.
        stream: Of random numbers.
        counts: Output :math:`(M, T)`: spikes of the population in each bin.
        spike_steps, spike_units: Output: step (from the first bin that counts) and neuron of each recorded spike.

    Returns:
        The number of recorded spikes.
    """
    populations, bins = counts.shape
    largest = 0
    for m in range(populations):
        largest = max(largest, sizes[m])
    length = min(int(FORGOTTEN / (a.min() * step)), (lead + bins) * per_bin) + 2
    room = 1
    while room <= length + refractory.max() + 1:
        room *= 2
    mask = room - 1
    decay = np.empty((populations, length))
    free = np.empty((populations, room))  # G of the last steps
    ready = np.empty((populations, largest), np.int64)  # r of each neuron
    released = np.zeros((populations, refractory.max() + 1), np.int64)  # spikes of the last steps
    membrane, filtered = np.exp(-a * step), np.exp(-step / synapse)
    voltage, current, rate = np.empty(populations), np.empty(populations), np.empty(populations)
    log_step = math.log(step)
    bound, patience, units = np.empty(populations), np.empty(populations), np.zeros(populations, np.int64)
    for m in range(populations):
        current[m] = INITIAL_RATE * uniform(stream)
        rate[m] = current[m]
        patience[m] = exponential(stream)
        if m:
            units[m] = units[m - 1] + recorded[m - 1]
        for k in range(length):
            decay[m, k] = math.exp(-a[m] * step * k)
    for m in range(populations):
        voltage[m] = mu[m]
        for k in range(populations):
            voltage[m] += weights[k, m] * current[k] / a[m]
        free[m, :] = voltage[m]
        for i in range(sizes[m]):
            age = 1 + int(min(exponential(stream) / (max(current[m], 0.1) * step), 1e9))
            ready[m, i] = refractory[m] - age
            if age <= refractory[m]:
                released[m, -age % (refractory[m] + 1)] += 1
    found = 0
    for t in range((lead + bins) * per_bin):
        b = t // per_bin - lead
        for m in range(populations):
            current[m] = filtered[m] * current[m] + (1.0 - filtered[m]) * rate[m]
        for m in range(populations):
            drive = stimulus[m, b] if b >= 0 else 0.0
            for k in range(populations):
                drive += weights[k, m] * current[k]
            g = membrane[m] * voltage[m] + (1.0 - membrane[m]) * mu[m] + step * drive
            voltage[m] = g
            free[m, t & mask] = g
            if t % REFRESH:
                bound[m] *= membrane[m]
            else:
                most = -np.inf
                for i in range(sizes[m]):
                    since = t - ready[m, i]
                    if since >= length:
                        most = max(most, 0.0)
                    elif since > 0:
                        most = max(most, -decay[m, since] * free[m, ready[m, i] & mask])
                bound[m] = most
            shift = log_step - theta[m]
            x = math.exp(g + bound[m] + shift)
            n, fired = sizes[m], 0
            dense = x > DENSE
            if not dense and patience[m] >= n * x:
                patience[m] -= n * x
            else:
                p = -math.expm1(-x)
                i = -1
                if not dense:
                    i += 1 + int(patience[m] / x)
                else:
                    i += 1
                while i < n:
                    since = t - ready[m, i]
                    if since > 0:
                        v = uniform(stream)
                        if not dense:
                            v *= p
                        if v < p:
                            u = g
                            if since < length:
                                u -= decay[m, since] * free[m, ready[m, i] & mask]
                            if _spikes(v, u + shift):
                                fired += 1
                                ready[m, i] = t + refractory[m]
                                if i < recorded[m] and b >= 0:
                                    spike_steps[found] = t - lead * per_bin
                                    spike_units[found] = units[m] + i
                                    found += 1
                    if dense:
                        i += 1
                    else:
                        patience[m] = exponential(stream)
                        left = (n - 1 - i) * x
                        if patience[m] >= left:
                            patience[m] -= left
                            break
                        i += 1 + int(patience[m] / x)
            held = refractory[m] + 1
            released[m, t % held] = fired
            if released[m, (t + 1) % held]:  # those that spiked `refractory` steps ago are at 0 for the last time
                bound[m] = max(bound[m], -g)
            rate[m] = fired / (n * step)
            if b >= 0:
                counts[m, b] += fired
    return found
