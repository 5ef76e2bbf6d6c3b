"""A circuit's neurons one step after another in plain numpy: the equations as they are written, nothing passed over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroinf.simulators import Circuit


def network_by_hand(
    circuit: Circuit,
    duration: float,
    step: float,
    rng: np.random.Generator,
    stimulus: float = 0.0,
    burn_in: float = 500.0,
) -> list[NDArray[np.bool_]]:
    """Whether each neuron of each population spiked in each step, (steps, N_m), after the burn-in; times in ms."""
    dt, populations = step / 1000.0, len(circuit.names)
    weights = np.asarray(circuit.J)[:, None] * np.asarray(circuit.connections)
    a, filtered = np.asarray(circuit.a), np.exp(-step / np.asarray(circuit.synapse))
    keep = np.exp(-a * dt)
    voltage = [np.zeros(size) for size in circuit.sizes]
    # time since the end of the step of the last spike, in steps
    age = [rng.integers(0, 500, size) for size in circuit.sizes]
    current, rate = np.full(populations, 5.0), np.full(populations, 5.0)
    lead, steps = round(burn_in / step), round(duration / step)
    found = [np.zeros((steps, size), bool) for size in circuit.sizes]
    for t in range(lead + steps):
        current = filtered * current + (1 - filtered) * rate
        drive = current @ weights + (stimulus if t >= lead else 0.0)
        for m in range(populations):
            refractory = age[m] * step < circuit.refractory[m] - 1e-9
            voltage[m] = (1 - keep[m]) * circuit.mu[m] + keep[m] * voltage[m] + dt * drive[m]
            voltage[m][refractory] = 0.0
            p = 1 - np.exp(-np.exp(voltage[m] - circuit.theta[m]) * dt)
            spikes = (rng.random(circuit.sizes[m]) < p) & ~refractory
            voltage[m][spikes] = 0.0
            age[m] = np.where(spikes, 0, age[m] + 1)
            rate[m] = spikes.mean() / dt
            if t >= lead:
                found[m][t - lead] = spikes
    return found
