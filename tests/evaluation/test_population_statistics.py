"""Statistics of switching activity on processes whose statistics are known."""

from __future__ import annotations

import numpy as np
import pytest

from neuroinf.evaluation.population_statistics import (
    activity_correlation,
    autocorrelation,
    dominance,
    dwell_times,
    fluctuation,
    is_bistable,
    levels,
    switches,
    two_states,
)

DT = 4.0


def telegraph(rng: np.random.Generator, bins: int, mean: float) -> np.ndarray:
    """A state, 0 or 1, whose dwell times are geometric of a mean, ms."""
    return np.cumsum(rng.random(bins) < DT / mean) % 2


def circuit(rng: np.random.Generator, bins: int = 100_000, noise: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    state = telegraph(rng, bins, 4000.0)
    mean = np.array([np.where(state, 19.0, 6.0), np.where(state, 6.0, 19.0), np.full(bins, 24.5)])
    return mean + noise * rng.standard_normal(mean.shape), state


def test_states_have_a_memory_between_the_thresholds() -> None:
    np.testing.assert_array_equal(two_states([5, 2, 5, 9, 5, 5, 1, 5], 2.0, 8.0), [0, 0, 0, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(two_states([5, 9, 5], 2.0, 8.0), [1, 1, 1])
    np.testing.assert_array_equal(two_states([5, 5], 2.0, 8.0), [0, 0])
    with pytest.raises(ValueError, match="below"):
        two_states([1.0], 2.0, 2.0)


def test_dwell_times_and_switches_by_hand() -> None:
    states = [0, 1, 1, 1, 0, 0, 1]
    np.testing.assert_array_equal(dwell_times(states, DT), [12.0, 8.0])
    assert switches(states, DT) == pytest.approx(3 / (7 * DT) * 1e5)
    assert len(dwell_times([0, 0, 0], DT)) == 0


def test_dwell_times_of_a_telegraph_process() -> None:
    """Noise as large as half the distance of the states does not change which state is seen, nor for how long."""
    rates, state = circuit(np.random.default_rng(2))
    found = dominance(rates, DT)
    assert (found == state).mean() > 0.97
    # 100 dwells of exponential law: the mean's relative standard error is 0.1; dwells shorter than the window are missed, which
    # at a mean of 4 s are 5 % of them. Beyond 3.9 standard errors with a probability of 1e-4
    dwells = dwell_times(found, DT)
    assert abs(dwells.mean() / 4000 - 1) < 0.1 + 3.9 / np.sqrt(len(dwells))
    assert switches(found, DT) == pytest.approx(25.0, rel=0.1 + 3.9 / 10)


def test_levels_and_bistability() -> None:
    rates, _ = circuit(np.random.default_rng(3))
    found = levels(rates, dominance(rates, DT))
    np.testing.assert_allclose([found.winner, found.loser, found.rest[0]], [19.0, 6.0, 24.5], atol=0.5)
    steady = np.array([np.full(1000, 12.0), np.full(1000, 12.0), np.full(1000, 24.5)])
    other = levels(steady, dominance(steady, DT))
    assert is_bistable(found, found, 5.0)
    assert not is_bistable(found, found, 0.0)
    assert not is_bistable(other, found, 5.0)


def test_fluctuation_around_each_state() -> None:
    rates, _ = circuit(np.random.default_rng(4))
    states = dominance(rates, DT)
    np.testing.assert_allclose(fluctuation(rates)[:2], np.hypot(6.0, 6.5), rtol=0.02)
    np.testing.assert_allclose(fluctuation(rates, states), 6.0, rtol=0.1)


def test_autocorrelation_of_an_autoregressive_process() -> None:
    rng, x = np.random.default_rng(5), np.zeros(200_000)
    for t in range(1, len(x)):
        x[t] = 0.8 * x[t - 1] + rng.standard_normal()
    # standard error at lag k below sqrt((1 + rho^2) / (1 - rho^2) / n) = 0.005 (Bartlett)
    np.testing.assert_allclose(autocorrelation(x, 5), 0.8 ** np.arange(6), atol=3.9 * 0.005)
    assert np.isnan(autocorrelation(np.ones(10), 2)).all()
    with pytest.raises(ValueError, match="lags"):
        autocorrelation(np.ones(3), 3)


def test_correlation_of_activity_sees_through_fast_noise() -> None:
    rates, state = circuit(np.random.default_rng(6), 20_000)
    truth = np.array([np.where(state, 19.0, 6.0), np.where(state, 6.0, 19.0), np.full(len(state), 24.5)])
    raw, smooth = activity_correlation(rates, truth, DT, 0.0), activity_correlation(rates, truth, DT)
    assert raw[0] == pytest.approx(6.5 / np.hypot(6.0, 6.5), abs=0.02)
    assert smooth[0] > 0.95 and np.isnan(smooth[2])
