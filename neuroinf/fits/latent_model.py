"""What every model of a population's latents answers, however it was fitted: latents, expected activity, forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError

Matrix = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LatentEstimate:
    """What one sequence of activity says about its latents.

    Attributes:
        factors: Mean of the latents (T, D).
        sd: Their standard deviation (T, D); nan from a method that gives none.
        rates: Expected activity of every neuron per bin (T, K), in the activity's own unit; of those not observed too.
        rate_sd: Standard deviation of the rates (T, K), or None.
        inputs: Inferred inputs to the latents (T, n), from a model that has them.
        input_sd: Their standard deviation (T, n).
    """

    factors: Matrix
    sd: Matrix
    rates: Matrix
    rate_sd: Matrix | None = None
    inputs: Matrix | None = None
    input_sd: Matrix | None = None


class LatentModel(Protocol):
    """A fitted model of K neurons' activity by D latents."""

    @property
    def dimension(self) -> int:
        """D."""
        ...

    def infer(self, activity: NDArray[Any], observed: Mask | None = None) -> LatentEstimate:
        """The latents of one sequence.

        Args:
            activity: Activity (T, K).
            observed: Which entries (T, K) may be used; None: all. Others are not read: whatever stands there, nan
                included, has no effect.
        """
        ...

    def forecast(self, factors: NDArray[Any], steps: int) -> Matrix:
        """Mean latents (n, steps, D) of the bins that follow each of n states (n, D)."""
        ...

    def rates_of(self, factors: NDArray[Any]) -> Matrix:
        """Expected activity (..., K) of given latents (..., D)."""
        ...


LatentFit = Callable[[PopulationData, int], LatentModel]
"""Training data and a dimension to a model."""


def sequence_and_mask(activity: NDArray[Any], observed: Mask | None, neurons: int) -> tuple[NDArray[np.float64], Mask]:
    """The activity (T, K) with zeros where it is not observed, and which entries (T, K) are.

    Raises:
        InputError: if the shapes are not those of `neurons` neurons, or an observed entry is not finite.
    """
    x = np.asarray(activity)
    if x.ndim != 2 or x.shape[1] != neurons or not len(x):
        raise InputError(f"activity: expected (bins, {neurons}), the neurons of the fit, found {x.shape}")
    seen = np.ones(x.shape, bool) if observed is None else np.asarray(observed, bool)
    if seen.shape != x.shape:
        raise InputError(f"observed: expected {x.shape}, one for each entry of the activity, found {seen.shape}")
    values = np.where(seen, x, 0.0).astype(np.float64)
    if not np.isfinite(values).all():
        t, k = np.argwhere(~np.isfinite(values))[0]
        raise InputError(f"activity must be finite where it is observed, found {values[t, k]} in bin {t}, neuron {k}")
    return values, seen
