"""Correlated normal priors against scipy's, their coordinates against each other and autograd, and bad input."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from scipy import stats
from torch import Tensor

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.identification import sd_over_prior
from neuroinf.networks.densities import Gaussian
from neuroinf.priors import GaussianPrior, Prior, SmoothFilterPrior
from neuroinf.specification import specify

FALSE_ALARM = 1e-4
COVARIANCE = [[4.0, 1.2, 0.0], [1.2, 1.0, -0.3], [0.0, -0.3, 0.5]]
MEAN = [-70.0, 0.5, 2.0]


def mixed(**more: Any) -> GaussianPrior:
    return GaussianPrior(["El", "a", "b"], MEAN, units=["mV", "1", "1"], **(more or {"covariance": COVARIANCE}))


def task_precision() -> np.ndarray:
    """The task's precision, element by element from its definition: F = D D + diag(sqrt(k / 9)), offset variance 2."""
    taps = 9
    d = np.array([[1.0 if i == j else -1.0 if i == j + 1 else 0.0 for j in range(taps)] for i in range(taps)])
    f = d @ d + np.array([[math.sqrt(i / taps) if i == j else 0.0 for j in range(taps)] for i in range(taps)])
    full = np.zeros((10, 10))
    full[0, 0], full[1:, 1:] = 0.5, f.T @ f
    return full


PRIORS = [mixed(), mixed(precision=np.linalg.inv(COVARIANCE).tolist()), SmoothFilterPrior()]
IDS = ["covariance", "precision", "smooth"]


def law(prior: GaussianPrior) -> Any:
    if isinstance(prior, SmoothFilterPrior):
        return stats.multivariate_normal(np.zeros(10), np.linalg.inv(task_precision()))
    return stats.multivariate_normal(MEAN, COVARIANCE)


