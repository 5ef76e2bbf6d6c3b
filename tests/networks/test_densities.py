"""Every density: right loss, gradient to every weight, starts at the prior, saves and loads."""

import math

import numpy as np
import pytest
import torch
import zuko
from scipy import integrate
from torch import nn

from neuroinf.networks import Flow, Gaussian, Mixture, Point
from neuroinf.networks.flow import FlowPosterior, Spline
from neuroinf.posterior import Posterior
from neuroinf.priors import Parameter, Prior

BOX = Prior({name: Parameter("1", 0.0, 1.0) for name in "abc"})
DENSITIES = [
    lambda f, p: Point(f, p, [16]),
    lambda f, p: Gaussian(f, p, [16], "diagonal"),
    lambda f, p: Gaussian(f, p, [16], "full"),
    lambda f, p: Mixture(f, p, [16], components=3),
    lambda f, p: Flow(f, p, [16], context=8, spline_hidden=[16]),
    lambda f, p: Flow(f, p, [16], context=8, spline_hidden=[16], couplings=False),
]
NAMES = ["point", "diagonal", "full", "mixture", "couplings", "autoregressive"]
EVERY = pytest.mark.parametrize("make", DENSITIES, ids=NAMES)
UNCERTAIN = pytest.mark.parametrize("make", DENSITIES[1:], ids=NAMES[1:])
NORMAL = pytest.mark.parametrize("make", DENSITIES[1:3], ids=NAMES[1:3])
FLOWS = pytest.mark.parametrize("make", DENSITIES[4:], ids=NAMES[4:])


def _perturbed(make, features: int, parameters: int) -> nn.Module:
    torch.manual_seed(0)
    density = make(features, parameters)
    with torch.no_grad():
        for p in density.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return density


def _narrowed(density: nn.Module) -> nn.Module:
    """A third or less of the prior's width in every direction, for two parameters, or three components of two."""
    with torch.no_grad():
        last = density.network[-1]
        last.weight.mul_(0.1)
        log_sd = last.bias.view(3, -1)[:, 3:5] if isinstance(density, Mixture) else last.bias[2:4]
        log_sd.fill_(-2.0)
    return density


@EVERY
def test_every_weight_gets_a_gradient(make) -> None:
    density = _perturbed(make, 5, 3)
    density.loss(torch.randn(64, 5), torch.randn(64, 3)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in density.parameters())


@pytest.mark.parametrize("make", [*DENSITIES[1:3], *DENSITIES[4:]], ids=[*NAMES[1:3], *NAMES[4:]])
def test_training_starts_at_the_prior(make) -> None:
    density, z = make(5, 3), torch.randn(32, 3)
    torch.testing.assert_close(density.loss(torch.randn(32, 5), z), density.floor(z))
    torch.testing.assert_close(density.unit_mean(torch.randn(4, 5), BOX).float(), torch.full((4, 3), 0.5))


@UNCERTAIN
@pytest.mark.parametrize("dimensions", [1, 2])
def test_integrates_to_one(make, dimensions: int) -> None:
    """exp(-loss) over the line and the plane, by quadrature independent of torch's distributions."""
    density, features = _perturbed(make, 4, dimensions), torch.randn(1, 4)
    axis = torch.linspace(-12, 12, 401)
    z = torch.stack(torch.meshgrid(*[axis] * dimensions, indexing="ij"), -1).reshape(-1, dimensions)
    with torch.no_grad():
        values = (-density.loss(features.expand(len(z), -1), z)).exp().double().numpy().reshape([401] * dimensions)
    for _ in range(dimensions):
        values = integrate.trapezoid(values, dx=float(axis[1] - axis[0]))
    assert abs(values - 1) < 2e-3


@UNCERTAIN
def test_density_in_the_parameters_own_units_integrates_to_one_over_the_prior(make) -> None:
    """One linear and one logarithmic parameter: no mass is lost at the ends, none lies outside."""
    prior = Prior({"a": Parameter("mV", -80.0, -50.0), "b": Parameter("ms", 2.0, 50.0, "log")})
    posterior = Posterior(prior, _narrowed(_perturbed(make, 4, 2)), torch.randn(1, 4), [])
    a = np.linspace(-80, -50, 402)[1:-1]
    log_b = np.linspace(np.log(2), np.log(50), 402)[1:-1]
    theta = np.stack(np.meshgrid(a, np.exp(log_b), indexing="ij"), -1)
    values = np.exp(posterior.log_prob(theta)) * theta[..., 1]  # db = b dlog b
    total = integrate.trapezoid(integrate.trapezoid(values, log_b), a)
    assert abs(total - 1) < 5e-3
    samples = posterior.sample(5000)
    assert (samples >= prior.low).all() and (samples <= prior.high).all()
    assert posterior.log_prob([-90.0, 10.0]) == -math.inf


