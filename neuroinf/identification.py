"""What samples of a posterior say about knowing at all: parameters left as the prior has them, pairs that trade off."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
# 1 - 0.9^2: less than a fifth of the parameter's variance is explained. A network's posterior of a parameter without any
# effect lies within 0.9 to 1.1 of the prior, and 10,000 samples give the ratio to within 0.005
UNIDENTIFIED = 0.9
# sqrt(1 - r^2) < 1/2: to know one of the two would more than halve the other's standard deviation
TRADE_OFF = float(np.sqrt(0.75))


def sd_over_prior(samples: FloatArray, prior: Prior) -> FloatArray:
    r"""Posterior standard deviation over the prior's, on the prior's own scale.

    .. math:: \rho_p = \operatorname{sd}_s u_{sp} / \operatorname{sd} u_p

    0: known exactly; 1: as wide as the prior; above 1: mass at both ends.

    Args:
        samples: (..., S, P), natural units.
        prior: Their prior.

    Returns:
        (..., P).
    """
    return prior.to_unit(samples).std(axis=-2, ddof=1) / prior.unit_moments[1]


def correlation(samples: FloatArray, prior: Prior) -> FloatArray:
    """Posterior correlation of each pair of parameters, in the space z where the prior is the standard normal.

    In z no edge of the prior bends a dependence, and a Gaussian density's own correlation is its exact value.

    Args:
        samples: (..., S, P), natural units.
        prior: Their prior.

    Returns:
        (..., P, P); nan in the row and column of a parameter without any spread.
    """
    z = prior.to_unconstrained(torch.from_numpy(np.ascontiguousarray(samples))).numpy()
    apart = z - z.mean(axis=-2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = apart / np.sqrt((apart**2).sum(axis=-2, keepdims=True))
    return np.clip(np.swapaxes(apart, -1, -2) @ apart, -1.0, 1.0)
