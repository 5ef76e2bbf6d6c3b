"""A flow around an anchor: its density, its sign, and what an anchor of a cut normal is."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.networks.anchored import AnchoredFlow, anchor_width
from neuroinf.networks.anchoring import anchor, half, half_log_slope, whole


def features(batch: int, parameters: int, signed: bool, others: int = 5, seed: int = 0) -> Tensor:
    """Anchors with random means and factors, the sign's features (its odds even, told by others), and other features."""
    generator = torch.Generator().manual_seed(seed)
    signs = 2 if signed else 1
    mean = 0.5 * torch.randn(batch, signs * parameters, generator=generator)
    lower = 0.2 * torch.randn(batch, signs, parameters, parameters, generator=generator).tril(-1)
    diagonal = 0.2 + 0.3 * torch.rand(batch, signs, parameters, generator=generator)
    row, column = torch.tril_indices(parameters, parameters)
    factor = (lower + torch.diag_embed(diagonal))[..., row, column].reshape(batch, -1)
    sign = torch.tensor([[0.0, 1.0]] if signed else [[]]).expand(batch, -1)
    return torch.cat([mean, factor, sign, torch.randn(batch, others, generator=generator)], 1)


def bent(parameters: int, signed: bool, seed: int = 1) -> AnchoredFlow:
    """A flow whose weights are not those of its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = AnchoredFlow(anchor_width(parameters, signed) + 5, parameters, (16,), signed)
        for weight in flow.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return flow.eval()


@pytest.mark.parametrize("signed", [False, True])
def test_density_integrates_to_one_and_is_that_of_the_samples(signed: bool) -> None:
    flow, given = bent(2, signed), features(1, 2, signed)
    posterior = flow.posterior(given)
    with torch.no_grad():
        edge = torch.linspace(-6, 6, 601)
        grid = torch.cartesian_prod(edge, edge)
        density = posterior.log_prob(grid[:, None])[:, 0].exp().reshape(601, 601)
        step = float(edge[1] - edge[0])
        assert abs(float(density.sum()) * step**2 - 1) < 0.02
        torch.manual_seed(0)
        drawn = posterior.sample(torch.Size([20_000]))[:, 0]
    # marginal of the last parameter, against the density summed over the first: Kolmogorov-Smirnov at a false-alarm rate of
    # 1e-4; the grid's own error is below a tenth of the bound
    cumulative = density.sum(0).cumsum(0) * step**2
    assert (
        stats.kstest(drawn[:, 1].numpy(), lambda v: np.interp(v, edge + step / 2, cumulative / cumulative[-1])).pvalue
        > 1e-4
    )


@pytest.mark.parametrize("signed", [False, True])
def test_loss_is_minus_the_log_density(signed: bool) -> None:
    flow, given = bent(3, signed), features(7, 3, signed)
    z = torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(flow.loss(given, z), -flow.posterior(given).log_prob(z), atol=1e-4)


def test_untrained_flow_is_the_anchor_with_an_even_sign() -> None:
    flow = AnchoredFlow(anchor_width(2, True) + 5, 2, (16,), signed=True)
    given = features(3, 2, True)
    posterior = flow.posterior(given)
    assert torch.allclose(posterior.positive, torch.full((3,), 0.5))
    e = torch.randn(4000, 2, generator=torch.Generator().manual_seed(3))
    plus, minus = posterior.pushed(e)
    mean = given[:, :4].reshape(3, 2, 2)
    for sign, drawn in enumerate((plus, minus)):
        assert torch.allclose(drawn[..., 0].mean(0), mean[:, sign, 0], atol=0.05)
        assert ((drawn[..., 1] > 0) == (sign == 0)).all()
        assert torch.allclose(half(drawn[..., 1]).float().mean(0), mean[:, sign, 1], atol=0.05)


def test_sign_is_drawn_with_its_probability() -> None:
    flow, given = bent(2, True), features(40, 2, True)
    with torch.no_grad():
        posterior = flow.posterior(given)
        torch.manual_seed(4)
        positive = (posterior.sample(torch.Size([2000]))[..., 1] > 0).double().mean(0)
    p = posterior.positive.double()
    # 40 binomials of 2,000: a false alarm in 1e-4 is 4.7 standard errors
    assert (abs(positive - p) < 4.7 * (p * (1 - p) / 2000).sqrt()).all()


def test_network_cannot_invent_a_sign_that_nothing_tells() -> None:
    flow, given = bent(2, True), features(30, 2, True)
    place = anchor_width(2, True) - 2
    given[:, place] = torch.linspace(-3, 3, 30)
    with torch.no_grad():
        told = flow.posterior(given).logit
        given[:, place + 1] = 0.0
        untold = flow.posterior(given).logit
        assert torch.allclose(untold, flow.odds.exp() * given[:, place])
        assert (abs(told - untold) > 1e-3).all()


def test_every_weight_has_a_gradient() -> None:
    flow, given = bent(3, True), features(16, 3, True)
    given[:, anchor_width(3, True) - 2] = 1.0
    flow.loss(given, torch.randn(16, 3, generator=torch.Generator().manual_seed(5))).mean().backward()
    without = [name for name, weight in flow.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_halving_keeps_the_standard_normal() -> None:
    z = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    z = z[z.abs() > 1e-6]
    zeta = half(z)
    assert torch.allclose(whole(zeta), z.abs(), rtol=1e-6)
    # |z| at its quantile q is zeta at its quantile q
    assert np.allclose(stats.norm.cdf(zeta), 2 * stats.norm.cdf(z.abs()) - 1, atol=1e-9)
    apart = 1e-4
    numeric = (half(z.abs() + apart) - half(z.abs() - apart)) / (2 * apart)
    inner = z.abs() > 0.05
    assert torch.allclose(numeric[inner].log(), half_log_slope(z, zeta)[inner], atol=1e-3)


@pytest.mark.parametrize("m", [-0.1, 0.0, 0.02, 0.4, 0.97, 1.2])
@pytest.mark.parametrize("s", [0.003, 0.05, 0.5, 20.0])
def test_anchor_has_the_quantiles_of_the_cut_normal(m: float, s: float) -> None:
    median, sd, inside = (float(v) for v in anchor(torch.tensor([m]), torch.tensor([s])))
    held = float(np.clip(m, -5 * s, 1 + 5 * s))
    law = stats.truncnorm(-held / s, (1 - held) / s, held, s)
    low, middle, high = stats.norm.ppf(law.ppf(stats.norm.cdf([-1, 0, 1])))
    assert abs(median - middle) < 2e-3 and abs(sd - (high - low) / 2) < 2e-3 * max(1.0, sd)
    chance = stats.norm.cdf((1 - held) / s) - stats.norm.cdf(-held / s)
    assert abs(inside - np.log(chance)) < 1e-4 * max(1.0, abs(np.log(chance)))


def test_an_estimate_that_says_nothing_leaves_the_prior() -> None:
    median, sd, _ = anchor(torch.tensor([0.3]), torch.tensor([1e9]))
    assert abs(float(median)) < 0.01 and abs(float(sd) - 1) < 0.01


def test_an_encoder_without_an_anchor_is_refused() -> None:
    with pytest.raises(InputError, match="anchor"):
        AnchoredFlow(9, 3)
