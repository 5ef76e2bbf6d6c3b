"""How close posteriors come to what is possible: their sd over the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]


def sd_over_bound(
    estimates: Sequence[Estimates], bound: FloatArray | None, prior: Prior
) -> dict[str, dict[str, dict[str, float]] | None]:
    """Ratio of posterior sd to its bound, both on the scale of z, over neurons.

    Args:
        estimates: Every method's answers; those with samples are compared.
        bound: Of the first m neurons (m, P), nan where there is none; None without a bound at all.
        prior: The prior.

    Returns:
        For each parameter, by method, the `median` over neurons and the range of 90 % of them, `low` to `high`; None for a
        parameter that has no bound.
    """
    found: dict[str, dict[str, dict[str, float]] | None] = dict.fromkeys(prior.names)
    if bound is None:
        return found
    for estimate in estimates:
        if estimate.samples is None:
            continue
        z = prior.to_unconstrained(torch.from_numpy(estimate.samples[: len(bound)])).numpy()
        ratio = z.std(1, ddof=1) / bound
        for j, name in enumerate(prior.names):
            known = ratio[np.isfinite(ratio[:, j]), j]
            if len(known):
                low, median, high = np.quantile(known, (0.05, 0.5, 0.95)).tolist()
                found[name] = (found[name] or {}) | {estimate.method: {"median": median, "low": low, "high": high}}
    return found
