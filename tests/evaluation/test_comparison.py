"""The same neurons for every method; a nearest neighbour that is nearest; a break-even that means it."""

import time

import numpy as np
import pytest

from neuroinf.evaluation.comparison import (
    Condition,
    NearestNeighbour,
    binned_summary,
    break_even_neurons,
    cost,
    run,
)
from neuroinf.evaluation.estimates import Estimates
from neuroinf.priors import Prior

QUIET, NOISY = Condition("quiet", {"voltage": 0.1}), Condition("noisy, no stimulus", {"voltage": 2.0}, ("stimulus",))


def observations(theta: np.ndarray, condition: Condition) -> np.ndarray:
    """Channel 0: the parameters as levels, a quarter of the time each, with noise; channel 1: a constant stimulus."""
    rng = np.random.default_rng(0)
    x = np.stack([np.repeat(theta, 25, axis=1), np.ones((len(theta), 100))], axis=1)
    x[:, 0] += condition.noise["voltage"] * rng.standard_normal(x[:, 0].shape)
    x[:, 1] = np.nan if "stimulus" in condition.missing else x[:, 1]
    return x


def test_every_method_sees_the_same_and_is_timed(prior: Prior) -> None:
    truth = prior.sample(20, np.random.default_rng(1))
    seen: dict[str, list] = {"a": [], "b": []}

    def a(x, condition):
        seen["a"].append(x)
        time.sleep(0.02)
        half = truth.copy()
        half[10:] = np.nan
        return Estimates("whatever", half)

    def b(x, condition):
        seen["b"].append(x)
        return None if condition.missing else Estimates("b", truth, seconds_per_neuron=3.0)

    result = run({"a": a, "b": b}, lambda c: observations(truth, c), truth, prior, [QUIET, NOISY])
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(seen["a"], seen["b"], strict=True))
    quiet, noisy = result.metrics(QUIET), result.metrics(NOISY)
    assert list(quiet) == ["prior_mean", "a", "b"]
    assert noisy["b"] is None
    assert [e.method for e in result.given(NOISY)] == ["prior_mean", "a"]
    assert quiet["a"] is not None
    assert quiet["b"] is not None
    assert quiet["a"]["n"] == 10
    assert 0.002 <= quiet["a"]["seconds_per_neuron"] < 0.2  # over the ten rows that it answered
    assert quiet["b"]["seconds_per_neuron"] == 3.0
    answered = result.restricted(np.arange(10)).metrics(QUIET)
    assert [m["n"] for m in answered.values() if m] == [10, 10, 10]
    assert answered["a"]["r2"] == quiet["a"]["r2"]
    with pytest.raises(ValueError, match="different names"):
        run({}, lambda c: observations(truth, c), truth, prior, [QUIET, QUIET])
    with pytest.raises(ValueError, match="prior_mean is always there"):
        run({"prior_mean": a}, lambda c: observations(truth, c), truth, prior, [QUIET])


def test_summary_of_stretches() -> None:
    x = np.array([[[1.0, 3.0, np.nan, 5.0, np.nan, np.nan]]])
    assert binned_summary(x, 3)[0] == pytest.approx([2.0, 5.0, np.nan, 1.0, 0.0, np.nan], nan_ok=True)


def test_nearest_neighbour_finds_the_row_itself(prior: Prior) -> None:
    theta = prior.sample(200, np.random.default_rng(2))
    method = NearestNeighbour(observations(theta, QUIET), theta, bins=4)
    assert (method(observations(theta, QUIET), QUIET).mean == theta).all()


@pytest.mark.parametrize("condition", [QUIET, NOISY])
def test_nearest_neighbour_by_brute_force(prior: Prior, condition: Condition) -> None:
    """The smallest standardised distance over the features that are observed, found with two loops."""
    rng = np.random.default_rng(3)
    theta, truth = prior.sample(60, rng), prior.sample(15, rng)
    x, y = observations(theta, QUIET), observations(truth, condition)
    features, queries = binned_summary(x, 8), binned_summary(y, 8)
    mean, std = features.mean(axis=0), features.std(axis=0)
    std[std == 0] = 1.0
    expected = []
    for query in queries:
        distances = [np.nansum(((query - f) / std) ** 2) for f in features]
        expected.append(theta[int(np.argmin(distances))])
    assert np.isfinite(mean).all()
    assert (NearestNeighbour(x, theta, bins=8)(y, condition).mean == np.array(expected)).all()


def test_break_even() -> None:
    assert break_even_neurons(100.0, 500.0, 2.01, 0.01) == pytest.approx(300.0)
    n = break_even_neurons(100.0, 500.0, 2.01, 0.01)
    assert n is not None
    for neurons, cheaper in ((n * 0.99, False), (n * 1.01, True)):
        assert (600 + neurons * 0.01 < neurons * 2.01) == cheaper
    assert break_even_neurons(100.0, 500.0, 0.01, 0.01) is None
    assert break_even_neurons(None, 500.0, 2.0, 0.01) is None
    assert break_even_neurons(100.0, float("nan"), 2.0, 0.01) is None
    assert cost(100.0, 500.0, 2.01, 0.01)["break_even_neurons"] == pytest.approx(300.0)