def points(prior: Prior, n: int = 200) -> Tensor:
    return torch.from_numpy(prior.sample(n, np.random.default_rng(1)))


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_density_is_scipy_s(prior: GaussianPrior) -> None:
    theta = points(prior)
    expected = law(prior).logpdf(theta.numpy())
    np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(prior.distribution.log_prob(theta), expected, rtol=1e-9, atol=1e-9)
    z = prior.to_unconstrained(theta)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(normal + prior.log_abs_det(theta), prior.log_prob(theta), rtol=0, atol=1e-10)


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_samples_are_of_that_law(prior: GaussianPrior) -> None:
    """Whitened by the law's own eigenvectors: standard normal columns, and a chi-squared sum that sees correlations."""
    theta = prior.sample(20_000, np.random.default_rng(0))
    values, vectors = np.linalg.eigh(law(prior).cov)
    white = (theta - law(prior).mean) @ vectors / np.sqrt(values)
    for column in white.T:
        assert stats.kstest(column, "norm").pvalue > FALSE_ALARM / white.shape[1]
    # largest of the P (P - 1) / 2 correlations of n rows: each normal with sd 1 / sqrt(n)
    r = np.corrcoef(white.T)[np.triu_indices(white.shape[1], 1)]
    assert np.abs(r).max() < stats.norm.isf(FALSE_ALARM / 2 / len(r)) / math.sqrt(len(theta))


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_coordinates_are_inverse_to_each_other(prior: GaussianPrior) -> None:
    theta = points(prior)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 3e-5)):
        part = theta.to(dtype)
        torch.testing.assert_close(
            prior.from_unconstrained(prior.to_unconstrained(part)), part, rtol=tolerance, atol=tolerance
        )
        torch.testing.assert_close(prior.from_unit(prior.to_unit(part)), part, rtol=tolerance, atol=tolerance)
    jacobian = torch.autograd.functional.jacobian(prior.to_unconstrained, theta[0])
    assert isinstance(jacobian, Tensor)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, prior.log_abs_det(theta[0]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_unit_interval_is_twelve_standard_deviations(prior: GaussianPrior) -> None:
    """u is affine with the stated moments, and so wide that clipping it to [0, 1] moves no posterior."""
    sd = np.sqrt(np.diag(law(prior).cov))
    np.testing.assert_allclose(prior.high - prior.low, 12 * sd, rtol=1e-9)
    mean, spread = prior.unit_moments
    np.testing.assert_allclose(prior.to_unit(law(prior).mean + np.zeros_like(sd)), mean, atol=1e-12)
    np.testing.assert_allclose(prior.to_unit(law(prior).mean + sd) - mean, spread, rtol=1e-9)
    beyond = prior.high + sd
    assert prior.inside(torch.from_numpy(beyond)) and prior.log_prob(torch.from_numpy(beyond)).isfinite()
    # of prior samples, the posterior is as wide as the prior: sd known to 1 / sqrt(2 n), the bound is 5 of those
    n = 50_000
    ratio = sd_over_prior(prior.sample(n, np.random.default_rng(2)), prior)
    np.testing.assert_allclose(ratio, 1.0, atol=5 / math.sqrt(2 * n))


def test_unit_mean_is_that_of_the_mean() -> None:
    """A Gaussian density's unit_mean is the mean of its samples on the unit scale, to 5 standard errors."""
    prior = mixed()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        density, features = Gaussian(2, 3, hidden=[]), torch.tensor([[0.3, -1.0]])
        torch.nn.init.normal_(density.network[-1].weight, std=0.5)  # type: ignore[arg-type]
        with torch.no_grad():
            z = density.posterior(features).sample(torch.Size([40_000]))[:, 0].double()
            mean = density.unit_mean(features, prior)[0]
    u = prior.to_unit(prior.from_unconstrained(z))
    assert ((u.mean(0) - mean).abs() < 5 * u.std(0) / math.sqrt(len(u))).all()


def test_smooth_filter_has_the_task_s_precision() -> None:
    prior = SmoothFilterPrior(taps=9, offset_variance=2.0)
    assert prior.names == ("b", *(f"w_1_{j}" for j in range(1, 10)))
    np.testing.assert_allclose(np.linalg.inv(prior.factor @ prior.factor.T), task_precision(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("prior", PRIORS, ids=IDS)
def test_plain_types_and_back(prior: GaussianPrior) -> None:
    again = Prior.from_dict(json.loads(json.dumps(prior.to_dict())))
    built = build(json.loads(json.dumps(specify(prior))), Prior)
    for other in (again, built):
        assert type(other) is type(prior) and other.names == prior.names and other.units == prior.units
        assert (other.row(0, np.random.default_rng(0)) == prior.row(0, np.random.default_rng(0))).all()
        assert other.to_dict() == prior.to_dict()


def test_named_in_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--prior", type=Prior)
    text = "{class_path: neuroinf.priors.GaussianPrior, init_args: {names: [a, b], covariance: [[4, 1], [1, 1]]}}"
    prior = parser.instantiate_classes(parser.parse_args(["--prior", text]))["prior"]
    assert isinstance(prior, GaussianPrior)
    np.testing.assert_allclose(prior.sd, [2.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"names": ["a", "a"], "covariance": [[1, 0], [0, 1]]}, "differ"),
        ({"names": ["a"], "covariance": [[1.0]], "precision": [[1.0]]}, "either"),
        ({"names": ["a"]}, "either"),
        ({"names": ["a", "b"], "covariance": [[1.0]]}, r"shape \(2, 2\)"),
        ({"names": ["a", "b"], "covariance": [[1.0, 2.0], [2.0]]}, r"shape \(2, 2\)"),
        ({"names": ["a", "b"], "covariance": [[1.0, 0.5], [0.4, 1.0]]}, "symmetric"),
        ({"names": ["a", "b"], "covariance": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite.*-1"),
        ({"names": ["a", "b"], "precision": [[1.0, 2.0], [2.0, 1.0]]}, "positive definite.*-1"),
        ({"names": ["a"], "covariance": [[math.nan]]}, "finite"),
        ({"names": ["a"], "mean": [math.inf], "covariance": [[1.0]]}, "mean.*finite"),
        ({"names": ["a"], "units": ["mV", "1"], "covariance": [[1.0]]}, "units"),
        ({"names": [], "covariance": np.zeros((0, 0))}, "at least one"),
    ],
)
def test_bad_input(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        GaussianPrior(**arguments)


@pytest.mark.parametrize("arguments", [{"taps": 0}, {"offset_variance": 0.0}, {"offset_variance": math.nan}])
def test_bad_smooth_filter(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        SmoothFilterPrior(**arguments)