@UNCERTAIN
def test_samples_follow_the_density(make) -> None:
    """The mean of u^2 under samples and by quadrature agree within 4.4 standard errors (false-alarm rate 1e-5)."""
    density, features = _perturbed(make, 4, 1), torch.randn(1, 4)
    axis = torch.linspace(-12, 12, 4801)[:, None]
    with torch.no_grad():
        weight = (-density.loss(features.expand(len(axis), -1), axis)).exp()
        expected = float((torch.special.ndtr(axis[:, 0]) ** 2 * weight).sum() / weight.sum())
        value = torch.special.ndtr(density.posterior(features).sample(torch.Size([40_000]))[:, 0, 0]) ** 2
    assert abs(float(value.mean()) - expected) < 4.4 * float(value.std()) / 200 + 1e-5


@UNCERTAIN
def test_unit_mean_agrees_with_samples(make) -> None:
    """E[Phi(z)] within 4.4 standard errors (false-alarm rate 1e-5 for each of 9 values), and a tenth of the
    posterior's sd for a flow, whose mean is that of 32 draws."""
    density, features = _perturbed(make, 4, 3), torch.randn(3, 4)
    with torch.no_grad():
        u = torch.special.ndtr(density.posterior(features).sample(torch.Size([20_000])))
        allowed = 4.4 * u.std(0) / math.sqrt(20_000) + (0.1 * u.std(0) if isinstance(density, Flow) else 0.0)
        error = (u.mean(0) - density.unit_mean(features, BOX)).abs()
    assert (error < allowed).all()


@FLOWS
def test_log_determinant_is_that_of_the_inverse(make) -> None:
    """log q(z) = log N(e) - log |dz/de|, with the Jacobian by automatic differentiation of the sampling path."""
    density, features = _perturbed(make, 4, 3).double(), torch.randn(1, 4).double()
    posterior = density.posterior(features)
    posterior = FlowPosterior(posterior.location.double(), posterior.factor.double(), posterior.residual)
    for e in torch.randn(5, 3).double():
        jacobian = torch.autograd.functional.jacobian(lambda point: posterior.push(point[None])[0, 0], e)
        z = posterior.push(e[None])
        expected = -0.5 * (e.square() + math.log(2 * math.pi)).sum() - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(posterior.log_prob(z)[0, 0], expected, rtol=1e-5, atol=1e-5)


def test_spline_is_zukos() -> None:
    """Values, inverse and log-determinant, inside the knots and beyond."""
    torch.manual_seed(0)
    shapes, x = [torch.randn(200, k) * 3 for k in (8, 8, 7)], torch.linspace(-6, 6, 200)
    ours, theirs = Spline(*shapes), zuko.transforms.MonotonicRQSTransform(*shapes)
    torch.testing.assert_close(ours.call_and_ladj(x), theirs.call_and_ladj(x), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.inv(x), theirs.inv(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("make", DENSITIES[3:], ids=NAMES[3:])
def test_learns_what_a_gaussian_cannot(make) -> None:
    """A ring in z: the loss comes closer to the entropy than the best Gaussian's by half of what there is to gain."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(2000, generator=generator)
    radius = 1.5 + 0.2 * torch.randn(2000, generator=generator)
    z = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    covariance = torch.cov(z.T)
    gaussian = float(0.5 * torch.logdet(2 * math.pi * math.e * covariance))
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.04) + math.log(2 * math.pi) + math.log(1.5)
    torch.manual_seed(0)
    density, features = make(1, 2), torch.zeros(500, 1)
    optimizer = torch.optim.Adam(density.parameters(), 1e-2)
    for step in range(200):
        optimizer.zero_grad()
        density.loss(features, z[step % 3 * 500 : step % 3 * 500 + 500]).mean().backward()
        optimizer.step()
    with torch.no_grad():
        reached = float(density.loss(features, z[1500:]).mean())
    assert reached < (gaussian + entropy) / 2


@pytest.mark.parametrize("make", DENSITIES[3:], ids=NAMES[3:])
def test_pooling_takes_the_moments(make) -> None:
    """One piece alone keeps its mean and covariance: 4.4 standard errors, and the flow's 1024 quasi-random draws."""
    # narrow, because a direction in which a piece says less than the prior is left out
    density, features = _narrowed(_perturbed(make, 4, 2)), torch.randn(1, 4)
    with torch.no_grad():
        draws = density.posterior(features).sample(torch.Size([20_000]))[:, 0]
        pooled = density.pooled(features).distribution
    error = (pooled.mean[0].float() - draws.mean(0)).abs()
    assert (error < (4.4 / math.sqrt(20_000) + 0.02) * draws.std(0)).all()
    torch.testing.assert_close(pooled.covariance_matrix[0].float(), torch.cov(draws.T), rtol=0.1, atol=2e-3)


@EVERY
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


@NORMAL
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
