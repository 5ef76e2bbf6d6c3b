r"""Whether a recording could have come from the simulations that the network was trained on.

Two kinds of numbers: how far the network's embedding of it lies from those of held-out simulations, and how it departs
from what the model would have done, told its spikes (:mod:`neuroinf.models.departures`). Each number's distribution over
held-out simulations gives it a tail probability p_i; the smallest is the recording's statistic, whose own distribution
over other held-out simulations gives its p value:

.. math:: s = \max_i -\log_{10} p_i, \qquad p = P(s' \ge s), \qquad \mathrm{score} = -\log_{10} p

so that the fraction of good recordings with p below FALSE_ALARMS is FALSE_ALARMS, whatever the numbers' dependence. The
most surprising of S pieces of a recording has :math:`p = 1 - (1 - \min_s p_s)^S`. Recordings without a channel have
distributions of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.models.departures import NAMES, TINY, Departures
from neuroinf.models.residuals import FLOOR
from neuroinf.models.tails import DECADE, Tail

FloatArray = NDArray[np.floating]
# of the training distribution's own recordings, this fraction is called outside
FALSE_ALARMS = 0.05
# a departure of so many standard errors of white noise is nothing, whatever the simulations' own are
LEAST = 2.33
LEAST_TAIL = 0.1  # of log(1 + a departure): that of a standard normal number beyond LEAST
LARGEST = 300.0  # of a score: what double precision holds
SURPRISING = 0.01  # tail probability of a departure that is named among the reasons
MOST_REASONS = 3
UNEXPLAINED = 0.7  # of the voltage's standard deviation: the model does not follow it at all
AXES = 32  # principal axes of the embedding; the spread along the others counts as one number
SHRINKAGE = 1e-3  # of the embedding's mean variance, added to each: directions without spread shall not rule


# what needs no network: of a neuron whose voltage was recorded
FIT_ALONE = "the fit made for this neuron alone, neuroinf fit RECORDING --model glif, or with another level"


@dataclass(frozen=True)
class Score:
    """What one recording's novelty is.

    Attributes:
        score: :math:`-log_{10} p`.
        limit: The score that a fraction FALSE_ALARMS of held-out simulations exceeds.
        p: Probability that a simulation of the training distribution has such a score or a larger one.
        reasons: What looks different, the most telling first; empty below the limit.
    """

    score: float
    limit: float
    p: float
    reasons: tuple[str, ...]

    @property
    def outside(self) -> bool:
        """Whether it is called outside the training distribution."""
        return self.score > self.limit

    def warnings(self, alone: str = FIT_ALONE) -> list[str]:
        """A sentence with the reasons and what to compare with, if it is outside."""
        if not self.outside:
            return []
        p = f"p = {self.p:.2g}" if self.p >= 1e-4 else "p < 0.0001"
        return [
            f"outside the training distribution: {'; '.join(self.reasons)} ({p}; 1 in {1 / FALSE_ALARMS:.0f} recordings "
            f"of the model itself has p below {FALSE_ALARMS:g}): compare with {alone}"
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {"score": self.score, "limit": self.limit, "p": self.p, "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Calibration:
    r"""Distributions over held-out simulations with the same channels.

    The embedding's distance grows with noise and with brevity, which are no fault of a recording. What counts is how far
    its logarithm lies above what the conditions c (residual, duration; see :func:`_conditions`) let expect, in standard
    deviations that depend on them too: :math:`(\log d - c^\top \beta) / e^{c^\top \gamma}`.

    Attributes:
        mean: Of the embedding (H,).
        axes: Its first K principal axes (K, H), orthonormal.
        variances: Along these, and the mean along all others, (K + 1,).
        range: Least and largest of the conditions (2, K), beyond which nothing is extrapolated.
        expected: :math:`\beta` and :math:`\gamma`, (2, K).
        numbers: Of log(1 + number), for the embedding's and each departure.
        statistic: Of the smallest tail probability.
    """

    mean: Tensor
    axes: Tensor
    variances: Tensor
    range: Tensor
    expected: Tensor
    numbers: Tail
    statistic: Tail

    @staticmethod
    def fit(embedding: Tensor, found: Departures) -> Calibration:
        """From recordings' embeddings (n, H) and departures: of one third the moments, of one the numbers' distributions,
        of one that of the statistic, as each is too good for those that it was made of.
        """
        first = embedding[::3].double()
        mean = first.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(first.T).reshape(2 * first.shape[1:]))
        kept = min(AXES, len(values))
        others = values[: len(values) - kept]
        along = torch.cat([values[-kept:], others.mean()[None] if len(others) else values.new_ones(1)])
        # single precision, and no more than the main axes: the checkpoint shall not be larger for it than for its network
        place = mean.float(), vectors[:, -kept:].T.contiguous().float(), (along + SHRINKAGE * values.mean()).float()
        conditions = _conditions(found)
        between = np.stack([conditions.min(0), conditions.max(0)])
        expected = np.stack([_regress(conditions[1::3], np.log(_distance(embedding[1::3], *place) + TINY))] * 2)
        left = np.abs(np.log(_distance(embedding[1::3], *place) + TINY) - conditions[1::3] @ expected[0])
        # the mean logarithm of a normal number's size is 0.635 below that of its standard deviation
        expected[1] = _regress(conditions[1::3], np.log(left + TINY)) + 0.635 * (np.arange(conditions.shape[1]) == 0)
        nothing = Tail((), torch.zeros(0), torch.zeros(0))
        it = Calibration(*place, torch.from_numpy(between), torch.from_numpy(expected), nothing, nothing)
        numbers = it._numbers(embedding, found)
        tail = Tail.fit(numbers[1::3], math.log1p(LEAST), LEAST_TAIL)
        statistic = _statistic(tail.log10(numbers[2::3]))
        return replace(it, numbers=tail, statistic=Tail.fit(statistic[:, None], 0.0, DECADE))

    def _numbers(self, embedding: Tensor, found: Departures) -> FloatArray:
        conditions = np.clip(_conditions(found), *self.range.numpy())
        expected, scale = (conditions @ c for c in self.expected.numpy())
        far = (np.log(self.distance(embedding) + TINY) - expected) / np.exp(scale)
        return np.log1p(np.concatenate([far[:, None], found.values], 1).clip(0))

    def log10(self, embedding: Tensor, found: Departures) -> tuple[FloatArray, FloatArray]:
        """log10 of the p values (n,) of recordings, and of each number's tail probability (n, 1 + F)."""
        each = self.numbers.log10(self._numbers(embedding, found))
        return self.statistic.log10(_statistic(each)[:, None])[:, 0], each

    def distance(self, embedding: Tensor) -> FloatArray:
        """Mahalanobis distances (n,) of embeddings."""
        return _distance(embedding, self.mean, self.axes, self.variances)

    def plain(self) -> dict[str, Any]:
        """Tensors and numbers, for a checkpoint."""
        return {
            "mean": self.mean,
            "axes": self.axes,
            "variances": self.variances,
            "range": self.range,
            "expected": self.expected,
            "numbers": {**vars(self.numbers), "levels": list(self.numbers.levels)},
            "statistic": {**vars(self.statistic), "levels": list(self.statistic.levels)},
        }

    @staticmethod
    def from_plain(d: dict[str, Any]) -> Calibration:
        """The inverse of `plain`."""
        tails = {k: Tail(tuple(d[k]["levels"]), d[k]["knots"], d[k]["excess"]) for k in ("numbers", "statistic")}
        return Calibration(d["mean"], d["axes"], d["variances"], d["range"], d["expected"], **tails)


