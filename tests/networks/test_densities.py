"""Every density: right loss, gradient to every weight, starts at the prior, saves and loads."""

import math

import pytest
import torch
from scipy import integrate
from torch import nn

from neuroinf.networks.densities import Gaussian, Point
from neuroinf.priors import Parameter, Prior

BOX = Prior({name: Parameter("1", 0.0, 1.0) for name in "abc"})
DENSITIES = [
    lambda f, p: Point(f, p, [16]),
    lambda f, p: Gaussian(f, p, [16], "diagonal"),
    lambda f, p: Gaussian(f, p, [16], "full"),
]


def _perturbed(make, features: int, parameters: int) -> nn.Module:
    torch.manual_seed(0)
    density = make(features, parameters)
    with torch.no_grad():
        for p in density.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return density


@pytest.mark.parametrize("make", DENSITIES)
def test_every_weight_gets_a_gradient(make) -> None:
    density = _perturbed(make, 5, 3)
    density.loss(torch.randn(64, 5), torch.randn(64, 3)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in density.parameters())


@pytest.mark.parametrize("make", DENSITIES[1:])
def test_training_starts_at_the_prior(make) -> None:
    density, z = make(5, 3), torch.randn(32, 3)
    torch.testing.assert_close(density.loss(torch.randn(32, 5), z), density.floor(z))
    torch.testing.assert_close(density.unit_mean(torch.randn(4, 5), BOX).float(), torch.full((4, 3), 0.5))


@pytest.mark.parametrize("make", DENSITIES[1:])
def test_integrates_to_one(make) -> None:
    """exp(-loss) over the plane, by quadrature independent of torch's distributions."""
    density, features = _perturbed(make, 4, 2), torch.randn(1, 4)
    grid = torch.linspace(-12, 12, 801)
    z = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        values = (-density.loss(features.expand(len(z), -1), z)).exp().reshape(801, 801).double().numpy()
    step = float(grid[1] - grid[0])
    assert abs(integrate.trapezoid(integrate.trapezoid(values, dx=step), dx=step) - 1) < 1e-3


@pytest.mark.parametrize("make", DENSITIES[1:])
def test_unit_mean_agrees_with_samples(make) -> None:
    """E[Phi(z)] within 4.4 standard errors (false-alarm rate 1e-5 for each of 9 values)."""
    density, features = _perturbed(make, 4, 3), torch.randn(3, 4)
    with torch.no_grad():
        u = torch.special.ndtr(density.posterior(features).sample(torch.Size([20_000])))
        error = (u.mean(0) - density.unit_mean(features, BOX)).abs() / (u.std(0) / math.sqrt(20_000))
    assert (error < 4.4).all()


@pytest.mark.parametrize("make", DENSITIES)
def test_save_and_load_agree(make) -> None:
    density, other = _perturbed(make, 4, 2), make(4, 2)
    other.load_state_dict(density.state_dict())
    features, z = torch.randn(8, 4), torch.randn(8, 2)
    torch.testing.assert_close(density.loss(features, z), other.loss(features, z))


def test_full_covariance_is_the_stated_one() -> None:
    """Loss equals the closed-form Gaussian with the factor's own covariance."""
    density, features, z = _perturbed(DENSITIES[2], 4, 3), torch.randn(5, 4), torch.randn(5, 3)
    with torch.no_grad():
        mean, factor = density._moments(features)
        covariance = (factor @ factor.transpose(1, 2)).double()
        difference = (z - mean).double()
        expected = 0.5 * (
            torch.einsum("bi,bij,bj->b", difference, torch.linalg.inv(covariance), difference)
            + torch.logdet(covariance)
            + 3 * math.log(2 * math.pi)
        )
        torch.testing.assert_close(density.loss(features, z).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", DENSITIES[1:])
def test_pooling_sweeps_is_the_product(make) -> None:
    """Of two like sweeps in 1-D: log densities add up, less the prior's, up to a constant; one sweep is itself."""
    density, features = _perturbed(make, 4, 1), torch.randn(1, 4) + 0.01 * torch.randn(2, 4)
    with torch.no_grad():
        density.network[-1].bias[1] = -1.0  # precise enough that each says more than the prior
        z = torch.linspace(-3, 3, 61)[:, None]
        both = density.pooled(features).distribution.log_prob(z.double()[:, None])[:, 0]
        each = sum(density.posterior(features[i : i + 1]).log_prob(z[:, None])[:, 0].double() for i in range(2))
        difference = both - (each + 0.5 * z[:, 0].double().square())
        torch.testing.assert_close(difference, difference.mean().expand_as(difference), atol=1e-3, rtol=0)
        alone = density.pooled(features[:1]).distribution
        torch.testing.assert_close(alone.mean.float(), density.posterior(features[:1]).mean, atol=1e-4, rtol=1e-3)
