"""From features to a statement about the parameters: a point, or a Gaussian in the prior's unconstrained space.

Every density is a torch module with the same calls (`Density`), so that a model need not know which one it has; z is the
truth in the prior's unconstrained space, where the prior is the standard normal. Densities that are not normal there:
`networks.mixture`, `networks.flow`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from neuroinf.networks.agreement import Pooled, pool
from neuroinf.priors import Prior


class Density(Protocol):
    """What a model asks of a density over P parameters, given features (B, F)."""

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        """Loss (B,) of the truth z (B, P)."""
        ...

    def floor(self, z: Tensor) -> Tensor:
        """Loss (B,) that the prior alone would have: a network not below it has learnt nothing."""
        ...

    def posterior(self, features: Tensor) -> Distribution | None:
        """Distribution over z (B, P), with `sample` and `log_prob`; None if the density states no uncertainty."""
        ...

    def unit_mean(self, features: Tensor, prior: Prior) -> Tensor:
        """Mean (B, P) of the parameters on the prior's own scale mapped to [0, 1]."""
        ...

    def embedding(self, features: Tensor) -> Tensor:
        """The last hidden layer (B, H): what the answer is made of."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As torch.nn.Module: a density is one."""
        ...

    def pooled(self, features: Tensor) -> Pooled | None:
        """Posterior of one neuron from its sweeps (S, F), see `agreement.pool`; None without uncertainty."""
        ...


LOG_SD = (-10.0, 4.0)  # of a standard deviation in z, where the prior's is 1


def perceptron(inputs: int, hidden: Sequence[int], outputs: int, dropout: float = 0.0) -> nn.Sequential:
    """Fully connected layers with SiLU; the last starts at zero, so that training starts at the prior.

    With dropout that part of the hidden units is left out at each step of training, and half of it of the inputs.
    """
    layers: list[nn.Module] = [nn.Dropout(dropout / 2)] if dropout else []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.SiLU(), *([nn.Dropout(dropout)] if dropout else [])]
        inputs = width
    last = nn.Linear(inputs, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def prior_loss(z: Tensor) -> Tensor:
    """Negative log density (B,) of z (B, P) under the prior, the standard normal."""
    return 0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def cholesky_factor(log_sd: Tensor, lower: Tensor) -> Tensor:
    """Lower triangular factor (..., P, P) with positive diagonal, of log_sd (..., P) and lower (..., P (P - 1) / 2)."""
    p = log_sd.shape[-1]
    sd = log_sd.clamp(*LOG_SD).exp()
    factor = torch.diag_embed(sd)
    row, column = torch.tril_indices(p, p, -1, device=sd.device)
    # off-diagonals are relative to their row's sd: correlations are then free of the parameters' precision
    factor[..., row, column] = lower * sd[..., row]
    return factor


@torch.no_grad()
def widen(network: nn.Sequential, log_factor: Tensor) -> None:
    """Add log_factor (P,) to every log sd of a network whose outputs are P means, P log sds and what is relative to them."""
    bias, p = cast(nn.Linear, network[-1]).bias, len(log_factor)
    bias[p : 2 * p] += log_factor.to(bias)


class Point(nn.Module):
    r"""Mean squared error of z, in which every parameter has variance 1 under the prior.

    .. math:: L = \frac{1}{P} \sum_p (\hat z_p - z_p)^2

    Args:
        inputs: Number of features F.
        outputs: Number of parameters P.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int] = (128,)) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden = inputs, outputs, list(hidden)
        self.network = perceptron(inputs, self.hidden, outputs)

    def embedding(self, features: Tensor) -> Tensor:
        """See Density."""
        return self.network[:-1](features)

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        """See Density."""
        return (self.network(features) - z).square().mean(-1)

    def floor(self, z: Tensor) -> Tensor:
        """Squared distance of z from its mean under the prior, 0."""
        return z.square().mean(-1)

    def posterior(self, features: Tensor) -> None:
        """A point states no uncertainty."""
        return None

    def pooled(self, features: Tensor) -> None:
        """A point states no uncertainty."""
        return None

    def unit_mean(self, features: Tensor, prior: Prior) -> Tensor:
        """The point itself."""
        point = self.network(features).double()
        return prior.unit_mean(point, torch.zeros_like(point))


class Gaussian(nn.Module):
    r"""Normal distribution in the prior's unconstrained space, so that no mass lies outside the prior.

    .. math:: z \sim \mathcal N(\mu(h), L(h) L(h)^\top)

    Args:
        inputs: Number of features F.
        outputs: Number of parameters P.
        hidden: Widths of the hidden layers.
        covariance: "full" or "diagonal".
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (128,),
        covariance: Literal["full", "diagonal"] = "full",
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.covariance = inputs, outputs, list(hidden), covariance
        lower = outputs * (outputs - 1) // 2 if covariance == "full" else 0
        self.network = perceptron(inputs, self.hidden, 2 * outputs + lower)

    def _moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, P) and Cholesky factor (B, P, P), or standard deviation (B, P) if diagonal."""
        p = self.outputs
        mean, log_sd, lower = self.network(features).float().tensor_split([p, 2 * p], -1)
        if self.covariance == "diagonal":
            return mean, log_sd.clamp(*LOG_SD).exp()
        return mean, cholesky_factor(log_sd, lower)

    def embedding(self, features: Tensor) -> Tensor:
        """See Density."""
        return self.network[:-1](features)

    def posterior(self, features: Tensor) -> Distribution:
        """See Density."""
        mean, scale = self._moments(features)
        if self.covariance == "diagonal":
            return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
        return MultivariateNormal(mean, scale_tril=scale, validate_args=False)

    def pooled(self, features: Tensor) -> Pooled:
        """See Density."""
        mean, scale = (part.double() for part in self._moments(features))
        factor = torch.diag_embed(scale) if self.covariance == "diagonal" else scale
        return pool(mean, torch.cholesky_inverse(factor))

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
        """See Density; in closed form."""
        mean, scale = self._moments(features)
        variance = scale.square() if self.covariance == "diagonal" else scale.square().sum(-1)
        return prior.unit_mean(mean.double(), variance.double())
