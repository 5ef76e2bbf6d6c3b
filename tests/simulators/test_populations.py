"""Populations: who sees which latent, what is recorded of it, and that the signal-to-noise ratio is what was asked for."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from neuroinf.errors import InputError
from neuroinf.simulators import (
    CalciumObservation,
    GaussianObservation,
    LinearDynamics,
    Lorenz,
    PoissonObservation,
    Population,
)
from neuroinf.simulators.population_observation import PopulationObservation
from neuroinf.simulators.protocol import OfPopulations, Simulator

FALSE_ALARMS = 1e-4
DYNAMICS = LinearDynamics(3, timescale=30.0, periods=(300.0, 100.0))
OBSERVATIONS: list[Any] = [
    GaussianObservation(1.5),
    PoissonObservation((30.0, 80.0), snr=0.8),
    CalciumObservation((20.0, 60.0), decay=100.0, snr=1.5),
]


def simulate(population: Population, n: int, steps: int, seed: Any = 0, dt: float = 10.0) -> dict[str, Any]:
    return population.simulate(np.empty((n, 0)), np.zeros((1, 1, steps)), dt, seed)


@pytest.mark.parametrize("observation", OBSERVATIONS, ids=lambda o: type(o).__name__)
def test_row_depends_on_its_seed_alone(observation: Any) -> None:
    population = Population(DYNAMICS, observation, 6, layers=2, private=LinearDynamics(1), seed=4)
    assert isinstance(population, Simulator) and isinstance(population, OfPopulations)
    assert isinstance(observation, PopulationObservation)
    whole = simulate(population, 7, 50, range(10, 17))
    part = simulate(Population(DYNAMICS, observation, 6, layers=2, private=LinearDynamics(1), seed=4), 2, 50, [13, 11])
    for name, values in whole.items():
        np.testing.assert_array_equal(part[name], values[[3, 1]])
    for name, values in simulate(population, 3, 50, 5).items():
        np.testing.assert_array_equal(simulate(population, 2, 50, 5)[name], values[:2])
    other = simulate(
        Population(DYNAMICS, observation, 6, layers=2, private=LinearDynamics(1), seed=5), 7, 50, range(10, 17)
    )
    np.testing.assert_array_equal(other["latent/factors"], whole["latent/factors"])
    assert not np.array_equal(other["latent/rates"], whole["latent/rates"])


@pytest.mark.parametrize("dynamics", [DYNAMICS, Lorenz(100.0)], ids=["linear", "Lorenz"])
@pytest.mark.parametrize("observation", OBSERVATIONS, ids=lambda o: type(o).__name__)
def test_signal_to_noise_ratio_is_what_was_asked_for(dynamics: Any, observation: Any) -> None:
    """SNR = Var(E[y | z]) / E(Var[y | z]), averaged over neurons, whose gains were found on 256 stretches of 400 bins of latents
    and are measured on 512 others. Stretches are independent: the measurement's standard error by the jackknife over them, that
    of the gains is at most sqrt(2) times as large (half as many stretches), hence sqrt(3) for both. Student's t of 511 degrees of
    freedom; 6 cases of two numbers with a false-alarm rate of 1e-4 together. The test must see an error of 10 %."""
    population, n, bins = Population(dynamics, observation, 12, seed=1), 512, 400
    found = simulate(population, n, bins, 3)
    y, rates = found["activity"].astype(float), found["latent/rates"].astype(float)
    sums = np.stack([rates.sum(2), (rates**2).sum(2), ((y - rates) ** 2).sum(2), y.sum(2), (y**2).sum(2)])
    most = student.isf(FALSE_ALARMS / (2 * 2 * 6), n - 1) * np.sqrt(3)

    def ratio(total: Any, rows: int) -> Any:
        signal, power, noise, *_ = total / (rows * bins)
        return ((power - signal**2) / noise).mean(-1)

    def explained(total: Any, rows: int) -> Any:
        _, _, noise, mean, power = total / (rows * bins)
        return 1 - noise.sum(-1) / (power - mean**2).sum(-1)

    value, error = jackknife(sums, ratio)
    assert abs(value - observation.snr) < most * error < 0.1 * observation.snr
    if isinstance(observation, GaussianObservation):  # neurons of one variance: the total is the neurons' own
        value, error = jackknife(sums, explained)
        assert abs(value - 1.5 / 2.5) < most * error < 0.06


def jackknife(sums: Any, statistic: Any) -> tuple[float, float]:
    """A function of sums over rows (s, n, K), and its standard error by leaving out each of the n rows."""
    total, n = sums.sum(1), sums.shape[1]
    without = statistic(total[:, None] - sums, n - 1)
    return float(statistic(total, n)), float(np.sqrt((n - 1) * without.var()))


def test_rates_are_the_expected_activity() -> None:
    """Poisson: sum(y - mu) has variance sum(mu), sum((y - mu)^2 - mu) has variance sum(mu + 2 mu^2)."""
    population = Population(DYNAMICS, PoissonObservation(50.0, gain=0.7), 10)
    found = simulate(population, 40, 300)
    y, mu = found["activity"].astype(float), found["latent/rates"].astype(float)
    assert (y == np.round(y)).all() and y.min() >= 0
    most = norm.isf(FALSE_ALARMS / 4)
    assert abs((y - mu).sum()) < most * np.sqrt(mu.sum())
    assert abs(((y - mu) ** 2 - mu).sum()) < most * np.sqrt((mu + 2 * mu**2).sum())
    drive = np.einsum("kd,ndt->nkt", population.loadings, found["latent/factors"])
    np.testing.assert_allclose(mu, 0.5 * np.exp(0.7 * drive), rtol=1e-5)


def test_calcium_trace_is_filtered_spikes_and_noise() -> None:
    r"""Without the filter, d_t = y_t - a y_{t-1} - mu_t = n_t - mu_t + e_t - a e_{t-1} has mean 0, variance
    mu_t + sigma^2 (1 + a^2) and lag-1 covariance -a sigma^2. Rates obey the filter without noise."""
    sigma, decay = 0.5, 100.0
    a = np.exp(-0.1)
    population = Population(DYNAMICS, CalciumObservation(40.0, decay, sigma, gain=0.5), 5)
    found = simulate(population, 60, 400)
    y, rates = found["activity"].astype(float), found["latent/rates"].astype(float)
    mu = 0.4 * np.exp(0.5 * np.einsum("kd,ndt->nkt", population.loadings, found["latent/factors"]))[..., 1:]
    np.testing.assert_allclose(rates[..., 1:] - a * rates[..., :-1], mu, atol=1e-4)
    d = y[..., 1:] - a * y[..., :-1] - mu
    variance = mu + sigma**2 * (1 + a**2)
    # given the latents, neurons and rows are independent: 300 sums, Student's t of 299 degrees of freedom, 3 comparisons
    most = student.isf(FALSE_ALARMS / 6, 299)
    for off in (d, d**2 - variance, d[..., 1:] * d[..., :-1] + a * sigma**2):
        each = off.sum(-1).ravel()
        assert abs(each.sum()) < most * each.std(ddof=1) * np.sqrt(each.size)


def test_layers_share_the_shared_latents_only() -> None:
    population = Population(DYNAMICS, GaussianObservation(3.0), 30, layers=3, private=LinearDynamics(2, seed=1), seed=2)
    assert population.dimension == 3 + 3 * 2 and population.groups.tolist() == [0] * 30 + [1] * 30 + [2] * 30
    seen = population.loadings != 0
    for layer in range(3):
        own = [False] * 6
        own[2 * layer : 2 * layer + 2] = [True, True]
        assert (seen[population.groups == layer] == [True] * 3 + own).all()
    factors = simulate(population, 200, 40)["latent/factors"]
    flat = factors[..., -1]  # 200 independent rows, normal: 36 correlations on Fisher's scale
    correlation = np.corrcoef(flat.T)[np.triu_indices(9, 1)]
    assert np.abs(correlation).max() < np.tanh(norm.isf(FALSE_ALARMS / 72) / np.sqrt(200 - 3))
    rates = simulate(population, 1, 400)["latent/rates"][0]
    for layer in range(3):
        assert np.linalg.matrix_rank(rates[population.groups == layer], tol=1e-2) == 5
    assert np.linalg.matrix_rank(rates, tol=1e-2) == 9


def test_bins_of_another_length_give_the_same_ratio() -> None:
    population = Population(DYNAMICS, PoissonObservation(60.0, snr=0.6), 4)
    gains = [population.constants(dt)[:, 1] for dt in (5.0, 20.0)]
    assert (gains[0] > gains[1]).all()  # fewer spikes in a bin, more modulation


def test_published_observation_model() -> None:
    """Ten neurons, log-rates of mean 0 and variance 1 in a bin, 70 bins at 100 a period. 2,000 independent rows: Student's t of
    their means and mean squares, 20 comparisons at 1e-4 together. The moments that standardise the latents are of 80,000 turns,
    more than 20 times the turns here: 1 + 1 / 20 in variance."""
    population, n = Population(Lorenz(1000.0), PoissonObservation(100.0, gain=1.0), 10), 2000
    log_rate = np.log(simulate(population, n, 70)["latent/rates"].astype(float))
    most = student.isf(FALSE_ALARMS / 40, n - 1) * np.sqrt(1.05 / n)
    for each in (log_rate.mean(2), (log_rate**2).mean(2) - 1):
        assert (np.abs(each.mean(0)) < most * each.std(0, ddof=1)).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Population(DYNAMICS, GaussianObservation(), 0), "at least 1 neuron"),
        (lambda: Population(DYNAMICS, GaussianObservation(), layers=10), "1 to 9 layers"),
        (lambda: GaussianObservation(snr=0.0), "snr must be positive"),
        (lambda: PoissonObservation(20.0), "either snr or gain"),
        (lambda: PoissonObservation(20.0, snr=1.0, gain=1.0), "either snr or gain"),
        (lambda: PoissonObservation((20.0, 10.0), snr=1.0), "rate must be positive"),
        (lambda: CalciumObservation(decay=-1.0, snr=1.0), "decay must be positive"),
        (lambda: simulate(Population(DYNAMICS, GaussianObservation()), 2, 5, dt=-1.0), "dt: expected a positive"),
        (
            lambda: Population(DYNAMICS, GaussianObservation()).simulate([[1.0]], np.zeros((1, 1, 5)), 1.0),
            "no free parameters",
        ),
        (
            lambda: Population(DYNAMICS, GaussianObservation()).simulate(np.empty((3, 0)), np.zeros((2, 1, 5)), 1.0),
            r"\(3, 1, T\)",
        ),
        (
            lambda: simulate(Population(DYNAMICS, CalciumObservation(1.0, noise=1e6, snr=9.0)), 1, 5),
            "snr 9 cannot be reached",
        ),
    ],
)
def test_impossible_populations_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
