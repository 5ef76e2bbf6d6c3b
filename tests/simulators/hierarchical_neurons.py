"""Hierarchical neurons, and their equations written down once more with numpy's own convolution."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.simulators import HierarchicalGLM

Floats = NDArray[np.float64]
MULTIPLEXED = {"parents": [0, 1, 1], "excitatory": [[3], [1, 2], [1, 2]], "inhibitory": [[], [4], [4, 5]]}
MODELS: dict[str, dict[str, Any]] = {
    "1L": {},
    "1N double": {"double": True},
    "2N shared": {"synapses": "shared", "double": True, "delay": 0.0},
    "3N": {"delay": 2.3},
    "4N": {},
}


def model(name: str, **options: Any) -> HierarchicalGLM:
    return HierarchicalGLM.named(name.split()[0], 5, 4, **{**MODELS[name], **options})


def multiplexed(**options: Any) -> HierarchicalGLM:
    return HierarchicalGLM(**MULTIPLEXED, linear_soma=True, delay=[0.0, 0.1, 3.0], double=True, **options)


def draw(simulator: HierarchicalGLM, n: int, rng: np.random.Generator) -> Floats:
    """Parameters with every subunit off its linear range, and none so far that it is saturated."""
    theta = rng.normal(size=(n, len(simulator.parameters)))
    part = simulator.columns
    theta[:, part["J"]] = rng.uniform(0.5, 4.0, theta[:, part["J"]].shape)
    theta[:, part["tau"]] = np.exp(rng.uniform(-0.5, 4.0, theta[:, part["tau"]].shape))
    first = 1 if simulator.linear_soma else 0
    for m in range(first, simulator.subunits):
        children = [c - first for c, parent in enumerate(simulator.parents) if parent == m + 1]
        theta[:, part["theta"].start + m - first] += theta[:, part["J"]][:, children].sum(axis=1) / 2
    if simulator.spiking:
        theta[:, part["after_spike"]] *= 0.3
        theta[:, part["soft"]] = 0.5, -6.0
    return theta


def trains(n: int, inputs: int, steps: int, rng: np.random.Generator, p: float = 0.02) -> Floats:
    return (rng.random((n, inputs, steps)) < p).astype(np.float64)


def reference(
    simulator: HierarchicalGLM, theta: Floats, x: Floats, dt: float, spikes: NDArray[np.bool_] | None = None
) -> Floats:
    """The equations by name, with the kernel sampled and convolved."""
    value = dict(zip(simulator.parameters, theta, strict=True))
    steps = x.shape[1]
    delays = np.broadcast_to(simulator.delay, len(simulator.parents))

    def alpha(train: Floats, tau: float, delay: float) -> Floats:
        late = dt * np.arange(steps) - delay
        # a step that the delay ends at exactly counts as after it; the kernel is 0 there
        kernel = np.where(late >= -1e-9, np.maximum(late, 0.0) / tau * np.exp(-np.maximum(late, 0.0) / tau), 0.0)
        return np.convolve(train, kernel)[:steps]

    u = np.zeros((len(simulator.parents), steps))
    for kind, attached in (("e", simulator.excitatory), ("i", simulator.inhibitory)):
        for m, inputs in enumerate(attached, start=1):
            for i in inputs:
                label = f"{i}_{m}" if simulator.synapses == "individual" else f"{kind}_{m}"
                tau, delay = value[f"tau_{label}"], float(delays[m - 1])
                u[m - 1] += value[f"w_{label}"] * alpha(x[i - 1], tau, delay)
                if simulator.double and kind == "e":
                    u[m - 1] += value[f"w2_{label}"] * alpha(x[i - 1], 10.4 + 2.8 * tau, delay)
    if spikes is not None:
        weights = theta[simulator.columns["after_spike"]]
        lags = dt * np.arange(1, round(200 / dt) + 1)
        phase = 3.75 * np.log(lags + 0.01)[None] - np.linspace(1, 17, 8)[:, None]
        shape = weights @ np.where(np.abs(phase) < np.pi, (1 + np.cos(phase)) / 2, 0)
        u[0] += np.convolve(spikes, np.concatenate(([0.0], shape)))[:steps]

    def output(m: int) -> Floats:
        total = u[m - 1] + sum(output(c) for c, p in enumerate(simulator.parents, start=1) if p == m)
        if m == 1 and simulator.linear_soma:
            return total
        return value[f"J_{m}"] / (1 + np.exp(value[f"theta_{m}"] - total))

    return value["v0"] + output(1)
