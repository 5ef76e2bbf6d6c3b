"""A normalizing flow over the parameters: a Gaussian in the prior's unconstrained space, bent by monotonic splines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import zuko
from scipy.special import ndtri
from scipy.stats import qmc
from torch import Tensor, nn
from torch.distributions import Distribution, Transform
from torch.nn.functional import pad
from zuko.transforms import AutoregressiveTransform, MonotonicRQSTransform

from neuroinf.errors import InputError
from neuroinf.networks.agreement import Pooled, pool
from neuroinf.networks.densities import cholesky_factor, perceptron, prior_loss, widen
from neuroinf.priors import Prior

AT_ONCE = 2**13  # draws computed together: their splines' parameters then stay in the cache
MEAN_DRAWS = 32  # quasi-random: the mean is right to a few hundredths of the posterior's sd
MOMENT_DRAWS = 1024


class Flow(nn.Module):
    r"""A spline flow over the residuals of a Gaussian whose mean and covariance are read from the features.

    .. math:: z = \mu(h) + L(h)\, s(e; c(h)), \qquad e \sim \mathcal N(0, I)

    with s a chain of monotonic rational-quadratic splines, autoregressive or in couplings. The Gaussian takes the
    posterior's place and width, which vary a hundredfold between recordings; the splines, which have their knots in
    [-5, 5] and are the identity beyond, need only its shape. Training starts at the prior.

    Args:
        inputs: Number of features F.
        outputs: Number of parameters P.
        hidden: Widths of the hidden layers.
        context: Number of features of the shape, c.
        transforms: Number of splines in the chain.
        bins: Number of bins of each spline.
        spline_hidden: Widths of the hidden layers of each spline's network.
        couplings: Whether a spline moves one half of the parameters given the other (fast to sample), or each given
            those before it (P times slower to sample).
        dropout: Part of the hidden units that is left out at each step of training, and half of it of the features: a network of
            some ten thousand neurons otherwise knows them by heart.

    Source:
        Durkan, Bekasov, Murray & Papamakarios 2019, Neural spline flows, NeurIPS 32; splines and their networks are
        zuko's.
    """

    base: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (128,),
        context: int = 32,
        transforms: int = 2,
        bins: int = 8,
        spline_hidden: Sequence[int] = (64, 64),
        couplings: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, least in (("context", context, 1), ("transforms", transforms, 1), ("bins", bins, 2)):
            if value < least:
                raise InputError(f"density.{name} must be at least {least}, found {value}")
        if not 0 <= dropout < 1:
            raise InputError(f"density.dropout must be at least 0 and below 1, found {dropout}")
        self.inputs, self.outputs, self.hidden, self.context = inputs, outputs, list(hidden), context
        self.transforms, self.bins, self.spline_hidden = transforms, bins, list(spline_hidden)
        self.couplings, self.dropout = couplings, dropout
        self.network = perceptron(inputs, self.hidden, 2 * outputs + outputs * (outputs - 1) // 2, dropout)
        width = self.hidden[-1] if self.hidden else inputs
        self.shape = nn.Linear(width, context)
        self.splines = zuko.flows.MAF(
            outputs,
            context,
            univariate=Spline,
            shapes=[(bins,), (bins,), (bins - 1,)],
            transforms=transforms,
            hidden_features=self.spline_hidden,
            passes=2 if couplings and outputs > 1 else None,
            activation=nn.SiLU,
        )
        for transform in cast(Any, self.splines.transform.transforms):  # a spline of zeros is the identity
            last = transform.hyper[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.register_buffer("base", normal_points(MEAN_DRAWS, outputs), persistent=False)

    def embedding(self, features: Tensor) -> Tensor:
        """See Density."""
        return self.network[:-1](features)

    def posterior(self, features: Tensor) -> FlowPosterior:
        """See Density."""
        p = self.outputs
        hidden = self.embedding(features)
        mean, log_sd, lower = self.network[-1](hidden).float().tensor_split([p, 2 * p], -1)
        return FlowPosterior(mean, cholesky_factor(log_sd, lower), self.splines(self.shape(hidden).float()))

    def pooled(self, features: Tensor) -> Pooled:
        """See Density; each piece is taken as the Gaussian of its mean and covariance."""
        draws = self.posterior(features).push(normal_points(MOMENT_DRAWS, self.outputs).to(features.device)).double()
        mean = draws.mean(0)
        apart = draws - mean
        covariance = torch.einsum("sbi,sbj->bij", apart, apart) / (len(draws) - 1)
        return pool(mean, torch.linalg.inv(covariance))

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        """Negative log density of z."""
        return -self.posterior(features).log_prob(z)

    def floor(self, z: Tensor) -> Tensor:
        """Negative log density under the prior."""
        return prior_loss(z)

    def widen(self, log_factor: Tensor) -> None:
        """See widths.HasWidths."""
        widen(self.network, log_factor)

    def unit_mean(self, features: Tensor, prior: Prior) -> Tensor:
        """See Density; mean of 32 quasi-random draws, always the same ones."""
        return prior.to_unit(prior.from_unconstrained(self.posterior(features).push(self.base).double())).mean(0)


class Spline(MonotonicRQSTransform):
    """zuko's monotonic rational-quadratic spline, with knots normalised without torch's softmax.

    The softmax of a handful of bins takes half of a flow's time on a CPU; the arguments being bounded, it can do
    without the maximum's subtraction.

    Args:
        widths: Unconstrained widths of the bins (..., K).
        heights: Unconstrained heights (..., K).
        derivatives: Unconstrained slopes at the inner knots (..., K - 1).
        bound: The knots span [-bound, bound].
        slope: Least slope.
    """

    def __init__(
        self, widths: Tensor, heights: Tensor, derivatives: Tensor, bound: float = 5.0, slope: float = 1e-3
    ) -> None:
        Transform.__init__(self)
        largest = -math.log(slope)
        self.horizontal, self.vertical = (
            bound * (2 * _fractions(part / (1 + (2 * part / largest).abs())) - 1) for part in (widths, heights)
        )
        self.derivatives = pad(derivatives / (1 + (derivatives / largest).abs()), (1, 1)).exp()


def _fractions(exponents: Tensor) -> Tensor:
    """Knots (..., K + 1) from 0 to 1, apart as the exponentials of (..., K)."""
    ends = exponents.exp().cumsum(-1)
    return pad(ends / ends[..., -1:], (1, 0))


class FlowPosterior(Distribution):
    """Distribution over z (B, P) of a :class:`Flow`.

    Args:
        mean: (B, P), of the Gaussian.
        factor: (B, P, P), its Cholesky factor.
        residual: Distribution of the Gaussian's residuals, (B, P).
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore  (torch's own convention)

    def __init__(self, mean: Tensor, factor: Tensor, residual: zuko.distributions.NormalizingFlow) -> None:
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)
        self.location, self.factor, self.residual = mean, factor, residual

    def push(self, e: Tensor) -> Tensor:
        """Standard normal draws e (S, P) or (S, B, P) to draws of z (S, B, P)."""
        e = e[:, None].expand(-1, *self.batch_shape, -1) if e.ndim == 2 else e
        rows = max(1, AT_ONCE // max(1, self.batch_shape.numel()))
        return torch.cat([self._push(part) for part in e.split(rows)])

    def _push(self, e: Tensor) -> Tensor:
        chain = cast(Any, self.residual.transform)
        for transform in reversed(getattr(chain, "transforms", [chain])):
            e = _inverse(transform, e)
        return self.location + (self.factor @ e[..., None])[..., 0]

    def rsample(self, sample_shape: torch.Size | Sequence[int] = ()) -> Tensor:
        """Draws (*sample_shape, B, P)."""
        shape = torch.Size(sample_shape)
        e = torch.randn(shape.numel(), *self.batch_shape, *self.event_shape, device=self.location.device)
        return self.push(e).reshape(*shape, *self.batch_shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of z (..., B, P)."""
        apart = (value - self.location)[..., None]
        e = torch.linalg.solve_triangular(self.factor, apart, upper=False)[..., 0]
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.residual.log_prob(e) - log_det


def _inverse(transform: Transform, y: Tensor) -> Tensor:
    """The inverse at y (S, B, P), as the transform's own, but its first pass, which no draw enters, made once for all S."""
    if not isinstance(transform, AutoregressiveTransform):  # a single parameter
        return cast(Tensor, transform.inv(y))
    x = torch.zeros_like(y[:1])
    for _ in range(transform.passes):
        x = cast(Tensor, transform.meta(x).inv(y))
    return x


def normal_points(n: int, p: int) -> Tensor:
    """n points (n, P), n even, spread evenly under the standard normal, each with its mirror image; always the same."""
    points = qmc.Sobol(p, seed=0).random(n // 2)  # pyright: ignore[reportCallIssue]  (scipy before 1.15 has no rng)
    half = torch.from_numpy(ndtri(points.clip(1e-6, 1 - 1e-6))).float()
    return torch.cat([half, -half])
