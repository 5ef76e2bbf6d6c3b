"""The hidden drive integrated out: against sums over all paths, the exact autoregression, and simulated neurons."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import norm

from neuroinf.errors import InputError
from neuroinf.fits.latent_drive import _Problem, fit_latent_drive, hidden_drive, predictive_log_likelihood
from neuroinf.fits.latent_drive_kernel import FAMILIES, drive_chain

PAIRS = sorted(FAMILIES)


def log_density(y, eta, output, nonlinearity):
    rate = 1 / (1 + np.exp(-eta)) if nonlinearity == "logistic" else np.exp(eta)
    if output == "poisson":
        return y * np.log(rate) - rate - np.array([0.0, 0.0, np.log(2), np.log(6)])[int(y)]
    p = rate if nonlinearity == "logistic" else 1 - np.exp(-rate)
    return np.log(p) if y else np.log1p(-p)


@pytest.mark.parametrize("tau", [0.5, 3.0, 1e5])
@pytest.mark.parametrize("states", [2, 9, 31])
def test_the_chain_has_the_moments_of_the_autoregression(tau, states):
    values, transition, reach = drive_chain(tau, states)
    rho, n = np.exp(-1 / tau), states - 1
    stationary = np.array([np.exp(np.sum(np.log(np.arange(1, n + 1))) - np.sum(np.log(np.arange(1, k + 1)))
                                  - np.sum(np.log(np.arange(1, n - k + 1)))) for k in range(states)]) / 2.0**n  # fmt: skip
    assert np.allclose(transition.sum(1), 1)
    assert np.allclose(stationary @ transition, stationary)
    assert stationary @ values == pytest.approx(0, abs=1e-12) and stationary @ values**2 == pytest.approx(1)
    assert np.allclose(transition @ values, rho * values)
    assert np.allclose(transition @ values**2 - (rho * values) ** 2, 1 - rho**2)
    far = np.abs(np.subtract.outer(np.arange(states), np.arange(states))) > reach
    assert transition[far].max(initial=0) <= 1e-12


@pytest.mark.parametrize(("output", "nonlinearity"), PAIRS)
def test_likelihood_and_posterior_are_sums_over_all_paths(output, nonlinearity):
    y, eta, weight, tau, states = (
        np.array([1.0, 0.0, np.nan, 1.0, 0.0]),
        np.array([0.1, -0.4, 0.0, -1.0, 0.3]),
        0.8,
        2.0,
        4,
    )
    if output == "poisson":
        y[0], y[4] = 2.0, 3.0
    values, transition, _ = drive_chain(tau, states)
    first = np.array([1, 3, 3, 1]) / 8
    total, moment = np.zeros(len(y)), np.zeros((len(y), 2))
    for end in range(1, len(y) + 1):
        for path in itertools.product(range(states), repeat=end):
            p = first[path[0]] * np.prod([transition[a, b] for a, b in itertools.pairwise(path)])
            seen = [t for t in range(end) if np.isfinite(y[t])]
            p *= np.exp(sum(log_density(y[t], eta[t] + weight * values[path[t]], output, nonlinearity) for t in seen))
            total[end - 1] += p
            if end == len(y):
                h = values[list(path)]
                moment += p * np.stack([h, h**2], 1)
    ahead = predictive_log_likelihood(eta, y, weight, tau, nonlinearity, output, states)
    assert np.allclose(np.cumsum(ahead), np.log(total), atol=1e-10)
    assert ahead[2] == 0
    found = hidden_drive(eta, y, weight, tau, nonlinearity, output, states)
    mean, square = (moment / total[-1]).T
    assert np.allclose(found.mean, mean) and np.allclose(found.sd, np.sqrt(square - mean**2))


@pytest.mark.parametrize(("output", "nonlinearity"), PAIRS)
@pytest.mark.parametrize("tau", [0.4, 20.0])
def test_the_gradient_is_that_of_the_value(output, nonlinearity, tau):
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(200), rng.standard_normal((200, 2))])
    y = rng.integers(0, 2 if output == "bernoulli" else 4, 200).astype(float)
    y[50:90] = np.nan
    problem = _Problem.of(x, y, np.array([0.0, 0.5, 2.0]), nonlinearity, output, 15)
    theta = np.array([-0.7, 0.3, -0.2, 0.6, np.log(tau)])
    expected = approx_fprime(theta, lambda t: problem(t)[0], 1e-6)
    assert np.allclose(problem(theta)[1], expected, atol=2e-3)


@pytest.mark.parametrize(("output", "nonlinearity"), PAIRS)
def test_passing_unobserved_bins_in_one_step_changes_nothing(output, nonlinearity):
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(120), rng.standard_normal(120)])
    y = rng.integers(0, 2, 120).astype(float)
    y[:7] = y[30:60] = y[61] = y[110:] = np.nan
    theta = np.array([-0.7, 0.3, 0.6, np.log(20.0)])
    problem = _Problem.of(x, y, np.zeros(2), nonlinearity, output, 11)
    ahead = predictive_log_likelihood(x @ theta[:2], y, 0.6, 20.0, nonlinearity, output, 11)
    assert len(problem.gaps) == 3  # next to each other, across one bin and across 30
    assert problem(theta)[0] == pytest.approx(-ahead.sum(), abs=1e-9)


def test_a_white_drive_only_flattens_the_nonlinearity():
    # the chain's stationary law is binomial; with 61 states its expectations of a logistic are the normal's to 1e-3
    eta = np.linspace(-3, 1, 50)
    h, p = norm.ppf((np.arange(4000) + 0.5) / 4000), np.ones(50)
    ahead = predictive_log_likelihood(eta, p, 1.0, 1e-2, states=61)
    assert np.allclose(np.exp(ahead), (1 / (1 + np.exp(-eta[:, None] - h))).mean(1), rtol=2e-3)


def test_signs_are_one_neuron_and_no_weight_is_no_drive():
    rng = np.random.default_rng(0)
    eta, y = rng.standard_normal(300) - 1, rng.integers(0, 2, 300).astype(float)
    one, other = (predictive_log_likelihood(eta, y, w, 10.0) for w in (0.9, -0.9))
    assert np.allclose(one, other)
    plain = y * eta - np.logaddexp(0, eta)
    assert np.allclose(predictive_log_likelihood(eta, y, 0.0, 10.0), plain)


@pytest.mark.slow
def test_parameters_are_found_within_their_errors():
    # 20 neurons, 3 coefficients, weight and log tau: z-scores of 100 numbers. Their mean square is 1 with an sd of
    # sqrt(2 / 100) if all are independent; 2 is 7 sd off and allows for the errors of the Laplace approximation.
    rng, scores = np.random.default_rng(5), []
    for _ in range(20):
        h = np.empty(8000)
        h[0] = rng.standard_normal()
        rho = np.exp(-1 / 50.0)
        for t in range(1, len(h)):
            h[t] = rho * h[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal()
        x = np.column_stack([np.ones(len(h)), rng.standard_normal((len(h), 2))])
        truth = np.array([-2.0, 0.7, -0.4, 1.0, np.log(50.0)])
        y = (rng.random(len(h)) < 1 / (1 + np.exp(-x @ truth[:3] - h))).astype(float)
        found = fit_latent_drive(x, y, np.array([-2.0, 0.0, 0.0]), starts=(30.0,), intervals=True)
        assert found.converged
        estimate = np.concatenate([found.coefficients, [found.weight, np.log(found.tau)]])
        scores.append((estimate - truth) / np.sqrt(np.diag(found.covariance)))
    assert np.mean(np.square(scores)) < 2.0


def test_a_fit_predicts_new_time_better_than_the_same_neuron_without_its_drive():
    # Of 12 such neurons with the true parameters the drive was worth 476 nats on average, with an sd of 110, and its
    # squared correlation with the truth was 0.83, sd 0.02: the bounds are 3.8 and 6 sd off.
    rng, rho = np.random.default_rng(1), np.exp(-0.01)
    h = np.zeros(10_000)
    for t in range(1, len(h)):
        h[t] = rho * h[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal()
    y = (rng.random(len(h)) < 1 / (1 + np.exp(2.0 - 1.5 * h))).astype(float)
    x, seen = np.ones((len(h), 1)), np.where(np.arange(len(h)) < 5000, y, np.nan)
    found = fit_latent_drive(x, seen, np.array([-1.5]), starts=(30.0,))
    ahead = predictive_log_likelihood(x @ found.coefficients, y, found.weight, found.tau)[5000:]
    rate = y[:5000].mean()
    assert ahead.sum() > (y[5000:] * np.log(rate) + (1 - y[5000:]) * np.log1p(-rate)).sum() + 60
    drive = hidden_drive(x @ found.coefficients, y, found.weight, found.tau)
    assert np.corrcoef(drive.mean, h)[0, 1] ** 2 > 0.7


@pytest.mark.parametrize(
    ("eta", "count", "output", "part"),
    [
        ([0.0, 0.0], [0.0], "bernoulli", "one per bin"),
        ([0.0, np.nan], [0.0, 1.0], "bernoulli", "finite"),
        ([0.0, 0.0], [0.0, 2.0], "bernoulli", "0 or 1"),
        ([0.0, 0.0], [0.5, 2.0], "poisson", "whole numbers"),
    ],
)
def test_impossible_input_is_refused(eta, count, output, part):
    with pytest.raises(InputError, match=part):
        predictive_log_likelihood(eta, count, 1.0, 10.0, "logistic", output)


def test_a_recording_without_observed_bins_is_refused():
    with pytest.raises(InputError, match="at least one"):
        fit_latent_drive(np.ones((5, 1)), np.full(5, np.nan), np.zeros(1))


def test_a_start_beyond_the_limits_is_moved_to_them():
    y = np.random.default_rng(6).integers(0, 2, 40).astype(float)
    found = fit_latent_drive(np.ones((40, 1)), y, np.zeros(1), states=5, starts=(1e9,))
    assert 0.1 <= found.tau <= 10.0 + 1e-9
