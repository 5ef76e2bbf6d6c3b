"""Fits of one neuron at a time, by model family: what amortized inference is compared with, and refined by.

A family is one module that says which fits and refinements its simulator has: `glif_family`, `glm_family`, `cascade_family`.
"""

from __future__ import annotations

import numpy as np

from neuroinf.datasets.simulation import Simulation
from neuroinf.fits import glif_family
from neuroinf.fits.evidence import Answer, Evidence, PerNeuronFit, Refinement, Start
from neuroinf.fits.glif_family import ByTwin
from neuroinf.priors import Prior
from neuroinf.simulators import GLIF, GLM, Cascade, Simulator


def per_neuron_fits(
    simulation: Simulation, prior: Prior, observation_dt: float, rng: np.random.Generator
) -> dict[str, PerNeuronFit]:
    """The fits there are for a simulator's family, the strongest first; none for a family without one.

    Args:
        simulation: What the neurons are models of, and under which inputs.
        prior: Over the simulator's free parameters, in any order.
        observation_dt: Step of the observations, ms.
        rng: For starts and restarts.
    """
    simulator = simulation.simulator
    if isinstance(simulator, GLIF):
        return glif_family.fits(simulator, prior, observation_dt, simulation.dt, rng)
    if isinstance(simulator, GLM):
        from neuroinf.fits import glm_family

        return glm_family.fits(simulation, simulator, prior, rng)
    if isinstance(simulator, Cascade):
        from neuroinf.fits import cascade_family

        return cascade_family.fits(simulator, prior, simulation.dt, rng)
    return {}


def refinements(simulation: Simulation, prior: Prior, observation_dt: float) -> dict[str, Refinement]:
    """By which an answer nearby is made exact, for a simulator's family; none for a family without one.

    Args:
        simulation: What the neurons are models of, and under which inputs.
        prior: Over the simulator's free parameters, in any order.
        observation_dt: Step of the observations, ms.
    """
    simulator = simulation.simulator
    if isinstance(simulator, GLM):
        from neuroinf.fits import glm_family

        return glm_family.refinements(simulation, simulator, prior)
    if isinstance(simulator, Cascade):
        from neuroinf.fits import cascade_family

        return cascade_family.refinements(simulator, prior, simulation.dt)
    twin = by_twin(simulator, prior, observation_dt, simulation.dt)
    return {} if twin is None else glif_family.refinements(twin)


def by_twin(simulator: Simulator, prior: Prior, observation_dt: float, dt: float) -> ByTwin | None:
    """The differentiable twin of a simulator that is fitted through it at work; None for any other.

    Args:
        simulator: What the neurons are models of.
        prior: Over its free parameters, in any order.
        observation_dt: Step of the observations, ms.
        dt: Step of the simulation, ms.
    """
    if not (isinstance(simulator, GLIF) and glif_family.has_twin(simulator, prior)):
        return None
    return ByTwin(simulator, prior, observation_dt, dt)


__all__ = [
    "Answer",
    "ByTwin",
    "Evidence",
    "PerNeuronFit",
    "Refinement",
    "Start",
    "by_twin",
    "per_neuron_fits",
    "refinements",
]
