"""A mixture of Gaussians over the parameters, in the prior's unconstrained space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal

from neuroinf.networks.agreement import Pooled, pool
from neuroinf.networks.densities import cholesky_factor, perceptron, prior_loss
from neuroinf.priors import Prior

APART = 0.3  # spread of the components' first means, of the prior's sd: equal ones would stay equal


class Mixture(nn.Module):
    r"""K Gaussians with full covariances: for posteriors with several peaks, or with a shoulder.

    .. math:: z \sim \sum_k w_k(h)\, \mathcal N(\mu_k(h), L_k(h) L_k(h)^\top)

    Args:
        inputs: Number of features F.
        outputs: Number of parameters P.
        hidden: Widths of the hidden layers.
        components: K.

    Source:
        Bishop 1994, Mixture density networks, Aston University NCRG/94/004.
    """

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int] = (128,), components: int = 4) -> None:
        super().__init__()
        self.inputs, self.outputs, self.hidden, self.components = inputs, outputs, list(hidden), components
        self.size = 1 + 2 * outputs + outputs * (outputs - 1) // 2
        self.network = perceptron(inputs, self.hidden, components * self.size)
        last = self.network[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.view(components, self.size)[:, 1 : 1 + outputs].normal_(0.0, APART)

    def _components(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (B, K), means (B, K, P) and Cholesky factors (B, K, P, P)."""
        p = self.outputs
        raw = self.network(features).float().unflatten(-1, (self.components, self.size))
        weight, mean, log_sd, lower = raw.tensor_split([1, 1 + p, 1 + 2 * p], -1)
        return weight[..., 0].log_softmax(-1), mean, cholesky_factor(log_sd, lower)

    def embedding(self, features: Tensor) -> Tensor:
        """See Density."""
        return self.network[:-1](features)

    def posterior(self, features: Tensor) -> Distribution:
        """See Density."""
        weight, mean, factor = self._components(features)
        return MixtureSameFamily(
            Categorical(logits=weight, validate_args=False),
            MultivariateNormal(mean, scale_tril=factor, validate_args=False),
            validate_args=False,
        )

    def pooled(self, features: Tensor) -> Pooled:
        """See Density; each piece is taken as the Gaussian of its mean and covariance."""
        weight, mean, factor = (part.double() for part in self._components(features))
        weight = weight.exp()[..., None]
        centre = (weight * mean).sum(1)
        apart = (mean - centre[:, None])[..., None]
        covariance = (weight[..., None] * (factor @ factor.mT + apart @ apart.mT)).sum(1)
        return pool(centre, torch.linalg.inv(covariance))

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        """Negative log density of z."""
        return -self.posterior(features).log_prob(z)

    def floor(self, z: Tensor) -> Tensor:
        """Negative log density under the prior."""
        return prior_loss(z)

    def unit_mean(self, features: Tensor, prior: Prior) -> Tensor:
        """See Density; in closed form."""
        weight, mean, factor = (part.double() for part in self._components(features))
        each = prior.unit_mean(mean.flatten(0, 1), factor.square().sum(-1).flatten(0, 1)).unflatten(0, mean.shape[:2])
        return (weight.exp()[..., None] * each).sum(1)
