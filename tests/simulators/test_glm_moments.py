"""The GLM's outputs and its random numbers against their laws.

Each test has a false-alarm rate of 1e-4, shared among its comparisons (Bonferroni): normal quantiles for means over
many independent samples, exact chi-square and beta quantiles elsewhere. With one comparison that is 3.9 standard errors.
"""

from typing import Any

import numpy as np
import pytest
from glm_neurons import draw_theta, drive, f
from numpy.typing import NDArray
from scipy import stats

from neuroinf.simulators import GLM
from neuroinf.simulators.bases import AlphaFunctions, RaisedCosines, Taps
from neuroinf.simulators.exponential import exponentials
from neuroinf.simulators.glm_draws import normal, poisson, start_stream, uniform

FALSE_ALARMS = 1e-4
Floats = NDArray[np.float64]


def within(found: Any, expected: Any, error: Any, comparisons: int = 1) -> None:
    """Whether means lie within the standard errors that the false-alarm rate allows."""
    z = (np.asarray(found) - expected) / error
    assert np.abs(z).max() < stats.norm.isf(FALSE_ALARMS / (2 * comparisons)), z


def has_variance(values: Floats, variance: float, comparisons: int = 1) -> None:
    """Whether independent normal values have that variance."""
    m = len(values) - 1
    low, high = stats.chi2.ppf([FALSE_ALARMS / (2 * comparisons), 1 - FALSE_ALARMS / (2 * comparisons)], m)
    assert low < m * values.var(ddof=1) / variance < high


def test_drive_of_the_studys_neuron_has_its_mean_and_variance() -> None:
    """Ten Gaussian inputs: eta ~ N(b, |w|^2), independent bins."""
    rng = np.random.default_rng(1)
    simulator = GLM()
    theta, x = draw_theta(simulator, 5, rng, 10**-0.5), rng.standard_normal((5, 10, 40_000))
    rate = np.asarray(simulator.simulate(theta, x, 1.0)["rate"])
    for values, row in zip(np.log(rate / (1 - rate)), theta, strict=True):
        variance = (row**2).sum() - row[9] ** 2
        within(values.mean(), row[9], np.sqrt(variance / 40_000), comparisons=10)
        has_variance(values, variance, comparisons=10)


def test_exponential_rate_has_the_lognormal_mean_and_variance() -> None:
    """y = exp(eta), eta ~ N(b, s^2): mean m = exp(b + s^2 / 2), variance (exp(s^2) - 1) m^2; standard error of the
    variance from the analytic fourth moment of the lognormal."""
    n, b, s = 500_000, 0.3, 0.4
    x = np.random.default_rng(2).standard_normal((1, 2, n))
    theta = [[s * 0.6, b, -s * 0.8]]
    y = np.asarray(GLM(1, 1, nonlinearity="exponential").simulate(theta, x, 1.0)["rate"])[0]
    law = stats.lognorm(s=s, scale=np.exp(b))
    mean, variance, _, excess = law.stats(moments="mvsk")
    within(y.mean(), mean, np.sqrt(variance / n), comparisons=2)
    within(((y - mean) ** 2).mean(), variance, variance * np.sqrt((excess + 2) / n), comparisons=2)


