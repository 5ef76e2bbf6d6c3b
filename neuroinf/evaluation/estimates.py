"""What a method says about n neurons: the common currency of every comparison, whatever the method is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimates:
    """Answers of one method for n neurons with P parameters, natural units.

    A method that has no answer for a neuron leaves its row nan; what it does not give at all is None.

    Args:
        method: Its name, as in metrics.json.
        mean: Point estimates (n, P), natural units; nan rows where the method has no answer.
        samples: S posterior samples of each neuron (n, S, P), natural units.
        std: Stated standard deviations (n, P), natural units.
        log_prob: Log-density (n,) that the method gives to the truth, natural units.
        seconds_per_neuron: Time from an observation to its answer, training not included.
        sample_log_prob: Log-densities (n, D) of the first D samples, natural units.

    Raises:
        ValueError: if shapes do not agree.
    """

    method: str
    mean: FloatArray
    samples: FloatArray | None = None
    std: FloatArray | None = None
    log_prob: FloatArray | None = None
    seconds_per_neuron: float | None = None
    sample_log_prob: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 2:
            raise ValueError(f"{self.method}: mean must be (n, P), found shape {self.mean.shape}")
        n, p = self.mean.shape
        if self.std is not None and self.std.shape != (n, p):
            raise ValueError(f"{self.method}: std must be {(n, p)} as the mean, found {self.std.shape}")
        if self.samples is not None and (self.samples.ndim != 3 or self.samples.shape[::2] != (n, p)):
            raise ValueError(f"{self.method}: samples must be ({n}, S, {p}), found {self.samples.shape}")
        if self.log_prob is not None and self.log_prob.shape != (n,):
            raise ValueError(f"{self.method}: log_prob must be ({n},), found {self.log_prob.shape}")
        of_samples = self.sample_log_prob
        if of_samples is not None and (of_samples.ndim != 2 or len(of_samples) != n):
            raise ValueError(f"{self.method}: sample_log_prob must be ({n}, D), found {of_samples.shape}")

    def restricted(self, rows: NDArray[np.integer[Any]]) -> Estimates:
        """The answers for some of the neurons."""
        parts = {key: getattr(self, key) for key in ("mean", "samples", "std", "log_prob", "sample_log_prob")}
        return replace(self, **{key: None if part is None else part[rows] for key, part in parts.items()})

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Rows (n,) for which there is an answer."""
        return np.asarray(np.isfinite(self.mean).all(axis=1))


def prior_mean(prior: Prior, n: int) -> Estimates:
    """The method that does not look: the prior's mean on its own scale, for each of n neurons. The floor of all."""
    mean = prior.from_unit(np.tile(prior.unit_moments[0], (n, 1)))
    return Estimates("prior_mean", mean, seconds_per_neuron=0.0)
