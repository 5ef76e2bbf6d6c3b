"""Correlated spike trains: measured against their design, and the design's formulae against integration."""

import math

import numpy as np
import pytest
from input_designs import FALSE_ALARM, FloatArray, correlation_error, counts, draws, off_diagonal, rng, scaled_error
from scipy import integrate, special, stats

from neuroinf.errors import InputError
from neuroinf.stimuli import CoxInputs, Modes, SourceMixture
from neuroinf.stimuli.clipped_rates import ClippedRates
from neuroinf.stimuli.modes import own_share

UNEQUAL = [15.0, 20.0, 25.0, 30.0, 40.0, 60.0]
BLOCKS = (np.where(np.arange(6)[:, None] // 3 == np.arange(6) // 3, 0.25, 0.05) + np.diag([0.75] * 6)).tolist()
MIXED = np.array([[1.0, 0.12, -0.08], [0.12, 1.0, 0.0], [-0.08, 0.0, 1.0]]).tolist()

DESIGNS: list[CoxInputs | SourceMixture | Modes] = [
    CoxInputs(6, 2000.0),
    CoxInputs(6, 2000.0, correlation=0.15),
    CoxInputs(6, 2000.0, correlation=0.3, cv=2.0, spikes="poisson"),
    CoxInputs(3, 2000.0, rates=30.0, correlation=MIXED, tau=20.0),
    CoxInputs(6, 2000.0, rates=UNEQUAL, cv=[0.5, 0.7, 1.0, 1.3, 1.6, 1.6], correlation=0.6, of="rates", tau=5.0),
    CoxInputs(6, 2000.0, dt=2.0, rates=UNEQUAL, correlation=0.12, spikes="poisson"),
    SourceMixture(6, 2000.0),
    SourceMixture(6, 2000.0, correlation=0.4),
    SourceMixture(6, 2000.0, rates=UNEQUAL, correlation=0.2),
    SourceMixture(6, 2000.0, dt=2.0, correlation=BLOCKS, tau=5.0),
    SourceMixture(6, 2000.0, rates=UNEQUAL, correlation=BLOCKS, tau=0.0),
    Modes(6, 2000.0, evenness=0.0),
    Modes(6, 2000.0, evenness=0.5, cv=1.5),
    Modes(6, 2000.0, evenness=0.8, modes=3, rate=50.0),
]


def named(stimulus: CoxInputs | SourceMixture | Modes) -> str:
    c = f"e{stimulus.evenness[0]}" if isinstance(stimulus, Modes) else f"c{np.max(off_diagonal(stimulus.design)):.2f}"
    return f"{type(stimulus).__name__}-{c}"


def count_design(stimulus: CoxInputs | SourceMixture | Modes) -> FloatArray:
    return stimulus.count_design if isinstance(stimulus, Modes) else stimulus.design


def mean_rates(stimulus: CoxInputs | SourceMixture | Modes) -> FloatArray:
    value = stimulus.rate[1] if isinstance(stimulus, Modes) else stimulus.rates
    return np.broadcast_to(np.array(value, dtype=np.float64), stimulus.inputs)


@pytest.mark.parametrize("stimulus", DESIGNS, ids=named)
def test_spikes_have_their_rates_and_count_correlations(stimulus: CoxInputs | SourceMixture | Modes) -> None:
    x = draws(stimulus, 500, seed=11)
    assert scaled_error(1000 * x.mean(2) / stimulus.dt, mean_rates(stimulus)) < 1
    error, allowed = correlation_error(counts(x, round(20 / stimulus.dt)), count_design(stimulus))
    assert error < 1 and allowed < 0.03, "a bound that could be broken"


@pytest.mark.parametrize(
    "stimulus",
    [
        CoxInputs(5, 200_000.0, rates=60.0, cv=0.7, correlation=0.15),
        CoxInputs(5, 200_000.0, rates=[50.0, 60.0, 70.0, 80.0, 90.0], cv=0.7, correlation=0.15, spikes="poisson"),
        SourceMixture(5, 200_000.0, rates=60.0, correlation=0.4),
        SourceMixture(5, 200_000.0, rates=[50.0, 60.0, 70.0, 80.0, 90.0], correlation=0.3),
        Modes(5, 200_000.0, evenness=0.7, rate=60.0, cv=0.7),
    ],
    ids=named,
)
def test_a_long_recording_agrees_with_its_design(stimulus: CoxInputs | SourceMixture | Modes) -> None:
    x = stimulus.sample(rng(1))
    measured = np.corrcoef(counts(x, 20))
    # 10,000 windows: a standard error of about 0.011 (neighbours share their rates), 4.5 of which are in 0.05; 10 pairs.
    # 12,000 spikes and a rate that varies by 0.7 with 10 ms: (1 / 12000 + 0.7^2 2 * 10 ms / 200 s)^1/2 = 1.15 %; 5 rates
    assert np.abs(off_diagonal(measured - count_design(stimulus))).max() <= 0.05
    assert np.abs(1000 * x.mean(1) / mean_rates(stimulus) - 1).max() <= 0.05


# -- the formulae of clipped rates -------------------------------------------------------------------------------------


def clipped_product(c: float, d: float, rho: float) -> float:
    """E max(0, c + Y) max(0, d + Z) for standard normals of correlation rho, by integration over Y."""
    s = math.sqrt(max(0.0, 1 - rho * rho))

    def density(y: float) -> float:
        return math.exp(-y * y / 2) / math.sqrt(2 * math.pi)

    def integrand(y: float) -> float:
        m = d + rho * y
        inner = max(0.0, m) if s < 1e-9 else m * special.ndtr(m / s) + s * density(m / s)
        return (c + y) * inner * density(y)

    return integrate.quad(integrand, max(-c, -9.0), 9.0, limit=200)[0]


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.4, 0.95])
@pytest.mark.parametrize("spikes", ["bernoulli", "poisson"])
def test_designs_of_clipped_rates_agree_with_integration(rho: float, spikes: str) -> None:
    rates, cv, tau, dt, n = np.array([15.0, 40.0]), np.array([0.4, 1.6]), 7.0, 2.0, 10
    law = ClippedRates("", rates, cv, tau, dt, "bernoulli" if spikes == "bernoulli" else "poisson")
    c, d = law.level
    means = [clipped_product(v, 40.0, 0.0) / 40.0 for v in (c, d)]
    scale = rates * dt / 1000 / means
    rate_covariance = clipped_product(c, d, rho) - means[0] * means[1]
    sds = [math.sqrt(clipped_product(v, v, 1.0) - m * m) for v, m in zip((c, d), means, strict=True)]
    np.testing.assert_allclose(np.array(sds) / means, cv, rtol=1e-5)
    latent = np.array([[1.0, rho], [rho, 1.0]])
    # the series is cut after 150 terms, of which the last ones matter only near |R| = 1 and for the variances
    assert law.rate_correlation(latent)[0, 1] == pytest.approx(rate_covariance / sds[0] / sds[1], abs=1e-3)
    lags = np.arange(-n + 1, n)
    weight = n - np.abs(lags)

    def window(v: float, w: float, m: float, k: float, r: float, skip: bool) -> float:
        covariances = [
            0.0 if skip and lag == 0 else clipped_product(v, w, r * math.exp(-abs(lag) * dt / tau)) - m * k
            for lag in lags
        ]
        return float(weight @ covariances)

    cross = scale[0] * scale[1] * window(c, d, means[0], means[1], rho, False)
    variances = []
    for v, m, s in zip((c, d), means, scale, strict=True):
        mean = s * m
        own = mean * (1 - mean) if spikes == "bernoulli" else mean
        variances.append(n * own + s * s * window(v, v, m, m, 1.0, spikes == "bernoulli"))
    expected = cross / math.sqrt(variances[0] * variances[1])
    assert law.count_correlation(latent)[0, 1] == pytest.approx(expected, abs=1e-4)
    target = np.array([[1.0, expected], [expected, 1.0]])
    np.testing.assert_allclose(law.latent(target, "counts"), latent, atol=2e-3)