@pytest.mark.parametrize("filters", [RaisedCosines(4, 0.0, 8.0), AlphaFunctions([1.0, 3.0]), Taps(9)])
def test_filtered_drive_has_the_variance_of_its_filters(filters: Any) -> None:
    """White inputs through filters k_i: eta ~ N(b, sum_i |k_i|^2) once the filters are full; one bin of each row."""
    n, rng = 5000, np.random.default_rng(3)
    simulator = GLM(2, 0, filters=filters)
    kernels = filters.kernels(1.0)
    theta = np.repeat(draw_theta(simulator, 1, rng), n, axis=0)
    combined = theta[0, :-1].reshape(2, -1) @ kernels
    rate = np.asarray(simulator.simulate(theta, rng.standard_normal((n, 2, kernels.shape[1])), 1.0)["rate"])[:, -1]
    eta, variance = np.log(rate / (1 - rate)), (combined**2).sum()
    within(eta.mean(), theta[0, -1], np.sqrt(variance / n), comparisons=2)
    has_variance(eta, variance, comparisons=2)


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("output", ["bernoulli", "poisson"])
def test_counts_have_the_mean_and_variance_of_their_rate(output: Any, nonlinearity: Any) -> None:
    r"""With history, so that r_t = y_t - E[y_t | past] are martingale differences: sum r_t against its variance
    sum v_t, and sum (r_t^2 - v_t) against sum (mu_4,t - v_t^2), with the rates from a transcription."""
    rng = np.random.default_rng(4)
    simulator = GLM(3, 1, coupled=1, coupling=Taps(2), history=Taps(5), nonlinearity=nonlinearity, output=output)
    theta, x = draw_theta(simulator, 20, rng, 0.25), rng.standard_normal((20, 5, 4000))
    y = np.asarray(simulator.simulate(theta, x, 1.0, range(20))["count"])
    rate = f(simulator, drive(simulator, theta, x, y, 1.0))
    if output == "bernoulli":
        mean = rate if nonlinearity == "logistic" else 1 - np.exp(-rate)
        variance = mean * (1 - mean)
        fourth = variance * (1 - 3 * variance)
        assert set(np.unique(y)) == {0.0, 1.0}
    else:
        mean, variance, fourth = rate, rate, rate + 3 * rate**2
        assert (y == np.round(y)).all() and y.max() > 1
    residual = y - mean
    within(residual.sum(1), 0.0, np.sqrt(variance.sum(1)), comparisons=41)
    within((residual**2 - variance).sum(1), 0.0, np.sqrt((fourth - variance**2).sum(1)), comparisons=41)
    lagged = (residual[:, 1:] * residual[:, :-1]).sum()  # the stream's successive draws are independent
    within(lagged, 0.0, np.sqrt((variance[:, 1:] * variance[:, :-1]).sum()), comparisons=41)


@pytest.mark.parametrize("mean", [0.0, 1e-3, 0.7, 9.99, 10.0, 35.0, 1e3, 1e5, 1.6e7])
def test_poisson_counts_have_their_law(mean: float) -> None:
    """Mean, variance, and the distribution within the Dvoretzky-Kiefer-Wolfowitz bound sqrt(log(2 / a) / 2n)."""
    n = 200_000
    theta = [[0.0, np.log(mean) if mean else -1e4]]
    simulator = GLM(1, 0, nonlinearity="exponential", output="poisson")
    response = simulator.simulate(theta, np.zeros((1, 1, n)), 1.0, seed=7)
    y = np.asarray(response["count"])[0]
    assert not response["terminated"][0] and (y == np.round(y)).all() and y.min() >= 0
    if not mean:
        assert (y == 0).all()
        return
    within(y.mean(), mean, np.sqrt(mean / n), comparisons=3)
    within(((y - mean) ** 2).mean(), mean, np.sqrt((mean + 2 * mean**2) / n), comparisons=3)
    values, counts = np.unique(y, return_counts=True)
    distance = np.abs(np.cumsum(counts) / n - stats.poisson.cdf(values, mean)).max()
    assert distance < np.sqrt(np.log(2 * 3 / FALSE_ALARMS) / (2 * n))


def test_poisson_of_any_mean_comes_to_an_end() -> None:
    stream = np.empty(4, np.uint64)
    start_stream(np.uint64(0), stream)
    for mean in (0.0, 5e-324, 1e-300, 9.999999999999999, 1e9, 1e15, 1e18):
        counts = np.array([poisson(mean, np.exp(-mean), stream) for _ in range(1000)])
        assert np.abs(counts - mean).max() <= 6 * np.sqrt(mean) + 10


def test_exponentials_are_those_of_numpy() -> None:
    x = np.concatenate([np.linspace(-708, 708, 100_001), np.random.default_rng(6).standard_normal(100_000), [0.0]])
    found = x.copy()
    exponentials(found, np.empty_like(x))
    np.testing.assert_allclose(found, np.exp(x), rtol=5e-16)  # numpy's own are within 1 unit in the last place, 2e-16
    beyond = np.array([-1e300, -709.0, 709.0, np.inf])
    exponentials(beyond, np.empty(4))
    np.testing.assert_allclose(beyond, np.exp([-708.0, -708.0, 708.0, 708.0]), rtol=5e-16)


