r"""How well latents of a population are recovered: plain functions of truth and estimate, sequences already joined in time.

Latents are known up to an invertible linear map: they are compared through a regression, fitted on one part of the time and
scored on another, in both directions. A high score from inferred to true with a low one back says that the model has
latents that the population has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import norm

from neuroinf.errors import InputError
from neuroinf.fits.latent_model import LatentModel

FloatArray = NDArray[np.float64]
Values = NDArray[Any]

LEAST_RATE = 1e-6  # expected counts below it are taken as it: one spike there would cost an infinite likelihood
VALID_ERROR = 0.4  # of a forecast that still holds, in standard deviations of the latents
RIDGE = 1e-8


def r2(truth: Values, estimate: Values) -> FloatArray:
    r""":math:`1 - \sum_t (\hat x_t - x_t)^2 / \sum_t (x_t - \bar x)^2` of each column (T, n); nan where the truth is constant."""
    x = np.asarray(truth, np.float64)
    total = ((x - x.mean(0)) ** 2).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > 0, 1 - ((estimate - x) ** 2).sum(0) / total, np.nan)


def rate_r2(rates: Values, estimate: Values) -> float:
    """R2 against the noise-free rates (T, K), mean over neurons."""
    return float(np.nanmean(r2(rates, estimate)))


def explained_variance(activity: Values, estimate: Values, mean: Values) -> float:
    """Share of the squared deviation of all neurons' activity (T, K) from the training's means (K,) that is explained."""
    x = np.asarray(activity, np.float64)
    return float(1 - ((estimate - x) ** 2).sum() / ((x - mean) ** 2).sum())


def bits_per_spike(counts: Values, rates: Values, mean: Values) -> float:
    r"""Co-smoothing score of counts (T, K) with expected counts :math:`\mu`, against each neuron's mean count.

    .. math:: \frac{1}{n \log 2} \sum_{t, k} \bigl[ x \log \mu - \mu \bigr] - \bigl[ x \log \bar x_k - \bar x_k \bigr]

    with n spikes in all; nan without spikes.

    Source:
        Pei et al. (2021), Neural Latents Benchmark, NeurIPS Datasets and Benchmarks.
    """
    x = np.asarray(counts, np.float64)
    spikes = x.sum()
    if spikes == 0:
        return float("nan")
    return float((poisson_gain(x, rates, mean)).sum() / (spikes * np.log(2)))


def poisson_gain(counts: Values, rates: Values, mean: Values) -> FloatArray:
    """Log likelihood of counts (T, K) above that of each neuron's mean count, nats, entry by entry."""
    mu, base = np.maximum(rates, LEAST_RATE), np.maximum(np.asarray(mean, np.float64), LEAST_RATE)
    return xlogy(counts, mu) - mu - (xlogy(counts, base) - base)


@dataclass(frozen=True)
class Probe:
    """A linear map (n + 1, m) of n latents and 1 to m others."""

    weights: FloatArray

    def __call__(self, factors: Values) -> FloatArray:
        """The others (..., m) of latents (..., n)."""
        return np.asarray(factors, np.float64) @ self.weights[:-1] + self.weights[-1]


def probe(source: Values, target: Values) -> Probe:
    """The regression of one set of latents (T, m) on another (T, n)."""
    x = np.column_stack([np.asarray(source, np.float64), np.ones(len(source))])
    scale = np.maximum(np.sqrt((x**2).mean(0)), 1e-12)
    gram = (x / scale).T @ (x / scale) + RIDGE * len(x) * np.eye(x.shape[1])
    return Probe(np.linalg.solve(gram, (x / scale).T @ np.asarray(target, np.float64)) / scale[:, None])


@dataclass(frozen=True)
class LatentRecovery:
    """R2 of the regression between latents, mean over those regressed: true on inferred, and inferred on true."""

    true_from_inferred: float
    inferred_from_true: float


def latent_recovery(inferred: Values, true: Values, inferred_new: Values, true_new: Values) -> LatentRecovery:
    """Both directions: regressions on the first pair of (T, D), scores on the second."""
    forward, back = probe(inferred, true), probe(true, inferred)
    return LatentRecovery(
        float(np.nanmean(r2(true_new, forward(inferred_new)))), float(np.nanmean(r2(inferred_new, back(true_new))))
    )


