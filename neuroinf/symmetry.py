r"""Signs that no data tell apart, and what is left when they are taken away.

A hidden input's weight w and activity h enter as their product, so that (w, h) and (-w, -h) give the same response. What can be
known is the fold :math:`|w|`, which the symmetry leaves alone, with the density

.. math:: q_{|w|}(a) = q_w(a) + q_w(-a), \qquad a \ge 0
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, tensor

from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.protocol import SignSymmetric, Simulator

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SignSymmetry:
    """Parameters whose sign means nothing, and the fold that takes it away.

    Args:
        prior: Of all parameters, signs included.
        names: The parameters to be folded; each uniform on [-high, high].
    """

    prior: Prior
    names: tuple[str, ...]

    @staticmethod
    def of(simulator: Simulator | None, prior: Prior) -> SignSymmetry:
        """That of a simulator; none where the prior itself prefers a sign, which then can be known."""
        named = simulator.sign_symmetric if isinstance(simulator, SignSymmetric) else ()
        names = [name for name in prior.names if name in named]
        if type(prior) is not Prior:
            return SignSymmetry(prior, ())
        even = [prior.parameters[name].low == -prior.parameters[name].high for name in names]
        return SignSymmetry(prior, tuple(name for name, yes in zip(names, even, strict=True) if yes))

    @cached_property
    def columns(self) -> list[int]:
        """Columns of the parameters to be folded."""
        return [self.prior.names.index(name) for name in self.names]

    @cached_property
    def folded(self) -> Prior:
        """The prior of the folded parameters, `|name|` in place of `name`, on [0, high]."""
        if not self.names:
            return self.prior
        ranges: dict[str, Any] = {}
        for name, p in self.prior.parameters.items():
            ranges |= {f"|{name}|": Parameter(p.unit, 0.0, p.high)} if name in self.names else {name: p}
        return Prior(ranges)

    def published(self, name: str) -> str:
        """Under which name a parameter is scored."""
        return f"|{name}|" if name in self.names else name

    def fold(self, theta: FloatArray) -> FloatArray:
        """Parameters (..., P) without the signs."""
        if not self.names:
            return theta
        theta = theta.copy()
        theta[..., self.columns] = np.abs(theta[..., self.columns])
        return theta

    def reflections(self, theta: Tensor) -> Iterator[Tensor]:
        """The points (..., P) that are one after folding, theta itself first."""
        for signs in itertools.product((1.0, -1.0), repeat=len(self.names)):
            point = theta.clone()
            point[..., self.columns] *= tensor(signs, dtype=theta.dtype)
            yield point
