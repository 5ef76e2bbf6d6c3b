"""How well is the hidden input's activity known, bin by bin? Scores that the symmetry of its sign leaves alone.

Estimates are those for the true sign of the hidden weight, as if somebody had told it: samples of the other sign say the same
with the activity's sign changed. The sign itself is scored apart (`symmetry`); the raw correlation, for which the method has to
choose one, is there to show what ignoring the symmetry costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Recovered:
    """One neuron's hidden activity beside its estimate for the true sign of the hidden weight.

    Args:
        truth: (T,).
        mean: Estimate (T,).
        low: Lower end of the 90 % interval (T,); nan without one.
        high: Its upper end (T,).
        sign_right: Whether the method holds the true sign for the likelier one.
    """

    truth: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    sign_right: bool

    @property
    def aligned_r(self) -> float:
        """Correlation of the two; nan if either does not vary."""
        if np.ptp(self.mean) == 0 or np.ptp(self.truth) == 0:
            return math.nan
        return float(np.corrcoef(self.truth, self.mean)[0, 1])

    @property
    def r(self) -> float:
        """Size of the correlation, which no sign changes."""
        return abs(self.aligned_r)

    @property
    def raw_r(self) -> float:
        """Correlation with the method's own choice of the sign."""
        return self.aligned_r if self.sign_right else -self.aligned_r

    @property
    def r2(self) -> float:
        """Coefficient of determination: offset and scale count."""
        total = float(((self.truth - self.truth.mean()) ** 2).sum())
        return 1 - float(((self.mean - self.truth) ** 2).sum()) / total if total > 0 else math.nan

    @property
    def covered(self) -> float:
        """Fraction of bins whose truth lies in the 90 % interval."""
        if not np.isfinite(self.low).any():
            return math.nan
        return float(((self.truth >= self.low) & (self.truth <= self.high)).mean())


def weight_error(truth: FloatArray, estimate: FloatArray) -> FloatArray:
    r"""Relative error :math:`\|\hat w - w\| / \|w\|` (n,) of weights (n, I)."""
    return np.linalg.norm(estimate - truth, axis=1) / np.linalg.norm(truth, axis=1)


def hidden_scores(neurons: Sequence[Recovered], errors: FloatArray, seconds: float) -> dict[str, float]:
    """One method's entry under "hidden" in metrics.json.

    Args:
        neurons: Those whose activity the method gives.
        errors: Of :func:`weight_error` (n,), nan where there is no answer.
        seconds: For one neuron's activity, its parameters given.

    Returns:
        Over neurons: `r` (median) and `r_5` (5 % quantile) of the aligned correlation, `raw_r` (mean: it has two
        values), `r2` (median),
        `coverage_90` (mean over bins and neurons), `weight_error` (median), `seconds`; `n` neurons with an activity.
    """
    columns = {key: np.array([getattr(neuron, key) for neuron in neurons]) for key in ("r", "raw_r", "r2", "covered")}

    def over(key: str, quantile: float) -> float:
        known = columns[key][np.isfinite(columns[key])]
        return float(np.quantile(known, quantile)) if len(known) else math.nan

    covered = columns["covered"][np.isfinite(columns["covered"])]
    known = errors[np.isfinite(errors)]
    return {
        "r": over("r", 0.5),
        "r_5": over("r", 0.05),
        "raw_r": float(np.nanmean(columns["raw_r"])) if np.isfinite(columns["raw_r"]).any() else math.nan,
        "r2": over("r2", 0.5),
        "coverage_90": float(covered.mean()) if len(covered) else math.nan,
        "weight_error": float(np.median(known)) if len(known) else math.nan,
        "seconds": seconds,
        "n": len(neurons),
    }
