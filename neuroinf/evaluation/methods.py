"""The network and the per-neuron fits as methods among others: observations in, estimates out, timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.datasets.observation import Observation
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.estimates import Estimates
from neuroinf.fits import PerNeuronFit
from neuroinf.inference import Estimator

FloatArray = NDArray[np.float64]


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
        begin = time.perf_counter()
        features = self.estimator.features(x)
        mean = prior.from_unit(density.unit_mean(features, prior).clamp(0, 1).numpy())
        posterior = density.posterior(features)
        seconds = (time.perf_counter() - begin) / len(x)
        if posterior is None:
            return Estimates("amortized", mean, seconds_per_neuron=seconds)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # torch's distributions take no generator
            z = posterior.sample(torch.Size([self.samples]))
        samples = prior.from_unconstrained(z.double()).numpy().transpose(1, 0, 2)
        truth = torch.from_numpy(self.truth)
        log_prob = posterior.log_prob(prior.to_unconstrained(truth).float()).double() + prior.log_abs_det(truth)
        return Estimates("amortized", mean, samples, samples.std(1), log_prob.numpy(), seconds)


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
        trace = np.full((n, 3, x.shape[-1]), np.nan)
        for row, channel in enumerate(("voltage", "spikes", "stimulus")):
            if channel in self.observation.channels:
                trace[:, row] = x[:n, self.observation.rows(channel).start]
        hidden = self.spikes is None or "spikes" in condition.missing
        trains = [None if hidden else np.asarray(s, np.float64) for s in (self.spikes or [])[:n]] or [None] * n
        # compiled code is compiled at its first call, which belongs to no neuron
        self.fit(trace[:1], trains[:1])
        theta, seconds = self.fit(trace, trains)
        if not np.isfinite(theta).all(axis=1).any():
            return None
        mean = np.full((len(x), theta.shape[1]), np.nan)
        mean[:n] = theta
        return Estimates(self.name, mean, seconds_per_neuron=seconds)