def test_stream_is_the_published_generator() -> None:
    """First outputs from the state (1, 2, 3, 4), as in the reference code; SplitMix64 from 1234567 likewise."""
    stream = np.array([1, 2, 3, 4], np.uint64)
    words = (41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162)
    assert [uniform(stream) for _ in words] == [(word >> 11) * 2.0**-53 for word in words]
    start_stream(np.uint64(1234567), stream)
    assert stream.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]


def test_normal_numbers_are_normal() -> None:
    stream = np.empty(4, np.uint64)
    start_stream(np.uint64(3), stream)
    assert stats.kstest([normal(stream) for _ in range(50_000)], "norm").pvalue > FALSE_ALARMS


def test_neighbouring_seeds_have_independent_streams() -> None:
    """Fair bits of rows 0 to 49 with seeds 0 to 49: their agreement, of each pair of rows, is binomial."""
    simulator, n = GLM(1, 0, output="bernoulli"), 20_000
    y = np.asarray(simulator.simulate(np.zeros((50, 2)), np.zeros((1, 1, n)), 1.0, range(50))["count"])
    correlation = (2 * y - 1) @ (2 * y - 1).T / np.sqrt(n)
    pairs = correlation[np.triu_indices(50, 1)]
    within(pairs, 0.0, 1.0, comparisons=len(pairs) + 50)
    within((2 * y - 1).sum(1) / np.sqrt(n), 0.0, 1.0, comparisons=len(pairs) + 50)


def test_shares_of_summed_hidden_inputs() -> None:
    """A unit pulse in bin k of hidden input k shows the shares: 1 to K of them alike often, on the sphere, sum > 0."""
    n, K = 30_000, 3
    simulator = GLM(1, K, summed=True)
    stimulus = np.concatenate([np.zeros((1, K)), np.eye(K)])[None]
    shares = np.asarray(simulator.simulate(np.zeros((n, 3)), stimulus, 1.0, seed=1)["latent/hidden"])
    np.testing.assert_allclose((shares**2).sum(1), 1.0, atol=1e-12)
    assert (shares.sum(1) > 0).all()
    number = (shares != 0).sum(1)
    for k in range(1, K + 1):
        of_k = shares[number == k]
        assert (of_k[:, :k] != 0).all()
        within((number == k).mean(), 1 / K, np.sqrt((1 - 1 / K) / K / n), comparisons=8)
        if k > 1:  # each square is 1/k on average, of variance 2 (k - 1) / (k^2 (k + 2)): Beta(1/2, (k - 1)/2)
            error = np.sqrt(2 * (k - 1) / (k**2 * (k + 2)) / len(of_k))
            within((of_k[:, :k] ** 2).mean(0), 1 / k, error, comparisons=8)
    np.testing.assert_array_equal(shares[number == 1][:, 0], 1.0)


def test_summed_hidden_input_is_what_the_response_shows() -> None:
    rng = np.random.default_rng(5)
    simulator = GLM(2, 3, summed=True)
    theta, x = draw_theta(simulator, 50, rng, 1.0), rng.standard_normal((50, 5, 200))
    response = simulator.simulate(theta, x, 1.0, range(50))
    rate, h = np.asarray(response["rate"]), np.asarray(response["latent/hidden"])
    eta = theta[:, [2]] + np.einsum("ni,nit->nt", theta[:, :2], x[:, :2]) + theta[:, [3]] * h
    np.testing.assert_allclose(rate, 1 / (1 + np.exp(-eta)), rtol=1e-12)
    # h lies in the span of the hidden inputs
    for row in range(50):
        shares = np.linalg.lstsq(x[row, 2:].T, h[row], rcond=None)[0]
        np.testing.assert_allclose(shares @ x[row, 2:], h[row], atol=1e-10)
