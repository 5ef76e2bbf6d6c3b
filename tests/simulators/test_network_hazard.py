"""Whether neurons spike with the hazard of the equations, to three per cent, however they are drawn.

Given the past, a neuron spikes in a step with a probability p that is known where all that drives it is recorded. Spikes minus
the sum of p is then a martingale: over any cells of neurons and steps that the past decides,

    Z = (spikes - sum p) / sqrt(sum p (1 - p))

is standard normal for thousands of spikes, whatever the circuit does, and a hazard that is wrong by a factor of 1 + e moves it
by e sqrt(spikes).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from neuroinf.simulators import Circuit, MesoscopicNetwork, MicroscopicNetwork

FALSE_ALARM, MISS, ERROR = 1e-4, 1e-3, 0.03
Scheme = Literal["every neuron", "exponential", "euler"]


def drive(
    circuit: Circuit, rates: NDArray[np.float64], external: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """h (M, T) from rates in each step (M, T), Hz: right once the first synaptic currents are forgotten."""
    weights = np.asarray(circuit.J)[:, None] * np.asarray(circuit.connections)
    filtered = np.exp(-step / np.asarray(circuit.synapse))
    current, found = np.zeros(len(circuit.names)), np.zeros(rates.shape)
    for t in range(rates.shape[1]):
        if t:
            current = filtered * current + (1 - filtered) * rates[:, t - 1]
        found[:, t] = current @ weights + external[:, t]
    return found


def counted(
    circuit: Circuit,
    response: Any,
    groups: NDArray[np.int64],
    external: NDArray[np.float64],
    step: float,
    scheme: Scheme,
) -> NDArray[np.float64]:
    """Spikes, sum p and sum p (1 - p) of each population, of its younger and its older neurons (3, M, 2).

    Neurons count from their first spike later than 50 ms; they are old from two time constants of the membrane on.
    """
    dt = step / 1000
    a, mu, theta = (np.asarray(x)[:, None] for x in (circuit.a, circuit.mu, circuit.theta))
    h = drive(circuit, response["latent/rates"][0], external, step)
    keep = 1 - a * dt if scheme == "euler" else np.exp(-a * dt)
    towards = (1 - keep) * mu + h * (dt if scheme == "every neuron" else (1 - keep) / a)
    held = np.rint(np.asarray(circuit.refractory) / step).astype(int)[groups]
    old = held + np.rint(2 / a / dt).astype(int)[groups, 0]
    fired = np.zeros((h.shape[1], len(groups)), bool)
    fired[np.floor(response["spikes"][0] / step).astype(int), response["units"][0]] = True
    voltage, age, seen = np.zeros(len(groups)), np.zeros(len(groups), int), np.zeros(len(groups), bool)
    found = np.zeros((3, 2 * len(circuit.names)))
    for t, now in enumerate(fired):
        age += 1
        voltage = np.where(age > held, keep[groups, 0] * voltage + towards[groups, t], 0.0)
        p = np.where(age > held, -np.expm1(-dt * np.exp(voltage - theta[groups, 0])), 0.0)
        if t * step >= 50.0:
            cell = 2 * groups + (age > old)
            for row, value in zip(found, (now, p, p * (1 - p)), strict=True):
                row += np.bincount(cell[seen], value[seen], minlength=found.shape[1])
            seen |= now
        voltage[now], age[now] = 0.0, 0
    return found.reshape(3, len(circuit.names), 2)


FAST: dict[str, Any] = {"names": ["E"], "sizes": [1000], "connections": [[0]], "free": ["mu_E"]}
FEW: dict[str, Any] = {
    "names": [f"E{m}" for m in range(100)], "sizes": [4] * 100, "connections": np.zeros((100, 100)).tolist(),
    "a": 2000.0, "mu": 8.3,
}  # fmt: skip
TWO: dict[str, Any] = {
    "names": ["E", "I"],
    "sizes": [1000, 1000],
    "connections": [[1, 1], [-1, -1]],
    "a": [200.0, 150.0],
    "J": [2.0, 3.0],
    "mu": 9.0,
    "synapse": [3.0, 6.0],
    "refractory": [4.0, 2.0],
}


@pytest.mark.parametrize(
    ("scheme", "circuit", "step", "steps", "size"),
    [
        # p at rest is .1: candidates are drawn; .25: every neuron is asked. Most neurons have the highest voltage, or few
        pytest.param("every neuron", FAST | {"a": 2000.0, "mu": 8.3}, 1.0, 1300, 0.2, id="candidates"),
        pytest.param("every neuron", FAST | {"a": 200.0, "mu": 9.0}, 0.5, 3000, 0.5, id="unequal candidates"),
        pytest.param("every neuron", FAST | {"a": 3000.0, "mu": 9.22}, 1.0, 1000, 0.2, id="everyone asked"),
        pytest.param("every neuron", FEW, 1.0, 3200, 0.2, id="few neurons"),
        pytest.param("every neuron", TWO, 0.5, 3200, 4.0, id="coupled"),
        pytest.param("exponential", TWO, 1.0, 1700, 0.5, id="beside populations"),
        pytest.param("euler", TWO, 1.0, 1700, 0.5, id="beside populations, Euler"),
    ],
)
def test_hazard_of_each_population_and_age(
    scheme: Scheme, circuit: dict[str, Any], step: float, steps: int, size: float
) -> None:
    """External input is held for ten steps each; its standard deviation is the size, in voltage once it has settled."""
    network = Circuit(**circuit)
    a = np.asarray(network.a)[:, None]
    external = size * a * np.random.default_rng(0).normal(size=(len(a), steps // 10 + 1)).repeat(10, 1)[:, :steps]
    if scheme == "every neuron":
        simulator = MicroscopicNetwork(network, step=step, recorded=network.sizes, burn_in=100.0)
    else:
        simulator = MesoscopicNetwork(network, step=step, recorded=network.sizes, burn_in=100.0, scheme=scheme)
    response = simulator.simulate(network.truth[None], external[None], step, seed=1)
    found = counted(network, response, simulator.groups, external, step, scheme)
    found = np.concatenate([found, found.sum(2, keepdims=True)], 2)
    found = np.concatenate([found, found.sum(1, keepdims=True)], 1)
    limit = norm.isf(FALSE_ALARM / 2 / found[0].size)
    # all neurons together are enough to miss an error of 3 % once in a thousand times
    assert ERROR * np.sqrt(found[0, -1, -1]) > limit + norm.isf(MISS)
    scores = (found[0] - found[1]) / np.sqrt(found[2])
    assert (abs(scores) < limit).all(), scores