def test_a_range_of_coefficients_is_drawn_and_each_has_its_own_design() -> None:
    stimulus = CoxInputs(2, 100_000.0, correlation=(0.0, 0.18))
    for c in (0.0, 0.013, 0.1, 0.18):
        assert stimulus.design_at(c)[0, 1] == pytest.approx(c, abs=2e-4)
    measured = [np.corrcoef(*counts(w, 20))[0, 1] for w in draws(stimulus, 40)]
    # uniform but for an error of 0.015 in each, a twelfth of the width, which 40 values cannot show
    assert stats.kstest(measured, stats.uniform(-0.0, 0.18).cdf).pvalue > FALSE_ALARM
    with pytest.raises(InputError, match=r"within \[0, 0.18\], found 0.2"):
        stimulus.design_at(0.2)


# -- sources and modes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [5, 100])
def test_shared_spikes_are_spread_by_the_jitter(window: int) -> None:
    tau = 10.0
    stimulus = SourceMixture(4, 2000.0, rates=40.0, correlation=0.4, tau=tau)
    shared = (stimulus.probabilities * stimulus.source_rates) @ stimulus.probabilities.T / 40.0
    design = shared * (1 - tau / window * (1 - math.exp(-window / tau)))
    np.fill_diagonal(design, 1.0)
    error, allowed = correlation_error(counts(draws(stimulus, 400), window), design)
    assert error < 1 and allowed < 0.05


