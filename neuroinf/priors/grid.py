"""A finite grid of parameters, drawn from or gone through row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from neuroinf.errors import InputError
from neuroinf.priors.box import FloatArray, Prior, factorial
from neuroinf.priors.ranges import Parameter, Scale


@dataclass(frozen=True)
class GridParameter:
    """The values that one parameter takes on a grid, in its unit and in the order of enumeration.

    Args:
        unit: Unit of `values`.
        values: Two or more different values.
        scale: The parameter's own scale: its value or its logarithm.
    """

    unit: str
    values: list[float]
    scale: Scale = "linear"

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)


class GridPrior(Prior):
    r"""A finite grid: the values of each parameter in every combination, each as probable as any other.

    The unit cube is spanned by each parameter's smallest and largest value. A grid has no density and half its points
    may lie on the cube's surface, where a probit is infinite, so the unconstrained coordinate is here the standardised
    own scale, :math:`z = (g(	heta) - \mu) / \sigma` with the grid's own mean and standard deviation: mean 0 and
    variance 1 under the prior.

    Args:
        parameters: One :class:`GridParameter` for each name; their order is the order of columns.
        enumerate: Row i of a dataset is grid point i (beginning again after the last; the last parameter changes
            fastest). False: each row is a draw.

    Raises:
        InputError: if a parameter has fewer than two different values, or one that is not finite, or not positive on a
            log scale.

    Example:
        >>> prior = GridPrior({"C": GridParameter("pF", [10, 100], "log"), "El": GridParameter("mV", [-1, 0, 1])}, True)
        >>> prior.size, prior.row(4, np.random.default_rng(0)).tolist()
        (6, [100.0, 0.0])
    """

    kind: ClassVar[str] = "grid"

    def __init__(self, parameters: dict[str, GridParameter], enumerate: bool = False) -> None:
        for name, p in parameters.items():
            if len(set(p.values)) < 2 or len(set(p.values)) < len(p.values):
                raise InputError(
                    f"a grid needs two or more different values of {name}, found {p.values}; "
                    "a parameter with one value is fixed in the simulator instead"
                )
        ranges = {name: Parameter(p.unit, min(p.values), max(p.values), p.scale) for name, p in parameters.items()}
        super().__init__(ranges)
        self.parameters = dict(parameters)
        self.values: tuple[FloatArray, ...] = tuple(np.asarray(p.values, dtype=np.float64) for p in parameters.values())
        self.enumerate = enumerate
        self.size: int = math.prod(len(v) for v in self.values)
        own = [np.log(v) if p.scale == "log" else v for v, p in zip(self.values, parameters.values(), strict=True)]
        self._own_mean: FloatArray = np.array([v.mean() for v in own])
        self._own_std: FloatArray = np.array([v.std() for v in own])

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draws n grid points :math:`(n, P)`, natural units."""
        return self.quantile(rng.random((n, len(self.names))))

    def quantile(self, v: FloatArray) -> FloatArray:
        """Grid points (n, P) that are draws from the grid if v (n, P) is uniform in the unit cube."""
        columns = [values[(v[:, j] * len(values)).astype(np.int64)] for j, values in enumerate(self.values)]
        return np.stack(columns, axis=1)

    def row(self, index: int, rng: np.random.Generator) -> FloatArray:
        """Parameters :math:`(P,)` of simulation row `index`: grid point `index` if enumerated, else a draw."""
        if not self.enumerate:
            return self.sample(1, rng)[0]
        indices = np.unravel_index(index % self.size, [len(v) for v in self.values])
        return np.array([v[i] for v, i in zip(self.values, indices, strict=True)])

    @property
    def distribution(self) -> Distribution:
        """The prior as a torch distribution, float64, event shape :math:`(P,)`, natural units."""
        return _UniformGrid(self)

    @property
    def unit_moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (P,) of u over the grid's points."""
        u = self.to_unit(self.grid())
        return u.mean(axis=0), u.std(axis=0)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-probability (a mass, not a density), :math:`(..., P) -> (...)`; -inf off the grid."""
        on_grid = torch.ones(theta.shape[:-1], dtype=torch.bool, device=theta.device)
        for j, values in enumerate(self.values):
            v = torch.from_numpy(values).to(theta)
            distance = (theta[..., j, None] - v).abs()
            on_grid &= (distance <= torch.finfo(torch.float32).eps * v.abs()).any(-1)
        return torch.where(on_grid, -math.log(self.size), -math.inf).to(theta.dtype)

    def to_unconstrained(self, theta: Tensor) -> Tensor:
        """Natural units to z, :math:`(..., P)`: standardised on the own scale."""
        mean, std = torch.from_numpy(self._own_mean).to(theta), torch.from_numpy(self._own_std).to(theta)
        return (self._to_own(theta) - mean) / std

    def from_unconstrained(self, z: Tensor) -> Tensor:
        """z to natural units, :math:`(..., P)`: the inverse of :meth:`to_unconstrained`; not clipped."""
        mean, std = torch.from_numpy(self._own_mean).to(z), torch.from_numpy(self._own_std).to(z)
        return self._from_own(mean + std * z)

    def log_abs_det(self, theta: Tensor) -> Tensor:
        r""":math:`\log |\det \partial z / \partial \theta|`, :math:`(..., P) -> (...)`."""
        return (self._log_own_slope(theta) - torch.from_numpy(self._own_std).to(theta).log()).sum(-1)

    def unit_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Mean of u, :math:`(..., P)`, where z has this mean: u is affine in z, the variance has no part in it."""
        return self.to_unit(self.from_unconstrained(mean))

    def grid(self, points: int | dict[str, int | Sequence[float]] | None = None) -> FloatArray:
        """All points :math:`(size, P)` in the order of enumeration; or another grid over the same ranges."""
        return factorial(list(self.values)) if points is None else super().grid(points)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, read back by :meth:`Prior.from_dict`."""
        return {
            "kind": self.kind,
            "enumerate": self.enumerate,
            "parameters": {
                name: {"unit": p.unit, "values": v.tolist(), "scale": p.scale}
                for (name, p), v in zip(self.parameters.items(), self.values, strict=True)
            },
        }

    @classmethod
    def _read(cls, d: Mapping[str, Any]) -> Prior:
        return cls({name: GridParameter(**p) for name, p in d["parameters"].items()}, enumerate=d["enumerate"])


class _UniformGrid(Distribution):
    """Uniform distribution over the points of a grid."""

    def __init__(self, prior: GridPrior) -> None:
        self._prior = prior
        super().__init__(event_shape=torch.Size([len(prior.names)]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.real_vector

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        columns = [torch.from_numpy(v)[torch.randint(len(v), shape)] for v in self._prior.values]
        return torch.stack(columns, dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self._prior.log_prob(value)
