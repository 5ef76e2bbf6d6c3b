"""A linear system of counts: its smoother against dense matrices and against integration, its fit against the Gaussian one."""

from dataclasses import replace

import numpy as np
import pytest
from linear_systems import D, K, latents
from linear_systems import system as gaussian_system
from scipy import integrate, stats
from scipy.special import gammaln

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.errors import InputError
from neuroinf.evaluation.dimension import score_dimension
from neuroinf.fits.laplace_smoother import laplace_smoothed
from neuroinf.fits.linear_dynamics import LinearSystem, fit_lds, standardised
from neuroinf.fits.poisson_dynamics import PoissonDynamicalLatents, fit_poisson_lds, maximised

LENGTHS = (7, 1, 5)


def system(seed: int = 0, neurons: int = K, dimension: int = D) -> LinearSystem:
    """With rates that counts can have."""
    s = gaussian_system(seed, neurons, dimension)
    return replace(s, loadings=0.7 * s.loadings, offset=0.5 * s.offset, private=np.ones(neurons))


def drawn(s: LinearSystem, bins: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = latents(s, bins, rng)
    return z, rng.poisson(np.exp(s.offset + z @ s.loadings.T)).astype(float)


def prior_covariance(s: LinearSystem, bins: int) -> np.ndarray:
    """Of all latents (T D, T D) of one sequence."""
    size = len(s.transition)
    whole, marginal = np.zeros((bins * size, bins * size)), s.initial
    for t in range(bins):
        block = marginal
        for u in range(t, bins):
            whole[u * size : (u + 1) * size, t * size : (t + 1) * size] = block
            whole[t * size : (t + 1) * size, u * size : (u + 1) * size] = block.T
            block = s.transition @ block
        marginal = s.transition @ marginal @ s.transition.T + s.noise
    return whole


@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_mode_and_curvature_are_the_dense_ones(share: float) -> None:
    """At the mode the gradient vanishes; covariances are those of the inverse of the whole curvature, sequences independent."""
    s = system()
    x = np.concatenate([drawn(s, bins, n)[1] for n, bins in enumerate(LENGTHS)])
    seen = np.random.default_rng(2).random(x.shape) < share
    found = laplace_smoothed(s, np.where(seen, x, 1e6), seen, LENGTHS)
    start = 0
    for bins in LENGTHS:
        part = slice(start, start + bins)
        z, mu = found.mean[part], np.exp(s.offset + found.mean[part] @ s.loadings.T) * seen[part]
        precision = np.linalg.inv(prior_covariance(s, bins))
        gradient = (np.where(seen[part], x[part], 0) - mu) @ s.loadings
        np.testing.assert_allclose(gradient.ravel(), precision @ z.ravel(), atol=1e-3)
        for t in range(bins):
            block = slice(t * D, (t + 1) * D)
            precision[block, block] += (s.loadings * mu[t, :, None]).T @ s.loadings
        inverse = np.linalg.inv(precision)
        for t in range(bins):
            own, before = slice(t * D, (t + 1) * D), slice((t - 1) * D, t * D)
            np.testing.assert_allclose(found.covariance[start + t], inverse[own, own], rtol=1e-8, atol=1e-10)
            if t:
                np.testing.assert_allclose(found.lagged[start + t - 1], inverse[own, before], rtol=1e-8, atol=1e-10)
        if start:
            np.testing.assert_array_equal(found.lagged[start - 1], np.zeros((D, D)))
        start += bins


def test_likelihood_is_near_the_integral() -> None:
    """One latent in one bin, many counts: Laplace's error is of the order of 1 over the counts, here 1/500."""
    s = LinearSystem(np.eye(1), np.eye(1), np.eye(1), np.full((5, 1), 0.5), np.full(5, np.log(100.0)), np.ones(5))
    x = np.array([[150.0, 160, 140, 155, 145]])

    def integrand(z: float) -> float:
        drive = s.offset + z * s.loadings[:, 0]
        return float(np.exp((x[0] * drive - np.exp(drive) - gammaln(x[0] + 1)).sum() + stats.norm.logpdf(z)))

    exact = np.log(integrate.quad(integrand, -1, 3, points=[0.8])[0])
    assert laplace_smoothed(s, x, np.ones(x.shape, bool), [1]).log_likelihood == pytest.approx(exact, abs=0.01)


def test_steps_climb() -> None:
    """Laplace's approximation of the likelihood, from another system's parameters: no bound, but it must rise far from the end."""
    truth, at = system(2, neurons=20), system(7, neurons=20)
    sequences = [drawn(truth, bins, seed)[1] for seed, bins in enumerate((120, 80))]
    x, values = np.concatenate(sequences), []
    for _ in range(8):
        found = laplace_smoothed(at, x, np.ones(x.shape, bool), [120, 80])
        values.append(found.log_likelihood)
        at = maximised(at, x, [120, 80], found)
    assert (np.diff(values) > 0).all()


@pytest.fixture(scope="module")
def recorded() -> tuple[LinearSystem, PopulationData, np.ndarray, PopulationData, PoissonDynamicalLatents]:
    truth = standardised(system(5, neurons=24, dimension=2))
    train, held = drawn(truth, 1200, 6), drawn(truth, 800, 7)
    data = population(train[1], 10.0, "counts")
    return truth, data, held[0], population(held[1], 10.0, "counts"), fit_poisson_lds(data, 2)


def test_predicts_hidden_neurons_better_than_the_gaussian_system(recorded) -> None:
    """Low counts, which square roots bend; and held-out counts about as probable as under the true system."""
    truth, train, z, test, model = recorded
    ours, theirs = (np.mean(score_dimension(m, train.mean, test).neurons) for m in (model, fit_lds(train, 2)))
    assert ours > theirs
    x, seen = test.activity[0].astype(float), np.ones(test.activity[0].shape, bool)
    found, best = (laplace_smoothed(s, x, seen, [len(x)]).log_likelihood for s in (model.system, truth))
    # 24 * 3 + 4 + 3 - 4 = 75 free numbers: see test_linear_dynamics.py for the bound
    assert found > best - 2 * (75 / 2 + 4 * np.sqrt(75))
    rates = np.exp(truth.offset + z @ truth.loadings.T)
    estimate = model.infer(test.activity[0]).rates
    assert 1 - ((estimate - rates) ** 2).sum() / ((rates - rates.mean(0)) ** 2).sum() > 0.7


def test_hidden_counts_are_not_read_and_intervals_hold(recorded) -> None:
    truth, _, z, test, model = recorded
    x, seen = test.activity[0], np.ones(test.activity[0].shape, bool)
    seen[:, :6] = False
    spoilt = np.where(seen, x, np.nan)
    np.testing.assert_array_equal(model.infer(spoilt, seen).factors, model.infer(x, seen).factors)
    found = model.infer(x)
    # axes are those of the fit: rates are compared, of which 90 % intervals of the log rate do not depend on them
    drive = truth.offset + z @ truth.loadings.T
    relative = np.sqrt(np.log1p((found.rate_sd / found.rates) ** 2))
    centre = np.log(found.rates) - relative**2 / 2
    # 800 bins correlated over about 10: 80 independent ones; .9 - 5 sqrt(.09 / 80) is .73. Parameters are uncertain, too
    assert (np.abs(centre - drive) < 1.645 * relative).mean() > 0.73


def test_traces_are_refused_and_a_silent_neuron_is_not_in_the_way() -> None:
    with pytest.raises(InputError, match="expected counts"):
        fit_poisson_lds(population(np.random.default_rng(0).standard_normal((50, 4)), 10.0, "trace"), 1)
    x = np.random.default_rng(0).poisson(2.0, (80, 5))
    x[:, 2] = 0
    found = fit_poisson_lds(population(x, 10.0, "counts"), 1).infer(x)
    assert np.isfinite(found.rates).all() and (found.rates[:, 2] < 1e-3).all()
