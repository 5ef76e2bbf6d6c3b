"""Which of two methods errs less, neuron by neuron: a comparison that few neurons cannot decide is not made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.metrics import SIGNIFICANCE
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
# of n neurons that all say the same, chance says it too with 2 / 2^n
FEWEST = 1 + math.floor(math.log2(2 / SIGNIFICANCE))
_AT_ONCE = 1000


def paired(
    truth: FloatArray,
    estimate: FloatArray,
    other: FloatArray,
    prior: Prior,
    rng: np.random.Generator,
    permutations: int = 19_999,
) -> dict[str, Any]:
    r"""Two methods' errors on the neurons that both answered, and whether chance can tell them apart.

    .. math:: D_p = \frac1n \sum_i (\hat u_{ip} - u_{ip})^2 - (\hat v_{ip} - u_{ip})^2, \qquad
        p = \frac{1 + \#\{\sigma : |D_p(\sigma)| \ge |D_p|\}}{1 + \text{permutations}}

    with u on the prior's own scale and :math:`\sigma` exchanging the two answers for each neuron with probability 1/2: exact if
    the two are exchangeable, whatever their distribution. Estimates that do not differ give 1.

    Args:
        truth: True parameters (n, P).
        estimate: Estimates (n, P), nan rows where there is none.
        other: What it is compared with (n, P).
        prior: On whose own scale errors are measured.
        rng: Of the exchanges.
        permutations: Their number.

    Returns:
        "n", the neurons that both answered, and by parameter "nrmse", "nrmse_other" and "p"; nan for fewer than `FEWEST`.
    """
    known = np.isfinite(estimate).all(axis=1) & np.isfinite(other).all(axis=1)
    u, a, b = (prior.to_unit(part[known]) for part in (truth, estimate, other))
    n, nothing = len(u), np.full(truth.shape[1], math.nan)
    if n < FEWEST:
        errors, p = (nothing, nothing), nothing
    else:
        squared = [np.square(part - u) for part in (a, b)]
        errors = tuple(np.sqrt(part.mean(axis=0)) for part in squared)
        difference = squared[0] - squared[1]
        limit = np.abs(difference.sum(axis=0)) * (1 - 1e-12)
        as_large = np.zeros(len(nothing), np.int64)
        for start in range(0, permutations, _AT_ONCE):
            signs = rng.choice((-1.0, 1.0), (min(_AT_ONCE, permutations - start), n))
            as_large += (np.abs(signs @ difference) >= limit).sum(axis=0)
        p = (1 + as_large) / (1 + permutations)
    named = {"nrmse": errors[0], "nrmse_other": errors[1], "p": p}
    return {"n": n} | {key: dict(zip(prior.names, map(float, row), strict=True)) for key, row in named.items()}
