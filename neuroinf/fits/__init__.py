"""Fits of one neuron at a time, by model family: what amortized inference is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.priors import Prior
from neuroinf.simulators import GLIF, Simulator

FloatArray = NDArray[np.float64]
# x (n, 3, T) of voltage, spikes and stimulus (nan: not observed), spike trains (ms) -> theta (n, P), seconds per neuron
PerNeuronFit = Callable[[NDArray[np.floating[Any]], Sequence[FloatArray | None]], tuple[FloatArray, float]]


def per_neuron_fits(
    simulator: Simulator, prior: Prior, observation_dt: float, dt: float, rng: np.random.Generator
) -> dict[str, PerNeuronFit]:
    """The fits there are for a simulator's family, the strongest first; none for a family without one.

    Args:
        simulator: What the neurons are models of.
        prior: Over its free parameters, in any order.
        observation_dt: Step of the observations, ms.
        dt: Step of the simulation, ms.
        rng: For starts and restarts.
    """
    if not isinstance(simulator, GLIF) or type(prior) is not Prior or "spike_cut_length" not in simulator.fixed:
        return {}
    from neuroinf.fits.glif import fit_published
    from neuroinf.fits.trajectory import fit

    ordered = Prior({name: prior.parameters[name] for name in simulator.parameters})  # type: ignore[misc]
    columns = [simulator.parameters.index(name) for name in prior.names]

    def trajectory(x: NDArray[np.floating[Any]], spikes: Sequence[FloatArray | None]) -> tuple[FloatArray, float]:
        found = fit(x, spikes, simulator, ordered, observation_dt, rng, dt)
        return found.theta[:, columns], found.seconds_per_neuron

    def published(x: NDArray[np.floating[Any]], spikes: Sequence[FloatArray | None]) -> tuple[FloatArray, float]:
        begin = time.perf_counter()
        rows = [fit_published(x[i], spikes[i], simulator, observation_dt, rng) for i in range(len(x))]
        theta = np.array([[row[name] for name in prior.names] for row in rows])
        return theta, (time.perf_counter() - begin) / len(x)

    return {"per_neuron_fit": trajectory, "per_neuron_fit_published": published}


__all__ = ["PerNeuronFit", "per_neuron_fits"]
