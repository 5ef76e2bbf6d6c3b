"""Cascade neurons: fits one at a time by least squares with a prior, in two ways, and what makes a network's answer exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.fits import cascade_descent
from neuroinf.fits.cascade import fit, refine_draws
from neuroinf.fits.cascade_posterior import CascadePosterior
from neuroinf.fits.evidence import Answer, Evidence, FloatArray, PerNeuronFit, Refinement, Start
from neuroinf.fits.glm_refinement import Refined
from neuroinf.fits.glm_sampling import ROUNDS, resample
from neuroinf.priors import Prior
from neuroinf.simulators import Cascade

SAMPLES = 1000
# draws of the network among which a refinement starts
NEARBY = 63
# draws that are weighed: each takes a simulation of every sweep
DRAWS = 800
# values of the Jacobian of the neurons that are fitted together
TOGETHER = 2**23


def fits(simulator: Cascade, prior: Prior, dt: float, rng: np.random.Generator) -> dict[str, PerNeuronFit]:
    """The likeliest mode from several starts, of all sweeps of a neuron together: by Levenberg and Marquardt's steps with
    differences through the compiled simulator, and by quasi-Newton steps with the gradient through the twin.

    Args:
        simulator: What the neurons are models of.
        prior: Over its parameters, in any order.
        dt: Step of the simulation, ms.
        rng: For starts.
    """

    def by(mode: Callable[[CascadePosterior], FloatArray]) -> PerNeuronFit:
        def run(evidence: Evidence) -> tuple[FloatArray, float]:
            begin = time.perf_counter()
            n = len(evidence.x) // evidence.sweeps
            theta = np.full((n, len(prior.names)), np.nan)
            for rows, posterior in posteriors(evidence, simulator, prior, dt):
                theta[rows] = _natural(prior, mode(posterior))
            return theta, (time.perf_counter() - begin) / max(n, 1)

        return PerNeuronFit(run, compiled=True)

    return {
        "per_neuron_fit": by(lambda posterior: fit(posterior, rng).best()),
        "gradient_descent": by(lambda posterior: cascade_descent.fit(posterior, rng)),
    }


def refinements(simulator: Cascade, prior: Prior, dt: float) -> dict[str, Refinement]:
    """The posterior's mode with samples of its Laplace approximation, and samples weighed by the likelihood.

    Args:
        simulator: What the neurons are models of.
        prior: Over its parameters, in any order.
        dt: Step of the simulation, ms.
    """

    def by(weighted: bool) -> Refinement:
        def run(evidence: Evidence, start: Start, samples: int, rng: np.random.Generator) -> Answer | None:
            n, p = len(start.theta), len(prior.names)
            found = _Answers(np.full((n, p), np.nan), np.full((n, samples, p), np.nan))
            begin = time.perf_counter()
            for rows, posterior in posteriors(evidence, simulator, prior, dt):
                modes = refine_draws(posterior, start.theta[rows])
                found.add(rows, posterior, modes, rng, weighted)
            if not found.answered:
                return None
            seconds = (time.perf_counter() - begin) / found.answered
            return Answer(found.mean, found.samples, found.doubtful / found.answered, seconds)

        return Refinement(run, draws=NEARBY, samples=SAMPLES)

    return {"amortized_refined": by(False), "amortized_resampled": by(True)}


@dataclass
class _Answers:
    """Of n neurons as they come: means (n, P) and samples (n, S, P), natural units."""

    mean: FloatArray
    samples: FloatArray
    answered: int = 0
    doubtful: int = 0

    def add(
        self,
        rows: NDArray[np.int64],
        posterior: CascadePosterior,
        modes: Refined,
        rng: np.random.Generator,
        weighted: bool,
    ) -> None:
        """The neurons of some rows: the mode, or the mean of weighted samples where enough of them have weight."""
        prior, number = posterior.prior, self.samples.shape[1]
        mean, samples = _natural(prior, modes.best()), _natural(prior, modes.sample(number, rng))
        if weighted:
            drawn = resample(posterior, modes, number, rng, DRAWS // ROUNDS)
            mean = np.where(drawn.doubtful[:, None], mean, drawn.mean)
            samples = np.where(drawn.doubtful[:, None, None], samples, drawn.theta)
            self.doubtful += int(drawn.doubtful.sum())
        self.mean[rows], self.samples[rows] = mean, samples
        self.answered += len(rows)


def posteriors(
    evidence: Evidence, simulator: Cascade, prior: Prior, dt: float
) -> Iterator[tuple[NDArray[np.int64], CascadePosterior]]:
    """Neurons that can be fitted, in groups, with what is known of them; none without a channel or the stimulus.

    Args:
        evidence: Of n neurons.
        simulator: The model.
        prior: Over its parameters.
        dt: Step of the simulation, ms.
    """
    channels = [name for name in simulator.record if evidence.channel(name) is not None]
    if not channels or evidence.stimulus is None:
        return
    s = evidence.sweeps
    y = np.stack([evidence.x[:, evidence.observation.rows(name).start] for name in channels], axis=1)
    y = y.reshape(-1, s, *y.shape[1:])
    stimulus = evidence.stimulus.reshape(-1, s, *evidence.stimulus.shape[1:])
    usable = np.flatnonzero(np.isfinite(y).any(axis=(1, 2, 3)) & np.isfinite(stimulus).all(axis=(1, 2, 3)))
    observed = Cascade(simulator.graph, simulator.parameters, simulator.fixed, channels)
    every = round(evidence.observation.dt / dt)
    # of the differences, two responses per parameter and start are kept at a time
    at_once = max(1, TOGETHER // (8 * len(prior.names) * y[0].size))
    for rows in np.split(usable, range(at_once, len(usable), at_once)):
        if len(rows):
            yield rows, CascadePosterior(observed, prior, stimulus[rows], y[rows], dt, every)


def _natural(prior: Prior, z: FloatArray) -> FloatArray:
    return prior.from_unconstrained(torch.from_numpy(z)).numpy()
