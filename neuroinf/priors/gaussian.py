"""Correlated normal parameters, and the smooth filters that are such a prior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtri
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from neuroinf.errors import InputError
from neuroinf.priors.box import FloatArray, Prior
from neuroinf.priors.ranges import Parameter

REACH = 6.0  # sd on either side of the mean that the unit interval spans: 2e-9 of a parameter's mass lies beyond
ASYMMETRY = 1e-9  # of a matrix, relative to its largest element: rounding in a file


class GaussianPrior(Prior):
    r"""Correlated normal parameters.

    .. math:: \theta \sim \mathcal N(\mu, \Sigma), \qquad z = L^{-1} (\theta - \mu), \quad L L^\top = \Sigma,
        \qquad u_p = \frac12 + \frac{\theta_p - \mu_p}{12\, \sigma_p}

    with L lower triangular, so that the prior is exactly :math:`\mathcal N(0, I)` in z. z mixes parameters: its column
    p has no part of the parameters after p. u, the own scale, is each parameter's own and affine as it is for every
    prior: the interval from :math:`\mu - 6 \sigma` to :math:`\mu + 6 \sigma` (`low` and `high`) becomes 0 to 1, with mean
    1/2 and standard deviation 1/12 under the prior. The density is positive everywhere, beyond it too.

    Args:
        names: Of the P parameters; their order is the order of columns.
        mean: :math:`\mu` (P,), in their units; None: zeros.
        covariance: :math:`\Sigma` (P, P). Either this is given or `precision`.
        precision: :math:`\Sigma^{-1}` (P, P).
        units: One for each parameter; None: all "1".

    Raises:
        InputError: if a shape does not fit the names, a number is not finite, or the matrix is not symmetric and
            positive definite.

    Example:
        >>> prior = GaussianPrior(["a", "b"], covariance=[[4.0, 1.0], [1.0, 1.0]])
        >>> prior.to_unconstrained(torch.tensor([[2.0, 0.5]], dtype=torch.float64))
        tensor([[1., 0.]], dtype=torch.float64)
    """

    kind: ClassVar[str] = "gaussian"

    def __init__(
        self,
        names: Sequence[str],
        mean: Sequence[float] | None = None,
        covariance: Sequence[Sequence[float]] | None = None,
        precision: Sequence[Sequence[float]] | None = None,
        units: Sequence[str] | None = None,
    ) -> None:
        width = len(names)
        if len(set(names)) < width:
            raise InputError(f"prior names must differ, found {list(names)}")
        units = ["1"] * width if units is None else list(units)
        if len(units) != width:
            raise InputError(f"prior units: expected one for each of {width} parameters, found {len(units)}: {units}")
        if (covariance is None) == (precision is None):
            raise InputError("a Gaussian prior needs either covariance or precision, found both or neither")
        self.mean: FloatArray = _numbers("mean", [0.0] * width if mean is None else mean, (width,))
        given = "precision" if covariance is None else "covariance"
        matrix = _numbers(given, precision if covariance is None else covariance, (width, width))
        # of both only that which was given: the specification of a prior is what it was made of
        self.covariance, self.precision = (None, matrix) if covariance is None else (matrix, None)
        self.factor: FloatArray = _factor(given, matrix)
        self.sd: FloatArray = np.sqrt(np.square(self.factor).sum(axis=1))
        low, high = self.mean - REACH * self.sd, self.mean + REACH * self.sd
        ranges = zip(names, units, low.tolist(), high.tolist(), strict=True)
        super().__init__({name: Parameter(unit, a, b) for name, unit, a, b in ranges})

    def __repr__(self) -> str:
        moments = zip(self.names, self.mean, self.sd, self.units, strict=True)
        return f"{type(self).__name__}({', '.join(f'{n}: {m:.3g} +- {s:.3g} {u}' for n, m, s, u in moments)})"

    def sample(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draws n points :math:`(n, P)`, natural units."""
        return self.mean + rng.standard_normal((n, len(self.names))) @ self.factor.T

    def quantile(self, v: FloatArray) -> FloatArray:
        r"""Points :math:`\mu + L \Phi^{-1}(v)` (n, P): draws from the prior if v (n, P) is uniform in the open unit cube."""
        return self.mean + ndtri(v) @ self.factor.T

    @property
    def distribution(self) -> Distribution:
        """The prior as a torch distribution, float64, event shape :math:`(P,)`, natural units."""
        mean, factor = torch.from_numpy(self.mean), torch.from_numpy(self.factor)
        return MultivariateNormal(mean, scale_tril=factor, validate_args=False)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-density in natural units, :math:`(..., P) -> (...)`."""
        z = self.to_unconstrained(theta)
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1) + self.log_abs_det(theta)

    def inside(self, theta: Tensor) -> Tensor:
        """Whether the density is positive at each point :math:`(..., P)`: wherever it is finite."""
        return theta.isfinite().all(-1)

    @property
    def unit_moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (P,) of u: 1/2 and 1/12."""
        return np.full(len(self.names), 0.5), np.full(len(self.names), 0.5 / REACH)

    def to_unconstrained(self, theta: Tensor) -> Tensor:
        r"""Natural units to :math:`z = L^{-1} (\theta - \mu)`, :math:`(..., P)`."""
        inverse = solve_triangular(self.factor, np.eye(len(self.names)), lower=True)
        return (theta - torch.from_numpy(self.mean).to(theta)) @ torch.from_numpy(inverse).to(theta).T

    def from_unconstrained(self, z: Tensor) -> Tensor:
        r"""z to natural units, :math:`\mu + L z`, :math:`(..., P)`: the inverse of :meth:`to_unconstrained`."""
        return torch.from_numpy(self.mean).to(z) + z @ torch.from_numpy(self.factor).to(z).T

    def log_abs_det(self, theta: Tensor) -> Tensor:
        r""":math:`\log |\det \partial z / \partial \theta| = -\sum_p \log L_{pp}`, :math:`(..., P) -> (...)`."""
        constant = -float(np.log(np.diag(self.factor)).sum())
        return theta.new_full(theta.shape[:-1], constant).masked_fill(~self.inside(theta), -math.inf)

    def unit_mean(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Mean of u, :math:`(..., P)`, where z has this mean: u is affine in z, the variance has no part in it."""
        return self.to_unit(self.from_unconstrained(mean))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, read back by :meth:`Prior.from_dict`."""
        matrices = {"covariance": self.covariance, "precision": self.precision}
        return {
            "kind": self.kind,
            "names": list(self.names),
            "units": list(self.units),
            "mean": self.mean.tolist(),
            **{name: matrix.tolist() for name, matrix in matrices.items() if matrix is not None},
        }

    @classmethod
    def _read(cls, d: Mapping[str, Any]) -> Prior:
        return cls(d["names"], d["mean"], d.get("covariance"), d.get("precision"), d["units"])


class SmoothFilterPrior(GaussianPrior):
    r"""An offset and a temporal filter of J taps whose second differences are small.

    .. math:: b \sim \mathcal N(0, v), \qquad w \sim \mathcal N\big(0, (F^\top F)^{-1}\big), \qquad
        F = D D + \operatorname{diag}\Big(\sqrt{k / J}\Big)_{k = 0, \dots, J - 1}

    with D first differences: 1 on the diagonal, -1 below it. The diagonal's growth draws late taps to 0. No units.

    Args:
        taps: J.
        offset_variance: v.
        offset: Name of b, the first parameter.
        tap: Name of the taps before their number 1 to J: "w_1" gives w_1_1, w_1_2, ...

    Raises:
        InputError: without a tap, or if the variance is not positive.

    Source:
        Task "Bernoulli GLM" (T.5) of Lueckmann et al. 2021, Benchmarking simulation-based inference, AISTATS 130.
    """

    kind: ClassVar[str] = "smooth_filter"

    def __init__(self, taps: int = 9, offset_variance: float = 2.0, offset: str = "b", tap: str = "w_1") -> None:
        if taps < 1:
            raise InputError(f"SmoothFilterPrior.taps: expected at least 1, found {taps}")
        if not (math.isfinite(offset_variance) and offset_variance > 0):
            raise InputError(
                f"SmoothFilterPrior.offset_variance: expected a positive number, found {offset_variance}; "
                f"an offset that is known is fixed in the simulator"
            )
        self.taps, self.offset_variance, self.offset, self.tap = taps, offset_variance, offset, tap
        differences = np.eye(taps) - np.eye(taps, k=-1)
        f = differences @ differences + np.diag(np.sqrt(np.arange(taps) / taps))
        precision = np.zeros((1 + taps, 1 + taps))
        precision[0, 0] = 1 / offset_variance
        precision[1:, 1:] = f.T @ f
        super().__init__([offset, *(f"{tap}_{j + 1}" for j in range(taps))], precision=precision.tolist())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, read back by :meth:`Prior.from_dict`."""
        own = {"taps": self.taps, "offset_variance": self.offset_variance, "offset": self.offset, "tap": self.tap}
        return {"kind": self.kind, **own}

    @classmethod
    def _read(cls, d: Mapping[str, Any]) -> Prior:
        return cls(d["taps"], d["offset_variance"], d["offset"], d["tap"])


def _numbers(what: str, given: Any, shape: tuple[int, ...]) -> FloatArray:
    """Finite numbers of a shape."""
    try:
        values = np.array(given, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"prior {what}: expected numbers of shape {shape}, found {given!r}") from None
    if values.shape != shape or not np.isfinite(values).all():
        finite = "" if values.shape != shape else ", not all finite"
        raise InputError(f"prior {what}: expected finite numbers of shape {shape}, found shape {values.shape}{finite}")
    return values


def _factor(what: str, matrix: NDArray[np.float64]) -> FloatArray:
    """Lower triangular L with L L' the covariance, from covariance or precision."""
    if np.abs(matrix - matrix.T).max(initial=0.0) > ASYMMETRY * np.abs(matrix).max(initial=0.0):
        raise InputError(f"prior {what}: expected a symmetric matrix, found one that differs from its transpose")
    try:
        if what == "covariance":
            return np.asarray(np.linalg.cholesky(matrix), np.float64)
        # C C' of the precision with its axes reversed: the inverse of C', reversed again, is lower triangular
        reversed_factor = np.linalg.cholesky(matrix[::-1, ::-1])[::-1, ::-1]
        return solve_triangular(reversed_factor, np.eye(len(matrix)), lower=False).T
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(matrix).min(initial=math.inf))
        raise InputError(
            f"prior {what}: expected a positive definite matrix, found a least eigenvalue of {least:.3g}"
        ) from None


__all__ = ["REACH", "GaussianPrior", "SmoothFilterPrior"]
