"""Fits of one neuron at a time, by model family: what amortized inference is compared with, and refined by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.priors import Prior
from neuroinf.simulators import GLIF, Simulator

if TYPE_CHECKING:
    from neuroinf.fits.refinement import Refined

FloatArray = NDArray[np.float64]
# x (n, 3, T) of voltage, spikes and stimulus (nan: not observed), spike trains (ms) -> theta (n, P), seconds per neuron
PerNeuronFit = Callable[[NDArray[np.floating[Any]], Sequence[FloatArray | None]], tuple[FloatArray, float]]
Observations = NDArray[np.floating[Any]]
SpikeTrains = Sequence[FloatArray | None]


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
    if not (isinstance(simulator, GLIF) and _has_twin(simulator, prior)):
        return {}
    from neuroinf.fits.glif import fit_published
    from neuroinf.fits.trajectory import fit

    ordered = _ordered(prior, simulator)
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


@dataclass(frozen=True)
class Answer:
    """What a refinement says about n neurons, natural units; nan where it cannot.

    Args:
        mean: (n, P).
        samples: (n, S, P).
        doubtful: Fraction of the answered neurons whose weighted samples were too few, and are those of the Laplace
            approximation.
        seconds: For one neuron, samples not included unless they take more than drawing.
    """

    mean: FloatArray
    samples: FloatArray
    doubtful: float
    seconds: float


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


def by_twin(simulator: Simulator, prior: Prior, observation_dt: float, dt: float) -> ByTwin | None:
    """The differentiable twin of a simulator's family at work; None for a family without one.

    Args:
        simulator: What the neurons are models of.
        prior: Over its free parameters, in any order.
        observation_dt: Step of the observations, ms.
        dt: Step of the simulation, ms.
    """
    if not (isinstance(simulator, GLIF) and _has_twin(simulator, prior)):
        return None
    return ByTwin(simulator, prior, observation_dt, dt)


def _has_twin(simulator: GLIF, prior: Prior) -> bool:
    return type(prior) is Prior and "spike_cut_length" in simulator.fixed


def _ordered(prior: Prior, simulator: GLIF) -> Prior:
    return Prior({name: prior.parameters[name] for name in simulator.parameters})  # type: ignore[misc]


__all__ = ["Answer", "ByTwin", "PerNeuronFit", "by_twin", "per_neuron_fits"]
