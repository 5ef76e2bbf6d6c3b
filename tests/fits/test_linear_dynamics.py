"""The Kalman smoother against one dense Gaussian over all bins; its likelihood against statsmodels; the fit against the truth."""

import numpy as np
import pytest
from linear_systems import D, K, latents, system
from scipy.stats import multivariate_normal
from statsmodels.tsa.statespace.mlemodel import MLEModel

from neuroinf.datasets.populations import population
from neuroinf.fits.linear_dynamics import LinearSystem, fit_lds, log_likelihood, smoothed, standardised, step

T = 9


def drawn(s: LinearSystem, bins: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = latents(s, bins, rng)
    return z, s.offset + z @ s.loadings.T + np.sqrt(s.private) * rng.standard_normal((bins, len(s.private)))


def dense(s: LinearSystem, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of all latents (T D, T D), and loadings of all bins (T K, T D)."""
    size = len(s.transition)
    covariance = np.zeros((bins * size, bins * size))
    marginal = s.initial
    for t in range(bins):
        block = marginal
        for u in range(t, bins):
            covariance[u * size : (u + 1) * size, t * size : (t + 1) * size] = block
            covariance[t * size : (t + 1) * size, u * size : (u + 1) * size] = block.T
            block = s.transition @ block
        marginal = s.transition @ marginal @ s.transition.T + s.noise
    return covariance, np.kron(np.eye(bins), s.loadings)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_smoother_is_dense_conditioning(share: float) -> None:
    s = system()
    x, seen = drawn(s, T, 1)[1], np.random.default_rng(2).random((T, K)) < share
    if 0 < share < 1:
        seen[4] = False
    covariance, loadings = dense(s, T)
    o = seen.ravel()
    c = loadings[o]
    total = c @ covariance @ c.T + np.diag(np.tile(s.private, T)[o])
    gain = covariance @ c.T @ np.linalg.inv(total) if o.any() else np.zeros((T * D, 0))
    mean = gain @ (x - s.offset).ravel()[o]
    posterior = covariance - gain @ c @ covariance
    z, v = smoothed(s, x, seen)
    np.testing.assert_allclose(z.ravel(), mean, rtol=1e-9, atol=1e-10)
    for t in range(T):
        np.testing.assert_allclose(v[t], posterior[t * D : (t + 1) * D, t * D : (t + 1) * D], rtol=1e-9, atol=1e-10)
    expected = multivariate_normal(np.zeros(len(total)), total).logpdf((x - s.offset).ravel()[o]) if o.any() else 0.0
    assert log_likelihood(s, x, seen) == pytest.approx(expected, rel=1e-10, abs=1e-9)


def test_likelihood_is_statsmodels() -> None:
    s = system(3)
    x, seen = drawn(s, 200, 4)[1], np.random.default_rng(5).random((200, K)) < 0.7
    other = MLEModel(np.where(seen, x, np.nan), k_states=D, k_posdef=D)
    other["design"], other["transition"], other["selection"] = s.loadings, s.transition, np.eye(D)
    other["obs_intercept"], other["obs_cov"], other["state_cov"] = s.offset[:, None], np.diag(s.private), s.noise
    other.initialize_known(np.zeros(D), s.initial)
    assert log_likelihood(s, x, seen) == pytest.approx(other.loglike(()), rel=1e-9)


def test_settled_covariances_are_those_of_the_full_recursion() -> None:
    s = system(1)
    x = drawn(s, 400, 2)[1]
    everything = np.ones(x.shape, bool)
    odd = everything.copy()
    odd[-1, 0] = False  # masks that differ make the recursion run to the end
    z, v = smoothed(s, x, everything)
    other_z, other_v = smoothed(s, x, odd)
    np.testing.assert_allclose(z[:300], other_z[:300], atol=1e-9)
    np.testing.assert_allclose(v[:300], other_v[:300], atol=1e-10)


def test_every_step_climbs_the_likelihood() -> None:
    truth = system(2)
    sequences = [drawn(truth, bins, seed)[1] for seed, bins in enumerate((120, 80, 120))]
    at, least, values = system(7), np.full(K, 1e-6), []
    for _ in range(15):
        after, likelihood = step(at, sequences, least)
        direct = sum(log_likelihood(at, x, np.ones(x.shape, bool)) for x in sequences)
        assert likelihood == pytest.approx(direct, rel=1e-10)
        values.append(likelihood)
        at = after
    assert (np.diff(values) > -1e-6).all() and values[-1] > values[0] + 10


def test_standardised_system_is_the_same_process() -> None:
    s = system(4)
    new = standardised(s)
    np.testing.assert_allclose(
        new.transition @ new.transition.T + new.noise, np.eye(D), atol=1e-10
    )  # stationary covariance I
    for lag in range(4):
        stationary = np.linalg.solve(np.eye(D * D) - np.kron(s.transition, s.transition), s.noise.ravel()).reshape(D, D)
        old = s.loadings @ np.linalg.matrix_power(s.transition, lag) @ stationary @ s.loadings.T
        np.testing.assert_allclose(
            new.loadings @ np.linalg.matrix_power(new.transition, lag) @ new.loadings.T, old, atol=1e-9
        )


def test_fit_is_as_good_as_the_truth() -> None:
    truth = standardised(system(5, neurons=20, dimension=3))
    x, held = drawn(truth, 2000, 6)[1], drawn(truth, 2000, 7)[1]
    model = fit_lds(population(x, 10.0, "trace"), 3)
    seen = np.ones(held.shape, bool)
    held = held.astype(np.float32).astype(float)
    best, found = log_likelihood(truth, held, seen), log_likelihood(model.system, held, seen)
    # the maximum likelihood's held-out deficit is near chi2_p / 2 plus a score of variance p, for p = 20 * 5 + 9 + 6 - 9 free
    # numbers: mean p / 2, 4 sd of sqrt(p) each way, and as much again for a rule that stops early
    p = 106
    assert found > best - 2 * (p / 2 + 4 * np.sqrt(p))
    worse = fit_lds(population(x, 10.0, "trace"), 2)
    assert log_likelihood(worse.system, held, seen) < best - 2 * (p / 2 + 4 * np.sqrt(p))


def test_forecast_and_hidden_neurons() -> None:
    truth = standardised(system(6, neurons=20, dimension=3))
    z, x = drawn(truth, 1500, 8)
    model = fit_lds(population(x, 10.0, "trace"), 3)
    state = np.eye(3)
    np.testing.assert_allclose(
        model.forecast(state, 3)[:, 2], state @ np.linalg.matrix_power(model.system.transition, 3).T, atol=1e-5
    )
    seen = np.ones(x.shape, bool)
    seen[:, :5] = False
    x_hidden = x.copy()
    x_hidden[~seen] = np.nan
    rates = model.infer(x_hidden, seen).rates[:, :5]
    clean = (truth.offset + z @ truth.loadings.T)[:, :5]
    assert 1 - ((rates - clean) ** 2).sum() / ((clean - clean.mean(0)) ** 2).sum() > 0.8