@dataclass(frozen=True)
class Novelty:
    """The score of a checkpoint: a calibration for each set of channels that may be observed, by their names."""

    calibrations: dict[str, Calibration]

    def score(self, channels: Sequence[str], embedding: Tensor, found: Departures) -> Score | None:
        """Score of one recording.

        Args:
            channels: The channels that each of its S pieces has, see :func:`key`.
            embedding: Of its pieces (S, H).
            found: Their departures.

        Returns:
            None if no piece has a set of channels that was calibrated.
        """
        known = [s for s, name in enumerate(channels) if name in self.calibrations]
        if not known:
            return None
        logs: list[float] = []
        each: list[FloatArray] = []
        for s in known:
            p, numbers = self.calibrations[channels[s]].log10(embedding[s : s + 1], found.rows([s]))
            logs.append(float(p[0]))
            each.append(numbers[0])
        worst = int(np.argmin(logs))
        # 1 - (1 - p)^S, also where p is too small for its complement
        p = -math.expm1(len(logs) * math.log1p(-min(10 ** logs[worst], 1 - 1e-12)))
        score = -math.log10(p) if p > 1e-12 else -logs[worst] - math.log10(len(logs))
        score, limit = min(max(score, 0.0), LARGEST), -math.log10(FALSE_ALARMS)
        row = known[worst]
        calibration = self.calibrations[channels[row]]
        reasons = _reasons(found, row, each[worst], calibration, embedding[row]) if score > limit else ()
        return Score(score, limit, 10**-score, reasons)

    def plain(self) -> dict[str, Any]:
        """Tensors, numbers and names, for a checkpoint."""
        return {"names": list(NAMES), "calibrations": {k: c.plain() for k, c in self.calibrations.items()}}

    @staticmethod
    def from_plain(d: dict[str, Any] | None) -> Novelty | None:
        """The inverse of `plain`; None for a checkpoint whose score was made of other numbers."""
        if d is None or tuple(d.get("names", ())) != NAMES or "axes" not in next(iter(d["calibrations"].values()), {}):
            return None
        return Novelty({k: Calibration.from_plain(c) for k, c in d["calibrations"].items()})


