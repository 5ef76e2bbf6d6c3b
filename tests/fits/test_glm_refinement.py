"""Modes, curvature and weighted samples of the exact posterior against autograd, integration and the truth."""

from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.fits.glm_curvature import Data
from neuroinf.fits.glm_design import design
from neuroinf.fits.glm_likelihood import GLMLikelihood, HiddenLaw
from neuroinf.fits.glm_refinement import Posterior, refine
from neuroinf.fits.glm_sampling import resample, reweigh
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLM

Output = Literal["rate", "bernoulli", "poisson"]
Nonlinearity = Literal["logistic", "exponential"]
FALSE_ALARM = 1e-4


def posterior(
    output: Output, nonlinearity: Nonlinearity, n: int, bins: int, inputs: int = 2, law: HiddenLaw | None = None
) -> tuple[Posterior, np.ndarray]:
    """n neurons of a prior with one hidden input, and their parameters."""
    simulator = GLM(inputs, 1, nonlinearity=nonlinearity, output=output)
    # not in the simulator's order
    prior = Prior({name: Parameter("1", -0.8, 0.8) for name in simulator.parameters[::-1]})
    rng = np.random.default_rng(1)
    theta = prior.sample(n, rng)
    x = rng.standard_normal((n, inputs + 1, bins))
    y = np.asarray(simulator.simulate(theta[:, ::-1], x, 1.0, seed=2)[next(iter(simulator.channels))])
    likelihood = GLMLikelihood(output, nonlinearity, law or HiddenLaw.gaussian())
    matrix = design(simulator, x[:, :inputs], y, 1.0)
    return Posterior(likelihood, prior, simulator.parameters, 1, matrix, y), theta


CASES: list[tuple[Output, Nonlinearity]] = [
    ("rate", "logistic"),
    ("bernoulli", "logistic"),
    ("bernoulli", "exponential"),
    ("poisson", "logistic"),
    ("poisson", "exponential"),
]


@pytest.mark.parametrize(("output", "nonlinearity"), CASES)
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_curvature_is_that_of_automatic_differentiation(
    output: Output, nonlinearity: Nonlinearity, hidden: int
) -> None:
    rng = np.random.default_rng(0)
    matrix = torch.from_numpy(rng.standard_normal((2, 3, 30)))
    y = torch.from_numpy(rng.random((2, 30)) if output == "rate" else (rng.random((2, 30)) < 0.4).astype(float))
    y[1, 4] = torch.nan
    theta = torch.from_numpy(0.4 * rng.standard_normal((2, 3 + hidden)))
    likelihood = GLMLikelihood(output, nonlinearity, HiddenLaw.gaussian(0.2, 1.1, 30), noise=0.3)
    data = Data(likelihood, matrix, y, hidden)

    def log_prob(theta: Tensor) -> Tensor:
        return likelihood.log_prob(theta[:, None], matrix, y).sum()

    found = data.expand(theta)
    gradient = torch.func.grad(log_prob)(theta)
    full = torch.func.hessian(log_prob)(theta)
    # two inputs are summed over one by one for the curvature, as their joint size for the likelihood: the sums' errors differ
    error = 3e-3 if hidden == 2 and nonlinearity == "exponential" else 1e-6
    torch.testing.assert_close(found.gradient, gradient, rtol=error, atol=error)
    torch.testing.assert_close(found.hessian, torch.stack([full[b, :, b] for b in range(2)]), rtol=error, atol=error)
    if output != "rate":  # a rate's density has its link's slope beside
        torch.testing.assert_close(found.value.sum(), log_prob(theta), rtol=error, atol=error)
    torch.testing.assert_close(data.value(theta[:, None])[:, 0], found.value, rtol=error, atol=error)


