"""GLIF neurons: fits of voltage and spikes one at a time, and the differentiable twin that makes an answer exact."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuroinf.fits.evidence import (
    Answer,
    Evidence,
    FloatArray,
    Observations,
    PerNeuronFit,
    Refinement,
    SpikeTrains,
    Start,
)
from neuroinf.priors import Prior
from neuroinf.simulators import GLIF

if TYPE_CHECKING:
    from neuroinf.fits.refinement import Refined


def fits(
    simulator: GLIF, prior: Prior, observation_dt: float, dt: float, rng: np.random.Generator
) -> dict[str, PerNeuronFit]:
    """By gradient descent through the twin, and as published; none without a twin.

    Args:
        simulator: What the neurons are models of.
        prior: Over its free parameters, in any order.
        observation_dt: Step of the observations, ms.
        dt: Step of the simulation, ms.
        rng: For starts and restarts.
    """
    if not has_twin(simulator, prior):
        return {}
    from neuroinf.fits.glif import fit_published
    from neuroinf.fits.trajectory import fit

    ordered = _ordered(prior, simulator)
    columns = [simulator.parameters.index(name) for name in prior.names]

    def trajectory(evidence: Evidence) -> tuple[FloatArray, float]:
        found = fit(trace(evidence), evidence.spikes, simulator, ordered, observation_dt, rng, dt)
        return found.theta[:, columns], found.seconds_per_neuron

    def published(evidence: Evidence) -> tuple[FloatArray, float]:
        begin = time.perf_counter()
        x, spikes = trace(evidence), evidence.spikes
        rows = [fit_published(x[i], spikes[i], simulator, observation_dt, rng) for i in range(len(x))]
        theta = np.array([[row[name] for name in prior.names] for row in rows])
        return theta, (time.perf_counter() - begin) / len(x)

    return {
        "per_neuron_fit": PerNeuronFit(trajectory, compiled=True),
        "per_neuron_fit_published": PerNeuronFit(published, compiled=True),
    }


def refinements(twin: ByTwin) -> dict[str, Refinement]:
    """The posterior's mode, with samples of its Laplace approximation, and samples weighted by the likelihood."""

    def refine(weighted: bool) -> Refinement:
        def run(evidence: Evidence, start: Start, samples: int, rng: np.random.Generator) -> Answer | None:
            if any(evidence.channel(name) is None for name in ("voltage", "stimulus")):
                return None
            if any(train is None for train in evidence.spikes):
                return None
            return twin.refine(trace(evidence), evidence.spikes, start.theta[:, 0], samples, rng, weighted)

        return Refinement(run, samples=200 if weighted else 1000)

    return {"amortized_refined": refine(False), "amortized_resampled": refine(True)}


def trace(evidence: Evidence) -> FloatArray:
    """Voltage, spikes and stimulus (n, 3, T), nan where not observed."""
    x = np.full((len(evidence.x), 3, evidence.x.shape[-1]), np.nan)
    for row, name in enumerate(("voltage", "spikes", "stimulus")):
        if name in evidence.observation.channels:
            x[:, row] = evidence.x[:, evidence.observation.rows(name).start]
    return x


@dataclass(frozen=True)
class ByTwin:
    """What a differentiable twin adds to an answer nearby: refinement, weighted samples, and the bound of all.

    Args:
        simulator: What the neurons are models of.
        prior: Over its free parameters, in any order.
        observation_dt: Step of the observations, ms.
        dt: Step of the simulation, ms.
    """

    simulator: GLIF
    prior: Prior
    observation_dt: float
    dt: float

    def refine(
        self,
        x: Observations,
        spikes: SpikeTrains,
        start: FloatArray,
        samples: int,
        rng: np.random.Generator,
        weighted: bool = False,
        steps: int = 2,
    ) -> Answer:
        """The posterior's mode from a start (n, P), with samples of its Laplace approximation or, `weighted`, by the
        twin's likelihood and then with their mean.

        Args:
            x: Observations (n, 3, T) of voltage, spikes and stimulus, nan where not observed.
            spikes: Spike trains, ms.
            start: Natural units.
            samples: Number S.
            rng: For the samples.
            weighted: Whether to weigh the samples.
            steps: Most passes through the recording.
        """
        from neuroinf.fits.refinement import refine
        from neuroinf.fits.resampling import resample

        ordered, order, back = self._order()
        shared = (x, spikes, self.simulator, ordered, self.observation_dt)
        found = refine(*shared, start[:, order], self.dt, steps)
        theta, seconds, doubtful = found.theta, found.seconds_per_neuron, 0.0
        if weighted:
            begin = time.perf_counter()
            drawn = resample(*shared, found, rng, samples, self.dt)
            z, doubtful = drawn.z, float(drawn.doubtful[np.isfinite(drawn.effective)].mean())
            averaged = ordered.from_unconstrained(torch.from_numpy(drawn.mean)).numpy()
            theta = np.where(drawn.doubtful[:, None], theta, averaged)
            seconds += (time.perf_counter() - begin) / max(len(x), 1)
        else:
            z = found.sample(samples, rng)
        return Answer(
            theta[:, back], ordered.from_unconstrained(torch.from_numpy(z)).numpy()[..., back], doubtful, seconds
        )

    def mode(self, x: Observations, spikes: SpikeTrains, start: FloatArray) -> Refined:
        """The posterior's mode from a start (n, P), with its curvature, in the order of `prior`.

        Args:
            x: Observations, as above.
            spikes: Spike trains, ms.
            start: Natural units.
        """
        from neuroinf.fits.refinement import refine

        ordered, order, back = self._order()
        found = refine(x, spikes, self.simulator, ordered, self.observation_dt, start[:, order], self.dt)
        covariance = found.covariance[:, back][:, :, back]
        return replace(found, theta=found.theta[:, back], z=found.z[:, back], covariance=covariance)

    def bound(self, theta: FloatArray, x: Observations, spikes: SpikeTrains, noise: float) -> FloatArray:
        """Cramer-Rao bound (n, P) of the posterior sd in z by the voltage between the spikes, see `information`.

        Args:
            theta: True parameters (n, P), natural units.
            x: Observations, as above.
            spikes: Spike trains, ms.
            noise: Sd of the voltage noise, mV.
        """
        from neuroinf.fits.information import bound, voltage_information

        ordered, order, back = self._order()
        observed = (x, spikes, self.simulator, ordered, self.observation_dt)
        return bound(voltage_information(theta[:, order], *observed, noise, self.dt))[:, back]

    def _order(self) -> tuple[Prior, list[int], list[int]]:
        """The prior in the simulator's order, its columns in ours, and ours in its."""
        order = [self.prior.names.index(name) for name in self.simulator.parameters]
        return _ordered(self.prior, self.simulator), order, [order.index(j) for j in range(len(order))]


def has_twin(simulator: GLIF, prior: Prior) -> bool:
    """Whether the model is one that the twin follows: its spike cut is no free parameter, and its prior is a box."""
    return type(prior) is Prior and "spike_cut_length" in simulator.fixed


def _ordered(prior: Prior, simulator: GLIF) -> Prior:
    return Prior({name: prior.parameters[name] for name in simulator.parameters})  # type: ignore[misc]
