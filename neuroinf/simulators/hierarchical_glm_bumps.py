"""The basis in which after-spike currents and the moving threshold of hierarchical neurons are written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BUMPS = 8
SUPPORT = 200.0  # ms
STRETCH, SHIFT = 3.75, 0.01  # a, and c in ms
CENTRES = np.linspace(1.0, 17.0, BUMPS)  # on the axis a log(t + c): peaks from 1.3 to 93 ms


def cosine_bumps(dt: float, flat: bool = False) -> FloatArray:
    r"""Raised cosines in stretched time, at t = dt, 2 dt, ..., 200 ms after a spike.

    .. math:: \phi_b(t) = \tfrac12 + \tfrac12 \cos(a \log(t + c) - \varphi_b)
        \quad\text{for } |a \log(t + c) - \varphi_b| < \pi, \text{ else } 0

    Args:
        dt: Step, ms.
        flat: Whether the first bump stays at its peak before it (the threshold's, to allow for refractoriness).

    Returns:
        :math:`(8, L)`, dimensionless, L = 200 / dt.

    Source:
        Ujfalussy et al. (2018), Neuron 100:579; Pillow et al. (2008), Nature 454:995.
    """
    lag = dt * np.arange(1, round(SUPPORT / dt) + 1)
    x = STRETCH * np.log(lag + SHIFT)[None] - CENTRES[:, None]
    bumps = np.where(np.abs(x) < np.pi, 0.5 + 0.5 * np.cos(x), 0.0)
    if flat:
        bumps[0, x[0] < 0] = 1.0
    return bumps


def after_spikes(spikes: NDArray[np.bool_], bumps: FloatArray) -> FloatArray:
    r"""Bumps summed over past spikes, :math:`\sum_{s < t} \phi_b(t - s)`: :math:`(8, T)` for a spike train :math:`(T,)`."""
    steps, support = len(spikes), bumps.shape[1]
    total = np.zeros((len(bumps), steps + support))
    for s in np.flatnonzero(spikes):
        total[:, s + 1 : s + 1 + support] += bumps
    return total[:, :steps]
