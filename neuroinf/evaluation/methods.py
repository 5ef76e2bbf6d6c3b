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

from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.fits import PerNeuronFit, Refinement, Start
from neuroinf.inference import Estimator
from neuroinf.networks.flow import FlowPosterior
from neuroinf.posterior import draw
from neuroinf.priors import Prior
from neuroinf.symmetry import SignSymmetry

FloatArray = NDArray[np.float64]
# samples whose density is evaluated: expected coverage then has steps of a hundredth
DENSITY_SAMPLES = 100
# densities computed together: fewer are as slow to call as these are to compute, more would leave the cache
AT_ONCE = 2**11


@dataclass(frozen=True)
class Amortized:
    """A checkpoint's answers.

    Args:
        estimator: The opened checkpoint.
        truth: True parameters (n, P), for the log density of the truth.
        symmetry: Log-densities are of the truth and its reflections together.
        samples: Posterior samples per neuron, if the density gives any.
        seed: Of the samples.
    """

    estimator: Estimator
    truth: FloatArray
    symmetry: SignSymmetry
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
        log_prob = self._log_density(posterior, truth)
        parts = some.split(max(1, AT_ONCE // len(x)))
        of_samples = np.concatenate([self._log_density(posterior, part) for part in parts]).T
        return Estimates("amortized", mean, samples, samples.std(1), log_prob, seconds, of_samples)

    def _log_density(self, posterior: Distribution, theta: Tensor) -> FloatArray:
        """Log-density (..., n) of theta (..., n, P) or any of its reflections, natural units, under n posteriors over z."""
        points = self.symmetry.reflections(theta)
        return np.logaddexp.reduce([log_density(posterior, self.estimator.prior, point) for point in points])


@dataclass(frozen=True)
class Fitted:
    """A per-neuron fit of the first rows; the others are left without an answer.

    Args:
        name: Of the method.
        fit: The fit.
        test: The neurons.
        rows: How many neurons to fit.
        first: The condition under which a slow fit is run.
    """

    name: str
    fit: PerNeuronFit
    test: HeldOut
    rows: int
    first: Condition

    def __call__(self, x: NDArray[np.floating[Any]], condition: Condition) -> Estimates | None:
        """See comparison.Method."""
        n = min(self.rows, len(x), len(x) if self.fit.most is None else self.fit.most)
        if n == 0 or not (self.fit.everywhere or condition == self.first):
            return None
        evidence = self.test.evidence(x[:n], condition)
        if self.fit.compiled:  # at its first call, which belongs to no neuron; two rows have the layout of many
            self.fit.run(evidence.first(2))
        theta, seconds = self.fit.run(evidence)
        if not np.isfinite(theta).all(axis=1).any():
            return None
        mean = np.full((len(x), theta.shape[1]), np.nan)
        mean[:n] = theta
        return Estimates(self.name, mean, seconds_per_neuron=seconds)


@dataclass(frozen=True)
class Refined:
    """A checkpoint's answers for the first rows, made exact by the model's own likelihood; see `neuroinf.fits`.

    Args:
        name: Of the method.
        estimator: The opened checkpoint.
        refinement: Of the simulator's family.
        test: The neurons.
        rows: How many neurons to refine.
        seed: Of the samples.
    """

    name: str
    estimator: Estimator
    refinement: Refinement
    test: HeldOut
    rows: int
    seed: int = 0

    def __call__(self, x: NDArray[np.floating[Any]], condition: Condition) -> Estimates | None:
        """See comparison.Method. The time is that of network and refinement, as for the network without samples."""
        n = min(self.rows, len(x))
        if n == 0:
            return None
        rng = np.random.default_rng(self.seed)
        evidence = self.test.evidence(x[:n], condition)
        # compiled code is compiled at its first call, which belongs to no neuron; two rows have the layout of many
        self.refinement.run(evidence.first(2), self._start(x[:2]), 1, rng)
        begin = time.perf_counter()
        start = self._start(x[:n])
        seconds = (time.perf_counter() - begin) / n
        answer = self.refinement.run(evidence, start, self.refinement.samples, rng)
        if answer is None or not np.isfinite(answer.mean).all(axis=1).any():
            return None
        p = answer.mean.shape[1]
        mean, std = np.full((len(x), p), np.nan), np.full((len(x), p), np.nan)
        samples = np.full((len(x), answer.samples.shape[1], p), np.nan)
        mean[:n], samples[:n], std[:n] = answer.mean, answer.samples, answer.samples.std(1)
        return Estimates(self.name, mean, samples, std, seconds_per_neuron=seconds + answer.seconds)

    @torch.inference_mode()
    def _start(self, x: NDArray[np.floating[Any]]) -> Start:
        """Where to start."""
        prior, density = self.estimator.prior, self.estimator.density
        features = self.estimator.features(x)
        posterior = density.posterior(features)
        if self.refinement.draws and posterior is not None:
            theta = draw(posterior, prior, self.refinement.draws, self.seed)
            each = torch.from_numpy(theta).transpose(0, 1)
            together = max(1, AT_ONCE // len(theta))
            found = [log_density(posterior, prior, part) for part in each.split(together)]
            return Start(theta, np.concatenate(found).T)
        if isinstance(posterior, FlowPosterior):  # its Gaussian's centre is as good a start, and needs no draws
            return Start(prior.from_unconstrained(posterior.location.double()).numpy()[:, None])
        return Start(prior.from_unit(density.unit_mean(features, prior).clamp(0, 1).numpy())[:, None])


def log_density(posterior: Distribution, prior: Prior, theta: Tensor) -> FloatArray:
    """Log-density (..., n) of theta (..., n, P), natural units, under n posteriors over z."""
    z = prior.to_unconstrained(theta).float()
    return (posterior.log_prob(z).double() + prior.log_abs_det(theta)).numpy()