def coverage(truth: Values, mean: Values, sd: Values, alignment: Probe, level: float = 0.9) -> FloatArray:
    r"""Share of bins whose true latents lie in the central interval of the inferred ones, each inferred latent's own.

    The posterior mean m is where the truth is expected, so the truth is regressed on it: :math:`E[z] = M m + c`. Truth is
    brought to the inferred latents' axes by :math:`M^{-1} (z - c)`. The regression the other way would shrink it.

    Args:
        truth: True latents (T, D).
        mean: Inferred ones (T, D): as many.
        sd: Their standard deviations (T, D).
        alignment: :func:`probe` of true on inferred latents, of other bins.
        level: Of the interval.

    Raises:
        InputError: if there are not as many inferred as true latents.
    """
    turn = alignment.weights[:-1]
    if turn.shape[0] != turn.shape[1]:
        raise InputError(
            f"coverage: expected as many inferred as true latents, found {turn.shape[0]} and {turn.shape[1]}; fit the true number"
        )
    aligned = (np.asarray(truth, np.float64) - alignment.weights[-1]) @ np.linalg.inv(turn)
    return (np.abs(aligned - mean) <= norm.ppf(0.5 + level / 2) * np.asarray(sd)).mean(0)


def ar1(sequences: list[NDArray[Any]]) -> FloatArray:
    """Coefficient (D,) of each latent's regression on itself one bin before, over sequences (T, D)."""
    before = np.concatenate([z[:-1] for z in sequences]).astype(np.float64)
    after = np.concatenate([z[1:] for z in sequences]).astype(np.float64)
    return (before * after).sum(0) / np.maximum((before**2).sum(0), 1e-12)


@dataclass(frozen=True)
class Forecasts:
    """Forecasts from n origins.

    Attributes:
        model: Of the model's latents (n, steps, D).
        baseline: Of AR(1) processes from the same states (n, steps, D).
        truth: Latents that came (n, steps, m): true ones where they are known.
        held: What is predicted if nothing changes: the state at the origin (n, m), through the same probe.
    """

    model: FloatArray
    baseline: FloatArray
    truth: FloatArray
    held: FloatArray

    def r2_at(self, step: int) -> tuple[float, float]:
        """R2 of the model and of AR(1) this many bins ahead, mean over latents."""
        truth = self.truth[:, step - 1]
        return tuple(float(np.nanmean(r2(truth, made[:, step - 1]))) for made in (self.model, self.baseline))  # type: ignore[return-value]


def forecasts(
    model: LatentModel,
    activity: list[NDArray[Any]],
    training: list[NDArray[Any]],
    target: list[NDArray[Any]],
    alignment: Probe,
    *,
    steps: int,
    every: int = 10,
    past: int = 200,
) -> Forecasts:
    """Forecasts of held-out sequences from what came before each origin, which alone the model sees.

    Args:
        model: It.
        activity: Held-out sequences (T, K).
        training: Latents inferred in training (T, D), for the AR(1) coefficients.
        target: Latents of the held-out sequences (T, m) that are to be predicted.
        alignment: Probe from the model's latents to the target.
        steps: Bins ahead.
        every: Bins between origins.
        past: At most so many bins before an origin are seen; the first origin has half of them.

    Raises:
        InputError: if no sequence is long enough for one origin.
    """
    states, ahead = [], []
    centre = np.concatenate([np.asarray(z, np.float64) for z in training]).mean(0)
    phi = ar1([np.asarray(z, np.float64) - centre for z in training])
    for x, z in zip(activity, target, strict=True):
        first = min(max(past // 2, 1), max(len(x) - steps - 1, 0))
        for origin in range(first, len(x) - steps, every):
            states.append(model.infer(x[max(0, origin + 1 - past) : origin + 1]).factors[-1])
            ahead.append(z[origin + 1 : origin + 1 + steps])
    if not states:
        raise InputError(
            f"forecast: expected sequences of more than {steps} bins, found {[len(x) for x in activity][:3]}"
        )
    state = np.stack(states).astype(np.float64)
    powers = phi ** np.arange(1, steps + 1)[:, None]
    baseline = centre + (state - centre)[:, None] * powers
    return Forecasts(
        alignment(model.forecast(state, steps)),
        alignment(baseline),
        np.stack(ahead).astype(np.float64),
        alignment(state),
    )


def valid_prediction_time(predicted: Values, truth: Values, scale: Values, error: float = VALID_ERROR) -> FloatArray:
    r"""Bins (n,) until a forecast's error first exceeds a share of the latents' spread; all of them if it never does.

    .. math:: \Vert \hat z_s - z_s \Vert > \epsilon \sqrt{\textstyle\sum_d \sigma_d^2}

    Args:
        predicted: (n, steps, D).
        truth: (n, steps, D).
        scale: Standard deviation :math:`\sigma` of the true latents (D,).
        error: :math:`\epsilon`.

    Source:
        Vlachas et al. (2020), Neural Networks 126:191.
    """
    distance = np.linalg.norm(np.asarray(predicted, np.float64) - truth, axis=2) / np.linalg.norm(scale)
    wrong = distance > error
    return np.where(wrong.any(1), wrong.argmax(1), wrong.shape[1]).astype(np.float64)