def key(channels: Sequence[str]) -> str:
    """The name of a set of channels."""
    return "+".join(channels)


def _distance(embedding: Tensor, mean: Tensor, axes: Tensor, variances: Tensor) -> FloatArray:
    """Mahalanobis distances (n,) of embeddings (n, H) or (H,)."""
    apart = embedding.double() - mean
    along = apart @ axes.double().T
    beside = (apart.square().sum(-1) - along.square().sum(-1)).clamp(min=0)
    return ((along.square() / variances[:-1]).sum(-1) + beside / variances[-1]).sqrt().numpy()


def _conditions(found: Departures) -> FloatArray:
    """1, log rms of the residual, its square, and log duration: (n, 4); what is not known is 0."""
    noise = np.log(np.maximum(np.nan_to_num(found.rms, nan=1.0), FLOOR))
    duration = np.log(np.maximum(found.duration, 1.0))
    return np.stack([np.ones_like(noise), noise, np.square(noise), duration], 1).astype(np.float64)


def _regress(conditions: FloatArray, values: FloatArray) -> FloatArray:
    return np.linalg.lstsq(conditions, values, rcond=1e-8)[0]


def _statistic(logs: FloatArray) -> FloatArray:
    return -np.nanmin(logs, axis=1)


def _reasons(
    found: Departures, row: int, logs: FloatArray, calibration: Calibration, embedding: Tensor
) -> tuple[str, ...]:
    """What looks different: of the surprising departures those that account for most of the residual come first."""
    threshold = max(math.log10(SURPRISING), float(np.nanmin(logs)))
    surprising = [j for j in range(len(logs)) if logs[j] <= threshold]
    share = {j: float(found.shares[row, j - 1]) for j in surprising if j > 0}
    order = sorted(share, key=lambda j: -share[j] * _weight(NAMES[j - 1]))
    words = [found.words(row, NAMES[j - 1]) for j in order]
    if found.unexplained[row] > UNEXPLAINED and order:
        words.insert(0, f"the current does not explain the voltage (left over: {found.rms[row]:.2g} mV rms)")
    if 0 in surprising:
        distance = float(calibration.distance(embedding[None])[0])
        words.append(f"the network's view of it is unlike that of any simulation (distance {distance:.0f})")
    return tuple(words[:MOST_REASONS])


def _weight(name: str) -> float:
    """How much a departure says beyond its part of the residual: a line in the spectrum says more than its octave."""
    return 0.25 if name == "noise" else 0.5 if name.startswith("band") else 10.0 if name == "clipped" else 1.0
