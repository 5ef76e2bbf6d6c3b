"""Independent parameters, each uniform on its own scale between two edges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, Independent, TransformedDistribution, Uniform, constraints
from torch.distributions.transforms import Transform

from neuroinf.errors import InputError
from neuroinf.priors.ranges import Parameter, Range, check_range

FloatArray = NDArray[np.float64]
Array = TypeVar("Array", NDArray[np.float64], Tensor)


class Prior:
    r"""Independent parameters, each uniform on its own scale (a box).

    With :math:`g` the parameter's own scale (identity or logarithm), three coordinates of the same point are used:

    .. math:: \theta \in [l, h], \qquad u = \frac{g(\theta) - g(l)}{g(h) - g(l)} \in [0, 1], \qquad z = \Phi^{-1}(u)

    so that the prior is :math:`\mathcal U(0, 1)^P` in u and exactly :math:`\mathcal N(0, I)` in z.

    Args:
        parameters: One :class:`Parameter` for each name; their order is the order of columns.

    Raises:
        InputError: if there is no parameter, or a range is reversed, empty, not finite, or not positive on a log scale.

    Example:
        >>> prior = Prior({"C": Parameter("pF", 40.0, 200.0, "log"), "El": Parameter("mV", -84.0, -60.0)})
        >>> prior.sample(3, np.random.default_rng(0)).shape
        (3, 2)
        >>> prior.to_unconstrained(torch.tensor([[8000.0**0.5, -72.0]], dtype=torch.float64)).abs().max() < 1e-12
        tensor(True)
    """

    kind: ClassVar[str] = "box"
    _kinds: ClassVar[dict[str, type[Prior]]] = {}

    def __init_subclass__(cls) -> None:
        Prior._kinds[cls.kind] = cls

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if not parameters:
            raise InputError("a prior needs at least one parameter (name: {unit, low, high, scale}), found none")
        for name, p in parameters.items():
            check_range(name, p)
        self.parameters: Mapping[str, Range] = dict(parameters)
        self.names: tuple[str, ...] = tuple(parameters)
        self.units: tuple[str, ...] = tuple(p.unit for p in parameters.values())
        self.low: FloatArray = np.array([p.low for p in parameters.values()], dtype=np.float64)
        self.high: FloatArray = np.array([p.high for p in parameters.values()], dtype=np.float64)
        self.is_log: NDArray[np.bool_] = np.array([p.scale == "log" for p in parameters.values()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.parameters})"

    # -- distribution ------------------------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draws n points :math:`(n, P)`, natural units."""
        return self.quantile(rng.random((n, len(self.names))))

    def quantile(self, v: FloatArray) -> FloatArray:
        """Points (n, P), natural units, that are draws from the prior if v (n, P) is uniform in the unit cube."""
        # exp(log(low)) may round to just below low
        return np.clip(self.from_unit(v), self.low, self.high)

    def row(self, index: int, rng: np.random.Generator) -> FloatArray:
        """Parameters :math:`(P,)` of simulation row `index`: here a draw, whatever the index."""
        return self.sample(1, rng)[0]

    @property
    def distribution(self) -> Distribution:
        """The prior as a torch distribution, float64, event shape :math:`(P,)`, natural units."""
        zeros = torch.zeros(len(self.names), dtype=torch.float64)
        unit = Independent(Uniform(zeros, zeros + 1, validate_args=False), 1)
        return TransformedDistribution(unit, _FromUnit(self), validate_args=False)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-density in natural units :math:`(..., P) -> (...)`, -inf outside the box."""
        return self._log_unit_slope(theta).sum(-1).masked_fill(~self.inside(theta), -math.inf)

    def inside(self, theta: Tensor) -> Tensor:
        """Whether each point :math:`(..., P)` lies in the box; a value rounded to float32 at the edge still does."""
        low, high = torch.from_numpy(self.low).to(theta), torch.from_numpy(self.high).to(theta)
        rounding = torch.finfo(torch.float32).eps * torch.maximum(low.abs(), high.abs())
        return ((theta >= low - rounding) & (theta <= high + rounding)).all(-1)

    @property
    def unit_moments(self) -> tuple[FloatArray, FloatArray]:
        r"""Mean and standard deviation (P,) of u: :math:`1/2` and :math:`1/\sqrt{12}`."""
        return np.full(len(self.names), 0.5), np.full(len(self.names), 1 / math.sqrt(12))

    # -- coordinates -------------------------------------------------------------------------------------------------

    def to_unit(self, theta: Array) -> Array:
        """Natural units to the unit cube, :math:`(..., P)`, affine on each parameter's own scale; not clipped."""
        if isinstance(theta, Tensor):
            low, high = self._own_edges(theta)
            return (self._to_own(theta) - low) / (high - low)
        low, high = _own(self.low, self.is_log), _own(self.high, self.is_log)
        return (_own(np.asarray(theta, dtype=np.float64), self.is_log) - low) / (high - low)

    def from_unit(self, u: Array) -> Array:
        """Unit cube to natural units, :math:`(..., P)`: the inverse of :meth:`to_unit`; not clipped."""
        if isinstance(u, Tensor):
            low, high = self._own_edges(u)
            return self._from_own(low + (high - low) * u)
        low, high = _own(self.low, self.is_log), _own(self.high, self.is_log)
        own = low + (high - low) * np.asarray(u, dtype=np.float64)
        return np.where(self.is_log, np.exp(np.where(self.is_log, own, 0.0)), own)

    def to_unconstrained(self, theta: Tensor) -> Tensor:
        """Natural units to z, :math:`(..., P)`; always finite.

        Within one machine epsilon (of `theta`'s dtype) of an edge, or outside, z is that of the epsilon: about 5.2 in
        float32 and 8.1 in float64, so that no infinity reaches a loss. :meth:`log_abs_det` is -inf outside.
        """
        low, high = self._own_edges(theta)
        own, eps = self._to_own(theta), torch.finfo(theta.dtype).eps
        # each half is measured from its own edge: 1 - u near u = 1 would lose the digits that the probit magnifies
        below = torch.special.ndtri(((own - low) / (high - low)).clamp(eps, 0.5))
        above = -torch.special.ndtri(((high - own) / (high - low)).clamp(eps, 0.5))
        return torch.where(own - low < high - own, below, above)

    def from_unconstrained(self, z: Tensor) -> Tensor:
        """z to natural units, :math:`(..., P)`: the inverse of :meth:`to_unconstrained`; never outside the box."""
        low, high = self._own_edges(z)
        # not -|z|, whose derivative is 0 at the prior's median
        tail = (high - low) * torch.special.ndtr(torch.where(z < 0, z, -z))
        theta = self._from_own(torch.where(z < 0, low + tail, high - tail))
        return theta.clamp(torch.from_numpy(self.low).to(z), torch.from_numpy(self.high).to(z))

    def log_abs_det(self, theta: Tensor) -> Tensor:
        r""":math:`\log |\det \partial z / \partial \theta|`, :math:`(..., P) -> (...)`; -inf outside the box.

        A density q in z is :math:`\log q(z) +` this in natural units, hence 0 outside.
        """
        z = self.to_unconstrained(theta)
        columns = 0.5 * z.square() + 0.5 * math.log(2 * math.pi) + self._log_unit_slope(theta)
        return columns.sum(-1).masked_fill(~self.inside(theta), -math.inf)

    def unit_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        r"""Mean of u, :math:`(..., P)`, where z is normal: :math:`\mathrm E[\Phi(z)] = \Phi(\mu / \sqrt{1 + \sigma^2})`."""
        return torch.special.ndtr(mean / (1 + variance).sqrt())

    # -- grids and plain types ---------------------------------------------------------------------------------------

    def grid(self, points: int | dict[str, int | Sequence[float]]) -> FloatArray:
        """Full factorial grid :math:`(M, P)`, natural units, the last parameter changing fastest.

        Args:
            points: Number of values of each parameter, equally spaced on its own scale from edge to edge (1: the
                middle); or, by name, a number or the values themselves.

        Raises:
            InputError: if a name is missing or unknown, a number is below 1, or a value is outside the range.
        """
        chosen = points if isinstance(points, Mapping) else dict.fromkeys(self.names, points)
        _check_names("grid", self.names, chosen)
        return factorial([self._grid_values(j, chosen[name]) for j, name in enumerate(self.names)])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, read back by :meth:`from_dict`."""
        ranges = {
            name: {"unit": p.unit, "low": p.low, "high": p.high, "scale": p.scale}
            for name, p in self.parameters.items()
        }
        return {"kind": self.kind, "parameters": ranges}

    @staticmethod
    def from_dict(d: Mapping[str, Any]) -> Prior:
        """The prior, of whichever kind, that :meth:`to_dict` wrote.

        Raises:
            InputError: if the kind, a parameter's field or its range is not what was expected.
        """
        kinds = {Prior.kind: Prior, **Prior._kinds}
        if not isinstance(d, Mapping) or d.get("kind") not in kinds:
            found = d.get("kind") if isinstance(d, Mapping) else d
            raise InputError(f"a stored prior has a kind, one of {', '.join(kinds)}; found {found!r}")
        try:
            return kinds[d["kind"]]._read(d)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"a stored {d['kind']} prior lacks or misnames a field: {error}") from error

    @classmethod
    def _read(cls, d: Mapping[str, Any]) -> Prior:
        return cls({name: Parameter(**p) for name, p in d["parameters"].items()})

    def _grid_values(self, column: int, points: int | Sequence[float]) -> FloatArray:
        name, low, high = self.names[column], self.low[column], self.high[column]
        if isinstance(points, int):
            if points < 1:
                raise InputError(f"grid of {name} needs at least 1 point, found {points}")
            u = np.full((points, len(self.names)), 0.5)
            u[:, column] = np.linspace(0, 1, points) if points > 1 else 0.5
            return np.clip(self.from_unit(u)[:, column], low, high)
        values = np.asarray(points, dtype=np.float64)
        if values.ndim != 1 or values.size == 0 or not ((values >= low) & (values <= high)).all():
            raise InputError(f"grid of {name} needs values within its range [{low:g}, {high:g}], found {list(points)}")
        return values

    # -- own scale, torch --------------------------------------------------------------------------------------------

    def _log_mask(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self.is_log).to(like.device)

    def _own_edges(self, like: Tensor) -> tuple[Tensor, Tensor]:
        edges = _own(np.stack([self.low, self.high]), self.is_log)
        low, high = torch.from_numpy(edges).to(like)
        return low, high

    def _log(self, theta: Tensor) -> Tensor:
        """Logarithm of the log-scaled columns, 0 elsewhere; finite, with finite gradients, whatever theta is."""
        return torch.where(self._log_mask(theta), theta, 1.0).clamp_min(torch.finfo(theta.dtype).tiny).log()

    def _to_own(self, theta: Tensor) -> Tensor:
        return torch.where(self._log_mask(theta), self._log(theta), theta)

    def _log_own_slope(self, theta: Tensor) -> Tensor:
        """log dg/dtheta of each column: 0 on a linear scale, -log(theta) on a log scale."""
        return -self._log(theta)

    def _log_unit_slope(self, theta: Tensor) -> Tensor:
        """log du/dtheta of each column."""
        low, high = self._own_edges(theta)
        return self._log_own_slope(theta) - (high - low).log()

    def _from_own(self, own: Tensor) -> Tensor:
        mask = self._log_mask(own)
        return torch.where(mask, torch.where(mask, own, 0.0).exp(), own)


class _FromUnit(Transform):
    """Unit cube to natural units, as a torch transform."""

    bijective = True
    domain = constraints.independent(constraints.unit_interval, 1)
    codomain = constraints.real_vector

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self._prior = prior

    def _call(self, x: Tensor) -> Tensor:
        return self._prior.from_unit(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._prior.to_unit(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -self._prior.log_prob(y)


def _own(theta: FloatArray, is_log: NDArray[np.bool_]) -> FloatArray:
    """Each column on its parameter's own scale."""
    return np.where(is_log, np.log(np.where(is_log, theta, 1.0)), theta)


def factorial(values: list[FloatArray]) -> FloatArray:
    """Every combination :math:`(M, P)` of the values of P parameters, the last changing fastest."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*values, indexing="ij")], axis=1)


def _check_names(what: str, expected: Sequence[str], found: Mapping[str, object]) -> None:
    if set(found) != set(expected):
        raise InputError(f"{what}: expected the parameters {', '.join(expected)}, found {', '.join(found)}")
