"""The network, its refinement and the per-neuron fits as methods among others: observations in, estimates out, timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from neuroinf.datasets.observation import Observation
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.estimates import Estimates
from neuroinf.fits import ByTwin, PerNeuronFit
from neuroinf.inference import Estimator
from neuroinf.networks.flow import FlowPosterior
from neuroinf.posterior import draw
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
# samples whose density is evaluated: expected coverage then has steps of a hundredth
DENSITY_SAMPLES = 100


@dataclass(frozen=True)
class Amortized:
    """A checkpoint's answers.

    Args:
        estimator: The opened checkpoint.
        truth: True parameters (n, P), for the log density of the truth.
        samples: Posterior samples per neuron, if the density gives any.
        seed: Of the samples.
    """

    estimator: Estimator
    truth: FloatArray
    samples: int = 1000
    seed: int = 0

    @torch.inference_mode()
    def __call__(self, x: NDArray[np.floating[Any]], condition: Condition) -> Estimates:
        """See comparison.Method. The time is that of the answer: mean and, with a density, the posterior."""
        prior, density = self.estimator.prior, self.estimator.density
        self.estimator.features(x[:1])  # compiled code is loaded at its first call, which belongs to no neuron
        begin = time.perf_counter()
        features = self.estimator.features(x)
        mean = prior.from_unit(density.unit_mean(features, prior).clamp(0, 1).numpy())
        posterior = density.posterior(features)
        seconds = (time.perf_counter() - begin) / len(x)
        if posterior is None:
            return Estimates("amortized", mean, seconds_per_neuron=seconds)
        samples = draw(posterior, prior, self.samples, self.seed)
        truth = torch.from_numpy(self.truth)
        some = torch.from_numpy(samples[:, :DENSITY_SAMPLES]).transpose(0, 1)
        log_prob = _log_density(posterior, prior, truth)
        # one draw of every neuron at a time: all at once would leave the cache
        of_samples = np.stack([_log_density(posterior, prior, part) for part in some], axis=1)
        return Estimates("amortized", mean, samples, samples.std(1), log_prob, seconds, of_samples)


def _log_density(posterior: Distribution, prior: Prior, theta: Tensor) -> FloatArray:
    """Log-density (n,) of theta (n, P), natural units, under n posteriors over z."""
    z = prior.to_unconstrained(theta).float()
    return (posterior.log_prob(z).double() + prior.log_abs_det(theta)).numpy()


@dataclass(frozen=True)
class Fitted:
    """A per-neuron fit of the first rows; the others are left without an answer.

    It sees what the network sees; where the spike channel is observed it gets the exact times, which the network's
    channel encodes.

    Args:
        name: Of the method.
        fit: The fit.
        spikes: Spike times of every row, ms; None if there are none.
        observation: Where the rows of x are.
        rows: How many neurons to fit.
    """

    name: str
    fit: PerNeuronFit
    spikes: list[NDArray[np.float32]] | None
    observation: Observation
    rows: int

    def __call__(self, x: NDArray[np.floating[Any]], condition: Condition) -> Estimates | None:
        """See comparison.Method."""
        n = min(self.rows, len(x))
        if n == 0:
            return None
        trace, trains = traces(x[:n], self.spikes, self.observation, condition)
        # compiled code is compiled at its first call, which belongs to no neuron; two rows have the layout of many
        self.fit(trace[:2], trains[:2])
        theta, seconds = self.fit(trace, trains)
        if not np.isfinite(theta).all(axis=1).any():
            return None
        mean = np.full((len(x), theta.shape[1]), np.nan)
        mean[:n] = theta
        return Estimates(self.name, mean, seconds_per_neuron=seconds)


@dataclass(frozen=True)
class Refined:
    """A checkpoint's answers for the first rows, made exact by the differentiable twin; see `neuroinf.fits.refinement`.

    It has an answer where voltage, stimulus and spike times are observed.

    Args:
        name: Of the method.
        estimator: The opened checkpoint.
        twin: Of the simulator.
        spikes: Spike times of every row, ms; None if there are none.
        rows: How many neurons to refine.
        weighted: Whether samples are weighted by the twin's likelihood, which takes many times longer.
        samples: Posterior samples per neuron.
        seed: Of the samples.
    """

    name: str
    estimator: Estimator
    twin: ByTwin
    spikes: list[NDArray[np.float32]] | None
    rows: int
    weighted: bool = False
    samples: int = 1000
    seed: int = 0

    def __call__(self, x: NDArray[np.floating[Any]], condition: Condition) -> Estimates | None:
        """See comparison.Method. The time is that of network and refinement, as for the network without samples."""
        n = min(self.rows, len(x))
        trace, trains = traces(x[:n], self.spikes, self.estimator.observation, condition)
        seen = np.asarray(np.isfinite(trace).any((0, 2)))
        if n == 0 or not (seen[0] and seen[2]) or any(train is None for train in trains):
            return None
        rng = np.random.default_rng(self.seed)
        # compiled code is compiled at its first call, which belongs to no neuron; two rows have the layout of many
        self.twin.refine(trace[:2], trains[:2], self._start(x[:2]), 1, rng)
        begin = time.perf_counter()
        start = self._start(x[:n])
        seconds = (time.perf_counter() - begin) / n
        answer = self.twin.refine(trace, trains, start, self.samples, rng, self.weighted)
        if not np.isfinite(answer.mean).all(axis=1).any():
            return None
        p = start.shape[1]
        mean, std = np.full((len(x), p), np.nan), np.full((len(x), p), np.nan)
        samples = np.full((len(x), self.samples, p), np.nan)
        mean[:n], samples[:n], std[:n] = answer.mean, answer.samples, answer.samples.std(1)
        return Estimates(self.name, mean, samples, std, seconds_per_neuron=seconds + answer.seconds)

    @torch.inference_mode()
    def _start(self, x: NDArray[np.floating[Any]]) -> FloatArray:
        """Where to start, natural units."""
        prior, density = self.estimator.prior, self.estimator.density
        features = self.estimator.features(x)
        posterior = density.posterior(features)
        if isinstance(posterior, FlowPosterior):  # its Gaussian's centre is as good a start, and needs no draws
            return prior.from_unconstrained(posterior.location.double()).numpy()
        return prior.from_unit(density.unit_mean(features, prior).clamp(0, 1).numpy())


def traces(
    x: NDArray[np.floating[Any]],
    spikes: list[NDArray[np.float32]] | None,
    observation: Observation,
    condition: Condition,
) -> tuple[FloatArray, list[FloatArray | None]]:
    """Voltage, spikes and stimulus (n, 3, T) of observations (n, C, T), nan where not observed, and the spike trains."""
    trace = np.full((len(x), 3, x.shape[-1]), np.nan)
    for row, channel in enumerate(("voltage", "spikes", "stimulus")):
        if channel in observation.channels:
            trace[:, row] = x[:, observation.rows(channel).start]
    hidden = spikes is None or "spikes" in condition.missing
    trains = [None if hidden else np.asarray(s, np.float64) for s in (spikes or [])[: len(x)]]
    return trace, trains or [None] * len(x)
