"""Every method on the same neurons, under the same conditions: noise, missing channels, duration; and what each costs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates, prior_mean
from neuroinf.evaluation.metrics import Document, method_metrics
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
Observations = NDArray[np.floating[Any]]
LINE_EVERY = 15.0  # seconds


@dataclass(frozen=True)
class Condition:
    """How the test neurons are observed.

    Args:
        name: For tables and figures, e.g. "0.5 mV" or "0.5 mV, no stimulus".
        noise: Standard deviation of the observation noise per channel, in the channel's unit.
        missing: Channels that are not observed.
        duration: Only so many ms from the beginning are observed; None: all.
    """

    name: str
    noise: Mapping[str, float]
    missing: tuple[str, ...] = ()
    duration: float | None = None


class Method(Protocol):
    """Anything that turns observations into estimates."""

    def __call__(self, x: Observations, condition: Condition, /) -> Estimates | None:
        """Estimates for observations x (n, C, T), nan where not observed; None if the method cannot."""
        ...


class Observe(Protocol):
    """The test neurons as they are observed under a condition."""

    def __call__(self, condition: Condition, /) -> Observations:
        """Observations x (n, C, T), nan where not observed; the same noise each time."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Answers of every method under every condition.

    Args:
        truth: True parameters (n, P), natural units.
        prior: Their prior.
        conditions: In order; the first is the one that metrics.json reports.
        estimates: For each condition's name, each method's answers; None where it could not.
    """

    truth: FloatArray
    prior: Prior
    conditions: tuple[Condition, ...]
    estimates: dict[str, dict[str, Estimates | None]]

    def metrics(self, condition: Condition) -> dict[str, Document | None]:
        """The entry M of each method under a condition; None where it could not."""
        answers = self.estimates[condition.name]
        return {m: None if e is None else method_metrics(e, self.truth, self.prior) for m, e in answers.items()}

    def restricted(self, rows: NDArray[np.integer[Any]]) -> Comparison:
        """The same on some of the neurons: those that a slow method answered, so that all are scored on the same."""
        cut = {
            name: {method: None if e is None else e.restricted(rows) for method, e in answers.items()}
            for name, answers in self.estimates.items()
        }
        return Comparison(self.truth[rows], self.prior, self.conditions, cut)

    def given(self, condition: Condition) -> list[Estimates]:
        """The answers that there are under a condition."""
        return [e for e in self.estimates[condition.name].values() if e is not None]


def run(
    methods: Mapping[str, Method],
    observe: Observe,
    truth: FloatArray,
    prior: Prior,
    conditions: Sequence[Condition],
    progress: bool = False,
) -> Comparison:
    """Run every method on the same observations, the prior's mean first.

    A method that does not say how long a neuron takes is timed: wall-clock time of the call over the rows it answered.
    With `progress`, lines on stderr say now and then how far it is; the time left is a guess from the answers so far.

    Raises:
        ValueError: if a condition's name is not unique, or a method is called prior_mean.
    """
    if len({c.name for c in conditions}) < len(conditions) or "prior_mean" in methods:
        raise ValueError("conditions need different names, and prior_mean is always there")
    estimates: dict[str, dict[str, Estimates | None]] = {}
    total, done, start = len(methods) * len(conditions), 0, time.perf_counter()
    last = start
    for condition in conditions:
        x = observe(condition)
        answers: dict[str, Estimates | None] = {"prior_mean": prior_mean(prior, len(truth))}
        for name, method in methods.items():
            begin = time.perf_counter()
            answer = method(x, condition)
            seconds = time.perf_counter() - begin
            if answer is not None:
                timed = answer.seconds_per_neuron
                if timed is None and answer.answered.any():
                    timed = seconds / int(answer.answered.sum())
                answer = replace(answer, method=name, seconds_per_neuron=timed)
            answers[name] = answer
            done, now = done + 1, time.perf_counter()
            if progress and (now - last > LINE_EVERY or done == total):
                last, left = now, (now - start) / done * (total - done)
                where = f"{name}, {condition.name}"
                print(f"compare: {done} of {total} ({where}), {left:.0f} s left", file=sys.stderr, flush=True)
        estimates[condition.name] = answers
    return Comparison(truth, prior, tuple(conditions), estimates)


def binned_summary(x: Observations, bins: int = 32) -> FloatArray:
    """Mean and standard deviation of each channel in `bins` equal stretches: (n, 2 C bins), nan where unseen."""
    n, channels, steps = x.shape
    width = -(-steps // bins)
    padded = np.full((n, channels, width * bins), math.nan)
    padded[..., :steps] = x
    cells = padded.reshape(n, channels, bins, width)
    seen = np.isfinite(cells)
    count = seen.sum(axis=-1)
    safe = np.maximum(count, 1)
    mean = np.where(seen, cells, 0.0).sum(axis=-1) / safe
    variance = np.where(seen, (cells - mean[..., None]) ** 2, 0.0).sum(axis=-1) / safe
    features = np.stack([mean, np.sqrt(variance)], axis=1)
    return np.where(count[:, None] > 0, features, math.nan).reshape(n, -1)


class NearestNeighbour:
    """The parameters of the training simulation whose :func:`binned_summary` is nearest: a check, not a contender.

    Features are standardised by the training set. The distance takes the features that the observation has; one that a
    training row lacks counts as the training mean.

    Args:
        x: Training observations (N, C, T), without missing channels.
        theta: Their parameters (N, P), natural units.
        bins: Stretches of the summary.
    """

    def __init__(self, x: Observations, theta: FloatArray, bins: int = 32) -> None:
        features = binned_summary(x, bins)
        seen = np.isfinite(features)
        count = np.maximum(seen.sum(axis=0), 1)
        self.mean = np.where(seen, features, 0.0).sum(axis=0) / count
        deviation = np.where(seen, features - self.mean, 0.0)
        self.std = np.sqrt((deviation**2).sum(axis=0) / count)
        self.std[self.std == 0] = 1.0  # a constant feature: the same in every row, whatever the divisor
        self.z, self.theta, self.bins = deviation / self.std, theta, bins

    def __call__(self, x: Observations, condition: Condition) -> Estimates:
        """See Method."""
        z = (binned_summary(x, self.bins) - self.mean) / self.std
        seen = np.isfinite(z)
        z = np.where(seen, z, 0.0)
        # |z - t|^2 over the features seen, without the term of z alone, which is the same for all training rows
        distance = seen.astype(np.float64) @ (self.z**2).T - 2 * z @ self.z.T
        return Estimates("nearest_neighbour", self.theta[np.argmin(distance, axis=1)])


def break_even_neurons(
    simulation_seconds: float | None,
    training_seconds: float | None,
    per_neuron_fit_seconds: float | None,
    amortized_seconds: float | None,
) -> float | None:
    """Number of neurons from which on simulating and training once is cheaper than fitting each one.

    Returns:
        The number; None if a cost is not known, or if the fit is as quick as the network, which then never pays.
    """
    costs = (simulation_seconds, training_seconds, per_neuron_fit_seconds, amortized_seconds)
    if any(c is None or not math.isfinite(c) for c in costs):
        return None
    simulation, training, fit, amortized = (float(c) for c in costs if c is not None)
    return (simulation + training) / (fit - amortized) if fit > amortized else None


def cost(
    simulation_seconds: float | None,
    training_seconds: float | None,
    per_neuron_fit_seconds: float | None,
    amortized_seconds: float | None,
) -> dict[str, float | None]:
    """The entry "cost" of metrics.json."""
    return {
        "simulation_seconds": simulation_seconds,
        "training_seconds": training_seconds,
        "per_neuron_fit_seconds": per_neuron_fit_seconds,
        "amortized_seconds": amortized_seconds,
        "break_even_neurons": break_even_neurons(
            simulation_seconds, training_seconds, per_neuron_fit_seconds, amortized_seconds
        ),
    }
