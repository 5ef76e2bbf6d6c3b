"""Markov chains in parallel whose steps are differences of archived states, so that nothing of them has to be tuned.

Where a density is expensive, chains of a cheap one propose, and the expensive one decides (delayed acceptance).

Source:
    ter Braak and Vrugt 2008, Differential evolution Markov chain with snooker updater and fewer chains, Stat Comput 18:435;
    Christen and Fox 2005, Markov chain Monte Carlo using an approximation, J Comput Graph Stat 14:795.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

JUMP, SCALES = 0.1, (0.15, 0.4, 1.0)  # part of steps between modes; of 2.38 / sqrt(2 P)
JITTER = 1e-4  # of the width


def moved(
    log_density: Callable[[FloatArray], FloatArray],
    x: FloatArray,
    value: FloatArray,
    archive: FloatArray,
    width: FloatArray,
    steps: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Some steps of n chains, each of which leaves the density as it is; the archive stays the same meanwhile.

    Args:
        log_density: Of states :math:`(n, P)`, up to a constant: (n,); -inf is allowed.
        x: Where the chains are :math:`(n, P)`.
        value: Log density there (n,); a chain at -inf takes the first state with a density that it finds.
        archive: States :math:`(A, P)` whose differences are the steps.
        width: Of each parameter :math:`(P,)`, for the noise of a step.
        steps: How many.
        rng: For the chains.

    Returns:
        States and their log densities.
    """
    x, value = x.copy(), value.copy()
    n, parameters = x.shape
    usual = 2.38 / np.sqrt(2 * parameters)
    for _ in range(steps):
        one, two = (archive[rng.integers(len(archive), size=n)] for _ in range(2))
        scale = np.where(rng.random(n) < JUMP, 1.0, usual * rng.choice(SCALES, n))[:, None]
        proposed = x + scale * (one - two) + JITTER * width * rng.standard_normal(x.shape)
        new = log_density(proposed)
        better = np.log(rng.random(n)) + np.maximum(value, -1e300) < new
        x[better], value[better] = proposed[better], new[better]
    return x, value


def taken(
    value: FloatArray, new: FloatArray, before: FloatArray, after: FloatArray, rng: np.random.Generator
) -> NDArray[np.bool_]:
    r"""Which of n proposals, made by chains of a cheap density q, the expensive density p takes.

    .. math:: \min\Big(1, \frac{p(y)\, q(x)}{p(x)\, q(y)}\Big)

    Args:
        value, new: :math:`\ln p` of the states and of the proposals (n,), each up to the same constant; -inf is not taken.
        before, after: :math:`\ln q` of them (n,). From -inf, where chains did not belong, all that p allows is taken.
        rng: For the decisions.
    """
    ratio = np.where(np.isfinite(before), new - value - (after - before), 0.0)
    return np.isfinite(new) & (np.log(rng.random(len(new))) < ratio)
