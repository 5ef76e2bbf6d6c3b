"""Static linear models: their posterior against dense Gaussian conditioning, and recovery of populations made of known parts."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.datasets.preprocessing import split_time
from neuroinf.errors import InputError
from neuroinf.evaluation.latents import bits_per_spike
from neuroinf.fits.latent_model import LatentFit
from neuroinf.fits.latent_readout import poisson_regression
from neuroinf.fits.linear_latents import LinearLatents, fit_fa, fit_pca, fit_ppca

FITS = (fit_pca, fit_ppca, fit_fa)


def made(seed: int = 0, bins: int = 2000, neurons: int = 12, dimension: int = 3) -> tuple[PopulationData, np.ndarray]:
    rng = np.random.default_rng(seed)
    loadings, noise = rng.standard_normal((neurons, dimension)), rng.uniform(0.3, 1.0, neurons)
    x = 2 + rng.standard_normal((bins, dimension)) @ loadings.T + np.sqrt(noise) * rng.standard_normal((bins, neurons))
    return population(x, 10.0, "trace"), loadings @ loadings.T + np.diag(noise)


@pytest.mark.parametrize("fit", [fit_ppca, fit_fa])
def test_posterior_is_that_of_the_joint_gaussian(fit: Callable[[PopulationData, int], LinearLatents]) -> None:
    data, _ = made(bins=300)
    model, rng = fit(data, 3), np.random.default_rng(1)
    x = data.activity[0][:20]
    seen = rng.random(x.shape) < 0.6
    found = model.infer(x, seen)
    for t in range(20):
        o = seen[t]
        c, r = model.loadings[o], np.diag(model.noise[o])
        inverse = np.linalg.inv(c @ c.T + r)
        mean = c.T @ inverse @ (x[t, o] - model.offset[o])
        covariance = np.eye(3) - c.T @ inverse @ c
        np.testing.assert_allclose(found.factors[t], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.sd[t], np.sqrt(np.diag(covariance)), rtol=1e-4)
        np.testing.assert_allclose(found.rates[t], model.offset + model.loadings @ mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_what_is_not_observed_is_not_read(fit: LatentFit) -> None:
    data, _ = made(bins=300)
    model, x = fit(data, 3), data.activity[0][:50].copy()
    seen = np.ones(x.shape, bool)
    seen[:, ::4], seen[7] = False, False
    before = model.infer(x, seen)
    x[~seen] = np.nan
    after = model.infer(x, seen)
    np.testing.assert_array_equal(before.factors, after.factors)
    np.testing.assert_array_equal(before.rates, after.rates)
    assert np.isfinite(after.rates).all()


def test_one_pattern_and_many_agree() -> None:
    data, _ = made(bins=300)
    model, x = fit_fa(data, 3), data.activity[0]
    seen = np.ones(x.shape, bool)
    seen[:, :4] = False
    odd = seen.copy()
    odd[-1] = True
    np.testing.assert_allclose(
        model.infer(x, seen).factors[:-1], model.infer(x, odd).factors[:-1], rtol=1e-5, atol=1e-6
    )


def test_factor_analysis_finds_the_covariance() -> None:
    data, covariance = made(bins=20_000)
    model = fit_fa(data, 3)
    found = model.loadings @ model.loadings.T + np.diag(model.noise)
    # an entry of a sample covariance has sd sqrt((s_ii s_jj + s_ij^2) / n); of 78 entries one is beyond 5.2 sd in
    # 1.5e-5 of cases (Bonferroni), and the maximum likelihood estimate has no more variance than the sample's
    scale = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / data.bins)
    assert (np.abs(found - covariance) < 5.2 * scale).all()
    narrow = fit_fa(data, 2)
    assert (np.abs(narrow.loadings @ narrow.loadings.T + np.diag(narrow.noise) - covariance) > 5.2 * scale).any()


def test_ppca_noise_is_the_mean_of_what_is_left() -> None:
    data, _ = made(bins=500)
    values = np.linalg.eigvalsh(np.cov(data.activity[0].T.astype(float), bias=True))
    assert fit_ppca(data, 3).noise[0] == pytest.approx(values[:-3].mean(), rel=1e-6)


def test_poisson_regression_undoes_the_uncertainty_of_latents() -> None:
    rng = np.random.default_rng(3)
    n, variance = 40_000, 0.4
    # a posterior mean m with the truth z = m + e: regressed on m as if it were z, the offset would be too high by c V c / 2
    mean = np.sqrt(1 - variance) * rng.standard_normal((n, 1))
    z = mean + np.sqrt(variance) * rng.standard_normal((n, 1))
    counts = rng.poisson(np.exp(0.2 + 0.8 * z[:, 0])).astype(float)
    weights, offset = poisson_regression(mean, np.array([[variance]]), counts)
    # sandwich variance of the regression: with mu = E[x | m] and Var(x | m) = mu + g mu^2, g = exp(c^2 V) - 1 = 0.292, entries of
    # H = E[mu m m'] are at least E mu = 1.68 times their Gaussian ones, and E[mu^2 m m'] at most 14 (lognormal of sd 0.62 twice):
    # n Var <= (1 + 0.292 * 14 / 1.0) / 1.0 < 6 for either; 4.1 sd is 0.05
    assert abs(weights[0] - 0.8) < 0.05 and abs(offset - 0.2) < 0.05 + 0.8 * variance * 0.05
    # as if the mean were the latent itself, the offset is c V c / 2 = 0.128 too high
    assert abs(poisson_regression(mean, np.zeros((1, 1)), counts)[1] - 0.2) > 0.128 - 0.05


@pytest.mark.parametrize("fit", FITS)
def test_hidden_counts_are_told_from_other_neurons(fit: LatentFit) -> None:
    rng = np.random.default_rng(5)
    z = rng.standard_normal((4000, 2))
    mu = np.exp(0.3 + 0.5 * z @ rng.standard_normal((2, 15)))
    data = population(rng.poisson(mu), 10.0, "counts")
    train, test = split_time(data)
    x, hidden = test.activity[0], np.arange(15) % 4 == 0
    rates = fit(train, 2).infer(x, np.broadcast_to(~hidden, x.shape)).rates[:, hidden]
    counts, mean, truth = x[:, hidden], train.mean[hidden], mu[-len(x) :, hidden]
    attainable = bits_per_spike(counts, truth, mean)
    # latents known exactly are the ceiling; two latents seen through 11 other neurons give more than half of it
    assert 0.5 * attainable < bits_per_spike(counts, rates, mean) < attainable
    assert bits_per_spike(counts, rates[::-1], mean) < 0
    assert (rates > 0).all() and (rates <= np.maximum(train.activity[0].max(0)[hidden], 1) * 1.0001).all()


@pytest.mark.parametrize("fit", FITS)
def test_bad_input_is_named(fit: LatentFit) -> None:
    data, _ = made(bins=50)
    with pytest.raises(InputError, match="dimension"):
        fit(data, 13)
    model = fit(data, 2)
    with pytest.raises(InputError, match=r"\(bins, 12\)"):
        model.infer(np.zeros((5, 4)))
    with pytest.raises(InputError, match="finite"):
        model.infer(np.full((5, 12), np.nan))