@pytest.mark.parametrize(("output", "nonlinearity"), CASES)
def test_the_mode_is_one_and_its_mirror_image_too(output: Output, nonlinearity: Nonlinearity) -> None:
    of, _ = posterior(output, nonlinearity, 6, 400)
    start = np.zeros((6, 1, 4))
    start[..., 0] = 0.3
    found = refine(of, start)
    assert found.settled.all()
    z = torch.from_numpy(found.z)
    for m in range(2):
        _, gradient, hessian = of.expand(z[:, m], of.data)
        # in posterior sds
        assert (gradient[:, None] @ torch.linalg.solve(hessian, gradient)[..., None]).abs().max() < 1e-6
        covariance = torch.linalg.inv(hessian)
        torch.testing.assert_close(torch.from_numpy(found.covariance[:, m]), covariance, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(found.log_posterior[:, 0], found.log_posterior[:, 1], rtol=1e-8)
    first, second = (of.prior.from_unconstrained(z[:, m]).numpy() for m in range(2))
    np.testing.assert_allclose(first[:, 1:], second[:, 1:], atol=1e-4)
    np.testing.assert_allclose(np.abs(first[:, 0]), np.abs(second[:, 0]), atol=1e-3)


def test_samples_have_the_moments_of_the_density() -> None:
    """One input and one hidden one: the posterior's moments on a grid of three parameters, to 4 standard errors."""
    of, _ = posterior("poisson", "exponential", 1, 60, inputs=1)
    edge = (np.arange(60) + 0.5) / 60
    u = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), -1).reshape(1, -1, 3)
    theta = of.prior.from_unit(u)
    log = of.log_likelihood(torch.from_numpy(theta)).numpy()[0]
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    # |w_hidden| first: the sign's mean is 0 by symmetry
    theta[..., 0] = np.abs(theta[..., 0])
    mean = weight @ theta[0]
    sd = np.sqrt(weight @ np.square(theta[0] - mean))

    found = resample(of, refine(of, np.full((1, 1, 3), 0.2)), 4000, np.random.default_rng(0))
    assert found.effective[0] > 300 and not found.doubtful.any()
    drawn = found.theta[0].copy()
    drawn[:, 0] = np.abs(drawn[:, 0])
    error = (drawn.mean(0) - mean) / (sd / np.sqrt(found.effective[0]))
    assert np.abs(error).max() < 4.5  # six z-scores: false alarm 4e-5
    np.testing.assert_allclose(drawn.std(0), sd, rtol=4.5 / np.sqrt(2 * found.effective[0]) + 0.02)

    prior_draws = of.prior.sample(20_000, np.random.default_rng(1))[None]
    again = reweigh(
        of, prior_draws, of.prior.log_prob(torch.from_numpy(prior_draws)).numpy(), 4000, np.random.default_rng(2)
    )
    value = again.theta[0].copy()
    value[:, 0] = np.abs(value[:, 0])
    error = (value.mean(0) - mean) / (sd / np.sqrt(again.effective[0]))
    assert np.abs(error).max() < 4.5


@pytest.mark.parametrize(("output", "nonlinearity"), [("rate", "logistic"), ("poisson", "exponential")])
def test_intervals_cover(output: Output, nonlinearity: Nonlinearity) -> None:
    """Of neurons of the prior, 90 % intervals hold the truth binomially often."""
    n = 100
    of, theta = posterior(output, nonlinearity, n, 100)
    start = np.zeros((n, 1, 4))
    start[..., 0] = 0.3
    found = resample(of, refine(of, start), 400, np.random.default_rng(3), draws=150)
    assert found.doubtful.mean() < 0.1
    low, high = binom.ppf([FALSE_ALARM / 8, 1 - FALSE_ALARM / 8], n, 0.9)
    for j in range(4):
        drawn, truth = found.theta[..., j], theta[:, j]
        if j == 0:
            drawn, truth = np.abs(drawn), np.abs(truth)
        edges = np.quantile(drawn, [0.05, 0.95], axis=1)
        assert low <= ((edges[0] <= truth) & (truth <= edges[1])).sum() <= high


def test_a_skewed_law_tells_the_sign_and_a_symmetric_one_does_not() -> None:
    simulator = GLM(1, 1, nonlinearity="exponential", output="poisson")
    prior = Prior({name: Parameter("1", -1.5, 1.5) for name in simulator.parameters})
    rng = np.random.default_rng(5)
    theta = np.array([[0.2, 0.5, 0.9], [0.2, 0.5, -0.9]])
    shares = {}
    for name, law, h in (
        ("poisson", HiddenLaw.poisson(1.0), rng.poisson(1.0, (2, 1, 2000)).astype(float)),
        ("gaussian", HiddenLaw.gaussian(), rng.standard_normal((2, 1, 2000))),
    ):
        x = np.concatenate((rng.standard_normal((2, 1, 2000)), h), axis=1)
        y = np.asarray(simulator.simulate(theta, x, 1.0, seed=3)["count"])
        likelihood = GLMLikelihood("poisson", "exponential", law)
        of = Posterior(likelihood, prior, simulator.parameters, 1, design(simulator, x[:, :1], y, 1.0), y)
        found = resample(of, refine(of, np.full((2, 1, 3), 0.3)), 400, rng, draws=200)
        shares[name] = (found.theta[..., 2] > 0).mean(1)
    assert shares["poisson"][0] > 0.99 and shares["poisson"][1] < 0.01
    assert (np.abs(shares["gaussian"] - 0.5) < 0.2).all()


def test_what_does_not_fit_together_is_refused() -> None:
    of, theta = posterior("bernoulli", "logistic", 2, 20)
    with pytest.raises(InputError, match="finite starts"):
        refine(of, theta)
    with pytest.raises(InputError, match="expected a prior over"):
        Posterior(of.data.likelihood, of.prior, ("w_1", "b"), 1, np.ones((1, 1, 5)), np.ones((1, 5)))
