"""Would neurons drawn from the posterior have done what this one did? Responses of samples, beside the observed one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.predictive import Responses, voltage_rmse
from neuroinf.evaluation.spike_trains import coincidence_factor

FloatArray = NDArray[np.float64]
SAMPLES = 100
BAND = (0.05, 0.95)
# fewer values have no 5 % quantile between them
FEWEST = 20


@dataclass(frozen=True)
class Spread:
    """Median, 5 % and 95 % quantile of a score over the samples where it is defined; nan if it nowhere is."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: FloatArray) -> Spread:
        """The spread of values (S,), nan left out."""
        known = values[np.isfinite(values)]
        if not len(known):
            return Spread(math.nan, math.nan, math.nan)
        return Spread(*(float(q) for q in np.quantile(known, [0.5, *BAND])))


@dataclass(frozen=True)
class PredictiveCheck:
    """One neuron's observed response, and those of S posterior samples to the same stimulus.

    Args:
        observed: One row.
        drawn: S rows of the same duration and step, without observation noise.
    """

    observed: Responses
    drawn: Responses

    @cached_property
    def band(self) -> FloatArray | None:
        """Pointwise 5 and 95 % quantiles (2, T) of the samples' voltage, mV; None without a voltage.

        Over the samples that have one: during its spikes a sample has none. nan where fewer than 20 do. Noise of the
        recording comes on top.
        """
        return None if self.drawn.voltage is None else quantiles(np.asarray(self.drawn.voltage, np.float64), BAND)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of spikes (S,) of each sample within [0, duration)."""
        return np.array([len(train) for train in self._trains(self.drawn)])

    @cached_property
    def count(self) -> int:
        """Number of spikes observed within [0, duration)."""
        return len(self._trains(self.observed)[0])

    @property
    def count_p(self) -> float:
        r"""Two-sided posterior predictive p-value of the spike count n among those :math:`n_s` of the samples.

        .. math:: p = \min(1, 2\,\frac{1 + \min(\#\{n_s \ge n\}, \#\{n_s \le n\})}{1 + S})

        At most a fraction p of neurons that are drawn like the samples have a value so small. For the neuron itself it is
        cautious, because its posterior has seen these very spikes: a small value speaks against the model, a large one not
        for it.

        Source:
            Gelman, Meng & Stern 1996, Stat. Sinica 6:733; the 1s: Davison & Hinkley 1997, section 4.2.
        """
        tail = min(int((self.counts >= self.count).sum()), int((self.counts <= self.count).sum()))
        return min(1.0, 2 * (1 + tail) / (1 + len(self.counts)))

    @property
    def fails(self) -> bool:
        """Whether the spike count lies beyond those of all samples: at most 2 in 101 neurons drawn like 100 samples do."""
        return self.count > self.counts.max() or self.count < self.counts.min()

    @cached_property
    def scores(self) -> dict[str, FloatArray]:
        """Each sample's (S,) `spike_count`, `spike_gamma` (2 ms), `spike_gamma_4` (4 ms), `voltage_rmse` (mV); see compare."""
        duration, (data,) = self.observed.duration, self._trains(self.observed)
        gammas = {
            name: np.array([coincidence_factor(data, train, duration, window) for train in self._trains(self.drawn)])
            for name, window in (("spike_gamma", 2.0), ("spike_gamma_4", 4.0))
        }
        voltage = self.observed.voltage
        repeated = None if voltage is None else np.broadcast_to(voltage, (len(self.counts), voltage.shape[1]))
        against = Responses(duration, self.observed.dt, repeated, [data] * len(self.counts))
        return {
            "spike_count": self.counts.astype(np.float64),
            **gammas,
            "voltage_rmse": voltage_rmse(against, self.drawn),
        }

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """The spread of each of `scores`."""
        return {name: Spread.of(values) for name, values in self.scores.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain types, for JSON: None in place of nan."""
        entries = {
            name: {key: value if math.isfinite(value) else None for key, value in vars(spread).items()}
            for name, spread in self.spreads.items()
        }
        count = {"observed": self.count, **entries.pop("spike_count"), "p": self.count_p}
        return {"samples": len(self.counts), "spike_count": count, **entries}

    def line(self) -> str:
        """One line for a terminal."""
        count, gamma, error = (self.spreads[key] for key in ("spike_count", "spike_gamma_4", "voltage_rmse"))
        parts = [
            f"{self.count} spikes recorded, {count.median:.0f} ({count.low:.0f} to {count.high:.0f}) simulated, "
            f"p = {self.count_p:.2g}"
        ]
        if math.isfinite(gamma.median):
            parts.append(f"coincidence (4 ms) {gamma.median:.2f} ({gamma.low:.2f} to {gamma.high:.2f})")
        if math.isfinite(error.median):
            parts.append(f"voltage error {error.median:.1f} mV ({error.low:.1f} to {error.high:.1f})")
        return "; ".join(parts)

    @staticmethod
    def _trains(responses: Responses) -> list[FloatArray]:
        trains = [np.empty(0) if train is None else train for train in responses.spikes]
        return [train[(train >= 0) & (train < responses.duration)] for train in trains]


def quantiles(values: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles (Q, T) over the S values of each column of (S, T) that are finite; nan where fewer than FEWEST are."""
    ordered = np.sort(np.where(np.isfinite(values), values, math.nan), axis=0)  # nan last
    count = np.isfinite(values).sum(axis=0)
    found = np.full((len(levels), values.shape[1]), math.nan)
    for row, level in zip(found, levels, strict=True):
        at = level * np.maximum(count - 1, 0)
        below, above = (
            np.take_along_axis(ordered, f(at)[None].astype(np.int64), axis=0)[0] for f in (np.floor, np.ceil)
        )
        row[:] = np.where(count >= FEWEST, below + (at - np.floor(at)) * (above - below), math.nan)
    return found


def summarise_checks(checks: Sequence[PredictiveCheck]) -> dict[str, float]:
    """What metrics.json says of the posterior's samples: medians over neurons of each score's median, 5 and 95 %.

    `spike_count_within` is the fraction of neurons whose spike count lies within its own samples' 5 to 95 %,
    `spike_count_fails` that of neurons where it lies beyond all samples.
    """
    summary: dict[str, float] = {"posterior_samples": len(checks[0].counts), "posterior_neurons": len(checks)}
    for name in checks[0].spreads:
        for key in ("median", "low", "high"):
            values = np.array([getattr(check.spreads[name], key) for check in checks])
            known = values[np.isfinite(values)]
            summary[f"posterior_{name}_{key}"] = float(np.median(known)) if len(known) else math.nan
    within = [c.spreads["spike_count"].low <= c.count <= c.spreads["spike_count"].high for c in checks]
    summary["spike_count_within"] = float(np.mean(within))
    summary["spike_count_fails"] = float(np.mean([c.fails for c in checks]))
    return summary
