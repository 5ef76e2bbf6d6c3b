"""Posteriors as wide as held-out simulations say: a trained network is too sure of what it has not seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from neuroinf.networks.densities import Density

FEWEST = 200  # observations: the factors are then known to about 5 %
LARGEST = 2.0  # of a factor or its inverse: whatever is further off is not a matter of width


@runtime_checkable
class HasWidths(Protocol):
    """A density whose posteriors can be made wider or narrower, each parameter by a factor."""

    def widen(self, log_factor: Tensor) -> None:
        """Multiply the sd of each parameter's z by exp(log_factor) (P,), for all features."""
        ...


def calibrate_widths(
    encoder: nn.Module, density: Density, batches: Iterable[tuple[Tensor, Tensor]]
) -> list[float] | None:
    r"""Widen the density's posteriors so that held-out parameters are the most likely under them.

    .. math:: s^* = \arg\min_s \; -\frac{1}{n} \sum_i \log q_s(z_i \mid x_i)

    with :math:`q_s` the density whose sd of parameter p is multiplied by :math:`e^{s_p}`. An encoder knows the
    neurons it was trained on better than new ones, and its density takes the former for the rule; so few numbers as P are
    free of that when they come from neurons it was not trained on.

    Args:
        encoder: Trained, in evaluation mode.
        density: Trained; changed in place, if it is one that can.
        batches: Held-out observations and parameters (x, z).

    Returns:
        The factors :math:`e^{s^*}` (P,); None if the density has no widths or there are too few observations.
    """
    if not isinstance(density, HasWidths):
        return None
    with torch.no_grad():
        pairs = [(encoder(x).float(), z) for x, z in batches]
    if sum(len(z) for _, z in pairs) < FEWEST:
        return None
    features, z = torch.cat([f for f, _ in pairs]), torch.cat([z for _, z in pairs])
    now = np.zeros(z.shape[-1])

    def loss(s: NDArray[np.float64]) -> float:
        nonlocal now
        cast(HasWidths, density).widen(torch.from_numpy(s - now).float())
        now = s.copy()
        with torch.no_grad():
            return float(density.loss(features, z).double().mean())

    limit = np.log(LARGEST)
    # differences of float32 means: smaller steps would measure rounding
    found = minimize(
        loss, now, method="L-BFGS-B", bounds=[(-limit, limit)] * len(now), options={"eps": 1e-2, "ftol": 1e-6}
    )
    loss(found.x)
    return np.exp(found.x).tolist()
