r"""From an estimate with a Gaussian error to a Gaussian in the prior's unconstrained space.

An estimator that knows a parameter u of [0, 1], uniform under the prior, as :math:`\mathcal N(m, s^2)` has the posterior
:math:`\mathcal N(m, s^2)` cut to [0, 1]. In :math:`z = \Phi^{-1}(u)` that is summarised by its median and half the
distance of its 16 % and 84 % quantiles: a narrow one keeps its place and width, and one that says nothing becomes the
prior, :math:`\mathcal N(0, 1)`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

OUTSIDE = 5.0  # an estimate further outside than so many of its sd is taken for one at that distance
LOWER, UPPER = 0.15865525393145707, 0.8413447460685429  # of the standard normal at -1 and 1
WIDEST = 30.0  # of s: it says nothing, and the quantiles of the cut normal keep their digits


def anchor(m: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Median and sd in z, and the log probability of [0, 1] before the cut, of estimates m with error s (any shape)."""
    m, s = m.double(), s.double().clamp(1e-9, WIDEST)
    m = torch.minimum(torch.maximum(m, -OUTSIDE * s), 1 + OUTSIDE * s)
    below, above = torch.special.ndtr(-m / s), torch.special.ndtr((m - 1) / s)
    inside = (1 - below - above).clamp(min=1e-12)
    # measured from the nearer edge, where the digits are
    flip = m > 0.5
    tail = torch.where(flip, above, below)
    centre = torch.where(flip, 1 - m, m)
    quantiles = []
    for q in (LOWER, 0.5, UPPER):
        part = torch.where(flip, torch.full_like(m, 1 - q), torch.full_like(m, q))
        u = centre + s * torch.special.ndtri((tail + part * inside).clamp(1e-15, 1 - 1e-15))
        z = torch.special.ndtri(u.clamp(1e-9, 1 - 1e-9))
        quantiles.append(torch.where(flip, -z, z))
    low, median, high = quantiles
    return median, ((high - low) / 2).clamp(min=1e-6), inside.log()


def half(z: Tensor) -> Tensor:
    r"""|z| of a standard normal z to a standard normal :math:`\zeta = \Phi^{-1}(2 \Phi(|z|) - 1)`."""
    z = z.abs().double()
    near = torch.special.ndtri(torch.special.erf(z / math.sqrt(2)).clamp(1e-12, 0.5))
    far = -torch.special.ndtri(torch.special.erfc(z / math.sqrt(2)).clamp(1e-300, 0.5))
    return torch.where(torch.special.erf(z / math.sqrt(2)) < 0.5, near, far)


def whole(zeta: Tensor) -> Tensor:
    """The inverse of :func:`half`: |z|."""
    zeta = zeta.double()
    near = math.sqrt(2) * torch.special.erfinv(torch.special.ndtr(zeta.clamp(max=0.0)))
    far = -torch.special.ndtri(torch.special.ndtr(-zeta.clamp(min=0.0)) / 2)
    return torch.where(zeta < 0, near, far)


def half_log_slope(z: Tensor, zeta: Tensor) -> Tensor:
    r""":math:`\log |d\zeta / dz| = \log 2 - z^2 / 2 + \zeta^2 / 2`."""
    return math.log(2) - 0.5 * z.double().square() + 0.5 * zeta.double().square()
