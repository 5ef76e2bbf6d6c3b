"""The Gaussian nearest to a posterior: stationary by quadrature of its own, close to the posterior, for any statistics."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.networks.variational_statistics import VariationalStatistics
from neuroinf.priors import GaussianPrior, Parameter, Prior
from neuroinf.simulators import GLM
from neuroinf.simulators.bases import Taps
from neuroinf.specification import specify

STIMULUS = np.random.default_rng(3).standard_normal((1, 40))
# names in another order than the design's columns, a mean, and correlations
PRIOR = GaussianPrior(["w_1_2", "b", "w_1_1"], [0.3, -0.5, 0.1], [[1.0, 0.2, 0.4], [0.2, 2.0, 0.0], [0.4, 0.0, 1.5]])


def encoder() -> VariationalStatistics:
    return VariationalStatistics(1, STIMULUS.tolist(), taps=2, prior=PRIOR)


def neuron(**changes: Any) -> GLM:
    given: dict[str, Any] = {"filters": Taps(2), "nonlinearity": "logistic", "output": "bernoulli"} | changes
    return GLM(inputs=1, hidden=0, **given)


def drawn(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """z (n, 3) of the prior and counts (n, 1, 40)."""
    rng = np.random.default_rng(seed)
    z = torch.from_numpy(rng.standard_normal((n, 3)))
    theta = PRIOR.from_unconstrained(z).numpy()
    drive = theta[:, [1, 2, 0]] @ encoder().design.numpy().T
    return z, torch.from_numpy(rng.random(drive.shape) < expit(drive)).float()[:, None]


def test_the_gaussian_is_stationary() -> None:
    """m = L0' s - A' E[rate] and the precision's equation, with expectations by adaptive quadrature, in natural units."""
    made = encoder()
    _, counts = drawn(4)
    s = made.statistics(counts)
    means, covariances = (part.numpy() for part in made.nearest_gaussian(s))
    columns, factor = made.design.numpy()[:, [2, 0, 1]], PRIOR.factor
    for row in range(4):
        centre = columns @ (PRIOR.mean + factor @ means[row])
        sd = np.sqrt(np.einsum("tp,pq,tq->t", columns @ factor, covariances[row], columns @ factor))

        def expected(power: int, c: float, v: float) -> float:
            """Of the rate (0) or its slope (1)."""
            return quad(lambda e: expit(c + v * e) * expit(-c - v * e) ** power * norm.pdf(e), -9, 9)[0]

        rate, slope = (np.array([expected(k, c, v) for c, v in zip(centre, sd, strict=True)]) for k in (0, 1))
        natural = s[row].numpy()[[2, 0, 1]]
        # rounding up what five nodes and the last step leave, summed over 40 bins
        np.testing.assert_allclose(means[row], factor.T @ (natural - columns.T @ rate), atol=0.03)
        curvature = (columns @ factor).T @ (slope[:, None] * (columns @ factor)) + np.eye(3)
        np.testing.assert_allclose(np.linalg.inv(covariances[row]), curvature, rtol=0.03, atol=0.05)


def test_true_parameters_lie_at_the_distance_it_says() -> None:
    """Over 4,000 draws r = L^-1 (z - m) has mean 0, which for the exact posterior is so, and nearly unit variance.

    Standard error of a mean 0.016, of a variance 0.022 (normal), times 3.9 for 1e-4; the variational Gaussian is narrower than
    the posterior by a few percent, for which there is 0.1.
    """
    made = encoder()
    z, counts = drawn(4000, 1)
    means, covariances = made.nearest_gaussian(made.statistics(counts))
    apart = torch.linalg.solve_triangular(torch.linalg.cholesky(covariances), (z - means)[..., None], upper=False)
    r = apart[..., 0].numpy()
    assert np.abs(r.mean(axis=0)).max() < 4.3 * 0.016
    assert np.abs(r.var(axis=0) - 1).max() < 0.1 + 3.9 * 0.03


def test_features_hold_mean_and_factor_and_statistics_stand_for_counts() -> None:
    made = encoder()
    _, counts = drawn(5)
    features = made(counts)
    assert features.shape == (5, made.features)
    means, covariances = made.nearest_gaussian(made.statistics(counts))
    torch.testing.assert_close(features[:, :3], means.float())
    factor = torch.zeros(5, 3, 3)
    row, column = torch.tril_indices(3, 3)
    factor[:, row, column] = features[:, 3:9]
    torch.testing.assert_close(factor @ factor.mT, covariances.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.from_statistics(made.statistics(counts)), features)


def test_impossible_statistics_still_have_an_answer() -> None:
    """Sums that no spike train has: finite features, and the mean goes their way."""
    wild = 1e4 * torch.from_numpy(np.random.default_rng(2).standard_normal((20, 3)))
    assert encoder().from_statistics(wild).isfinite().all()


def test_made_again_from_its_specification() -> None:
    made = encoder()
    again = build(specify(made), torch.nn.Module)
    again.load_state_dict(made.state_dict())
    _, counts = drawn(3)
    torch.testing.assert_close(again(counts), made(counts))


def test_told_the_model() -> None:
    made = VariationalStatistics(1, STIMULUS.tolist(), taps=2)
    made.told(PRIOR, neuron(), 1.0)
    _, counts = drawn(3)
    torch.testing.assert_close(made(counts), encoder()(counts))
    for other in (neuron(output="rate"), neuron(nonlinearity="exponential", output="poisson"), None):
        with pytest.raises(InputError, match="bernoulli"):
            made.told(PRIOR, other, 1.0)
    for prior in (
        GaussianPrior(["b", "w_1_1"], precision=np.eye(2).tolist()),
        Prior({name: Parameter("1", -1.0, 1.0) for name in PRIOR.names}),
    ):
        with pytest.raises(InputError, match="Gaussian prior of b and w_1_1 to w_1_2"):
            made.told(prior, neuron(), 1.0)