def test_every_train_of_a_mixture_of_sources_is_poisson() -> None:
    stimulus = SourceMixture(4, 200_000.0, rates=[20.0, 30.0, 40.0, 50.0], correlation=0.3)
    np.testing.assert_allclose(
        stimulus.probabilities @ stimulus.source_rates + stimulus.private_rates, stimulus.rates, rtol=1e-12
    )
    assert stimulus.probabilities.min() >= 0 and stimulus.probabilities.max() <= 1 and stimulus.source_rates.min() >= 0
    x = stimulus.sample(rng())
    for train, rate in zip(x, stimulus._rates, strict=True):
        n = counts(train, 50)
        k = np.arange(12)
        expected = len(n) * np.append(stats.poisson.pmf(k, rate / 20), stats.poisson.sf(11, rate / 20))
        found = np.bincount(np.minimum(n, 12).astype(int), minlength=13)
        keep = expected > 20
        statistic = float(np.sum((found[keep] - expected[keep]) ** 2 / expected[keep]))
        assert statistic < stats.chi2(int(np.sum(keep))).isf(FALSE_ALARM / 4)


@pytest.mark.parametrize("seed", range(4))
def test_sources_are_found_for_random_designs_that_have_some(seed: int) -> None:
    generator = rng(seed)
    n, rates = 8, rng(seed + 10).uniform(10, 40, 8)
    p, nu = generator.uniform(0, 1, (n, 3)) * (generator.random((n, 3)) < 0.6), rates.min() * np.array([0.3, 0.3, 0.3])
    within = 1 - 0.5 * (1 - math.exp(-2))
    wanted = within * (p * nu) @ p.T / np.sqrt(np.outer(rates, rates))
    np.fill_diagonal(wanted, 1.0)
    stimulus = SourceMixture(n, 100.0, rates=rates.tolist(), correlation=wanted.tolist())
    assert np.abs(stimulus.design - wanted).max() < 0.002


def test_without_correlation_sources_give_independent_trains() -> None:
    design = SourceMixture(5, 100.0, correlation=0.0).design
    assert np.abs(design - np.eye(5)).max() < 1e-6


@pytest.mark.parametrize("modes", [2, 3, 7])
def test_modes_have_the_entropy_asked_for(modes: int) -> None:
    for e in (0.0, 0.1, 0.5, 0.9, 0.999, 1.0):
        p = Modes(7, 100.0, modes=modes, evenness=e).mixing(e)
        entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1) / math.log(modes)
        np.testing.assert_allclose(entropy, e, atol=1e-9)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    assert own_share(0.0, modes) == 1 and own_share(1.0, modes) == 1 / modes


def test_modes_go_from_independent_to_one() -> None:
    designs = [Modes(5, 100.0, evenness=e).design for e in np.linspace(0, 1, 9)]
    levels = [off_diagonal(d) for d in designs]
    np.testing.assert_allclose(levels[0], 0, atol=1e-9)
    np.testing.assert_allclose(levels[-1], 1, atol=1e-9)
    assert (np.diff([v.mean() for v in levels]) > 0).all()
    shared = Modes(4, 100.0, modes=2, evenness=0.0).design
    np.testing.assert_allclose(shared, [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]], atol=1e-9)
