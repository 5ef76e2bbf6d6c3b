"""The marginal likelihood against adaptive quadrature, its derivatives against autograd, and predictive scores."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm, poisson
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.fits.glm_likelihood import (
    GLMLikelihood,
    HiddenLaw,
    averaged,
    bits_per_bin,
    bits_per_spike,
    constant_rate,
)


def f64(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


Output = Literal["rate", "bernoulli", "poisson"]
Nonlinearity = Literal["logistic", "exponential"]
MODELS: list[tuple[Output, Nonlinearity]] = [
    ("bernoulli", "logistic"),
    ("bernoulli", "exponential"),
    ("poisson", "logistic"),
    ("poisson", "exponential"),
]


def mass(output: Output, nonlinearity: Nonlinearity, y: float, eta: float) -> float:
    """p(y | eta) by scipy."""
    rate = float(expit(eta) if nonlinearity == "logistic" else np.exp(eta))
    if output == "poisson":
        return float(poisson.pmf(y, rate))
    p = rate if nonlinearity == "logistic" else 1 - math.exp(-rate)
    return p if y else 1 - p


@pytest.mark.parametrize(("output", "nonlinearity"), MODELS)
@pytest.mark.parametrize(("weight", "order", "error"), [(0.3, 20, 1e-9), (-1.0, 30, 1e-8)])
def test_a_gaussian_hidden_input_is_integrated_out(
    output: Output, nonlinearity: Nonlinearity, weight: float, order: int, error: float
) -> None:
    law = GLMLikelihood(output, nonlinearity, HiddenLaw.gaussian(0.4, 1.2, order))
    counts = [0.0, 1.0] if output == "bernoulli" else [0.0, 1.0, 5.0, 30.0]
    for drive in (-2.0, 0.3, 1.0):
        found = law.log_prob(
            f64([[[drive, weight]]]),
            torch.ones(1, 1, len(counts)).double(),
            f64([counts]),
        )
        for y, value in zip(counts, found[0, 0], strict=True):
            exact, _ = quad(
                lambda h, y=y, d=drive: mass(output, nonlinearity, y, d + weight * h) * norm.pdf(h, 0.4, 1.2),
                -12,
                12,
                epsabs=1e-13,
                epsrel=1e-12,
                limit=200,
            )
            assert math.exp(value) == pytest.approx(exact, abs=error)


@pytest.mark.parametrize(("output", "nonlinearity"), MODELS)
def test_other_laws_are_sums_over_their_atoms(output: Output, nonlinearity: Nonlinearity) -> None:
    likelihood = GLMLikelihood(output, nonlinearity, HiddenLaw.poisson(1.0))
    theta, one = f64([[[-0.5, 0.4]]]), torch.ones(1, 1, 1).double()
    found = likelihood.log_prob(theta, one, one[0]).exp().item()
    expected = sum(poisson.pmf(k, 1.0) * mass(output, nonlinearity, 1.0, -0.5 + 0.4 * k) for k in range(40))
    assert found == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(("output", "nonlinearity"), [*MODELS, ("rate", "logistic")])
def test_derivatives_by_the_drive(output: Output, nonlinearity: Nonlinearity) -> None:
    likelihood = GLMLikelihood(output, nonlinearity, HiddenLaw.gaussian(), noise=0.7)
    eta = torch.linspace(-4, 3, 29).double().requires_grad_()
    for y in (0.0, 1.0):
        log, (first, second) = likelihood.given(f64(y), eta), likelihood.slopes(f64(y), eta)
        (slope,) = torch.autograd.grad(log.sum(), eta, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), eta)
        torch.testing.assert_close(first, slope, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(second, bend, rtol=1e-7, atol=1e-10)


def test_rates_have_the_density_of_a_transformed_normal() -> None:
    """A density of y in (0, 1): it integrates to 1, and agrees with the change of variables by hand."""
    likelihood = GLMLikelihood("rate", "logistic", HiddenLaw.gaussian(0.2, 1.5))
    theta = f64([[[0.3, -0.4]]])

    def density(y: float) -> float:
        return likelihood.log_prob(theta, torch.ones(1, 1, 1).double(), f64([[y]])).exp().item()

    assert quad(density, 1e-6, 1 - 1e-6)[0] == pytest.approx(1, abs=1e-6)
    h = (math.log(0.7 / 0.3) - 0.3) / -0.4
    assert density(0.7) == pytest.approx(norm.pdf(h, 0.2, 1.5) / 0.4 / (0.7 * 0.3), rel=1e-12)


def test_rates_with_noise_agree_between_the_closed_form_and_atoms() -> None:
    closed = GLMLikelihood("rate", "exponential", HiddenLaw.gaussian(), noise=0.5)
    nodes = HiddenLaw.gaussian(order=60)
    atoms = GLMLikelihood("rate", "exponential", HiddenLaw(nodes.atoms, nodes.weights), noise=0.5)
    theta, y = f64([[[0.1, 0.4]]]), f64([[0.3, 0.9, 2.5]])
    one = torch.ones(1, 1, 3).double()
    torch.testing.assert_close(closed.log_prob(theta, one, y), atoms.log_prob(theta, one, y), rtol=1e-7, atol=1e-7)


def test_two_hidden_inputs_are_one_of_the_joint_size() -> None:
    likelihood = GLMLikelihood("poisson", "exponential", HiddenLaw.gaussian())
    one, y = torch.ones(1, 1, 3).double(), f64([[0.0, 1.0, 4.0]])
    two = likelihood.log_prob(f64([[[0.1, 0.3, -0.4]]]), one, y)
    torch.testing.assert_close(two, likelihood.log_prob(f64([[[0.1, 0.5]]]), one, y))


def test_the_sign_of_a_symmetric_hidden_input_has_no_part_in_it() -> None:
    g = torch.Generator().manual_seed(0)
    design, y = torch.randn(2, 4, 50, generator=g).double(), torch.ones(2, 50).double()
    theta = torch.randn(2, 3, 5, generator=g).double()
    flipped = theta * torch.tensor([1.0, 1, 1, 1, -1])
    symmetric = GLMLikelihood("bernoulli", "logistic", HiddenLaw.gaussian())
    torch.testing.assert_close(symmetric.log_prob(theta, design, y), symmetric.log_prob(flipped, design, y))
    skewed = GLMLikelihood("bernoulli", "logistic", HiddenLaw.poisson())
    assert (skewed.log_prob(theta, design, y) - skewed.log_prob(flipped, design, y)).abs().max() > 1e-2


def test_pieces_known_hidden_inputs_and_bins_not_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(1)
    design, theta = torch.randn(2, 3, 40, generator=g).double(), torch.randn(2, 5, 4, generator=g).double()
    y = (torch.rand(2, 40, generator=g) < 0.5).double()
    likelihood = GLMLikelihood("bernoulli", "logistic", HiddenLaw.gaussian())
    whole = likelihood.log_prob(theta, design, y)
    monkeypatch.setattr("neuroinf.fits.glm_likelihood.AT_ONCE", 1000)
    torch.testing.assert_close(likelihood.log_prob(theta, design, y), whole)
    y[:, 7] = torch.nan
    assert (likelihood.log_prob(theta, design, y)[..., 7] == 0).all()
    hidden = torch.randn(2, 1, 40, generator=g).double()
    known = likelihood.log_prob(theta, design, y, hidden)
    joined = likelihood.log_prob(theta, torch.cat((design, hidden), 1), y)
    torch.testing.assert_close(known, joined)


def test_a_sample_stands_for_its_law() -> None:
    rng = np.random.default_rng(0)
    few = HiddenLaw.sample(rng.poisson(1.0, 5000).astype(np.float64))
    assert set(few.atoms.tolist()) <= set(range(12)) and few.weights.sum().item() == pytest.approx(1)
    values = rng.standard_normal(20000)
    many = HiddenLaw.sample(values)
    assert (many.atoms * many.weights).sum().item() == pytest.approx(values.mean(), abs=1e-12)
    # 64 parts keep all but the variance within them, about 0.5 % of it
    assert (many.atoms.square() * many.weights).sum().item() == pytest.approx(np.square(values).mean(), rel=0.01)


def test_predictive_scores() -> None:
    y = f64([[1.0, 0.0, 1.0, torch.nan]])
    log_prob = f64([[[0.5, 0.5, 0.5, 1.0], [0.25, 0.5, 0.75, 1.0]]]).log()
    mean = averaged(log_prob)
    torch.testing.assert_close(mean.exp(), f64([[0.375, 0.5, 0.625, 1.0]]))
    assert bits_per_bin(mean, y).item() == pytest.approx(np.log2([0.375, 0.5, 0.625]).mean())
    constant = constant_rate(f64([[1.0, 0.0, 0.0]]), y, "bernoulli")
    torch.testing.assert_close(constant.exp(), f64([[0.375, 0.625, 0.375, 1.0]]))
    gain = np.log2(0.375 * 0.5 * 0.625 / (0.375 * 0.625 * 0.375)) / 2
    assert bits_per_spike(mean, constant, y).item() == pytest.approx(gain)
    assert bits_per_spike(mean, constant, torch.zeros_like(y)).isnan().all()


def test_wrong_shapes_and_densities_that_do_not_exist() -> None:
    one, y = torch.ones(1, 1, 3).double(), torch.full((1, 3), 0.5).double()
    with pytest.raises(InputError, match="expected parameters"):
        GLMLikelihood("bernoulli", "logistic", HiddenLaw.gaussian()).log_prob(one, one[:, :, :2], y)
    theta = f64([[[0.1, 0.4]]])
    with pytest.raises(InputError, match="give noise"):
        GLMLikelihood("rate", "logistic", HiddenLaw.poisson()).log_prob(theta, one, y)
    with pytest.raises(InputError, match="give noise"):
        GLMLikelihood("rate", "logistic", HiddenLaw.gaussian()).log_prob(theta[..., :1], one, y)
