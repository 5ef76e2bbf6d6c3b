"""GLMs and their drive, written down once more with numpy's own convolution, bin by bin and row by row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.simulators import GLM

Floats = NDArray[np.float64]


def draw_theta(simulator: GLM, n: int, rng: np.random.Generator, scale: float = 0.3) -> Floats:
    """Parameters (n, P), uniform within the scale; history only inhibits where it could run away."""
    theta = rng.uniform(-scale, scale, (n, len(simulator.parameters)))
    if simulator.nonlinearity == "exponential":
        own = [name.startswith("a_") for name in simulator.parameters]
        theta[:, own] = -np.abs(theta[:, own])
    return theta


def drive(simulator: GLM, theta: Floats, stimulus: Any, response: Any, dt: float) -> Floats:
    """The drive (n, T) given what the neuron did (n, T), hidden inputs (not summed) included."""
    n, steps = len(theta), stimulus.shape[2]
    eta = np.empty((n, steps))
    for row in range(n):
        p = dict(zip(simulator.parameters, theta[row].tolist(), strict=True))
        x = np.asarray(stimulus[row if len(stimulus) > 1 else 0], np.float64)
        eta[row] = p["b"]
        for i in range(simulator.inputs):
            if simulator.filters is None:
                eta[row] += p[f"w_{i + 1}"] * x[i]
            else:
                for j, kernel in enumerate(simulator.filters.kernels(dt)):
                    eta[row] += p[f"w_{i + 1}_{j + 1}"] * np.convolve(x[i], kernel)[:steps]
        for i in range(simulator.coupled):
            assert simulator.coupling is not None
            for j, kernel in enumerate(simulator.coupling.kernels(dt)):
                late = np.convolve(x[simulator.inputs + i], kernel)[: steps - 1]
                eta[row, 1:] += p[f"c_{i + 1}_{j + 1}"] * late
        if simulator.history is not None:
            own = np.asarray(response[row], np.float64)
            for j, kernel in enumerate(simulator.history.kernels(dt)):
                eta[row, 1:] += p[f"a_{j + 1}"] * np.convolve(own, kernel)[: steps - 1]
        for k, name in enumerate(simulator.sign_symmetric):
            eta[row] += p[name] * x[simulator.inputs + simulator.coupled + k]
    return eta


def f(simulator: GLM, eta: Floats) -> Floats:
    """The nonlinearity."""
    return 1 / (1 + np.exp(-eta)) if simulator.nonlinearity == "logistic" else np.exp(eta)
