"""Simulated against observed: perfect for the truth, worse the further away, undefined where there is nothing."""

import numpy as np
import pytest

from neuroinf.evaluation.predictive import Responses, compare, simulate, summarise
from neuroinf.priors import Prior

STIMULUS = 100 + 80 * np.sin(np.arange(2000) * 0.1)[None, None, :]


def test_the_truth_predicts_itself(simulator, prior: Prior) -> None:
    theta = prior.sample(6, np.random.default_rng(0))
    observed = simulate(simulator, theta, STIMULUS, 0.5, 1.0, range(6))
    assert observed.duration == 1000.0
    assert observed.voltage is not None
    assert observed.voltage.shape == (6, 1000)
    full = simulator.simulate(theta, STIMULUS, 0.5, list(range(6)))
    assert (observed.voltage == full["voltage"][:, 1::2]).all()  # the sample at the end of each millisecond
    scores = compare(observed, simulate(simulator, theta, STIMULUS, 0.5, 1.0, range(6)))
    assert (scores["voltage_rmse"] == 0).all()
    spiking = np.array([len(s) > 0 for s in observed.spikes if s is not None])
    assert scores["spike_gamma"][spiking] == pytest.approx(np.ones(spiking.sum()))
    assert np.isnan(scores["spike_gamma"][~spiking]).all()
    assert (scores["explained_variance_ratio"] == 1).all()
    for key in ("rate_error", "cv_error", "lv_error", "adaptation_error"):
        assert np.nan_to_num(scores[key]).max() == 0


def test_further_away_is_worse(simulator, prior: Prior) -> None:
    theta = np.tile([20.0, 0.12, 8.0, 0.0], (4, 1))
    observed = simulate(simulator, theta, STIMULUS, 0.5, 1.0, range(4))
    rmse = []
    for factor in (1.0, 1.1, 1.5):
        predicted = simulate(simulator, theta * [1, factor, 1, 1], STIMULUS, 0.5, 1.0, range(10, 14))
        rmse.append(np.median(compare(observed, predicted)["voltage_rmse"]))
    assert rmse == sorted(rmse)
    # two independent noises of 0.1 mV: 0.141 mV, standard error of a root mean square over 1000 samples below 3 %
    assert rmse[0] == pytest.approx(0.1 * np.sqrt(2), rel=0.12)


def test_rows_without_estimate_have_no_scores(simulator, prior: Prior) -> None:
    theta = prior.sample(3, np.random.default_rng(1))
    observed = simulate(simulator, theta, STIMULUS, 0.5, 1.0, range(3))
    missing = theta.copy()
    missing[1, 2] = np.nan
    scores = compare(observed, simulate(simulator, missing, STIMULUS, 0.5, 1.0, range(3)))
    assert all(np.isnan(values[1]) for values in scores.values())
    assert (scores["voltage_rmse"][[0, 2]] == 0).all()
    summary = summarise(scores)
    assert summary["n"] == 2
    nobody = compare(observed, simulate(simulator, np.full((3, 4), np.nan), STIMULUS, 0.5, 1.0, range(3)))
    assert np.isnan(summarise(nobody)["voltage_rmse"])


def test_scores_by_hand() -> None:
    nan = np.nan
    observed = Responses(200.0, 50.0, np.array([[0.0, nan, 2.0, 3.0]]), [np.array([20.0, 60.0, 100.0, 160.0])])
    predicted = Responses(200.0, 50.0, np.array([[1.0, 9.0, nan, 1.0]]), [np.array([21.0, 63.0, 150.0])])
    scores = compare(observed, predicted)
    assert scores["voltage_rmse"][0] == pytest.approx(np.sqrt((1 + 4) / 2))
    assert scores["rate_error"][0] == pytest.approx(5.0)
    chance = 2 * 2 * 3 / 200
    assert scores["spike_gamma"][0] == pytest.approx((1 - chance * 4) / 3.5 / (1 - chance))
    chance = 2 * 4 * 3 / 200
    assert scores["spike_gamma_4"][0] == pytest.approx((2 - chance * 4) / 3.5 / (1 - chance))
    intervals, others = np.array([40.0, 40.0, 60.0]), np.array([42.0, 87.0])
    expected = abs(intervals.std() / intervals.mean() - others.std() / others.mean())
    assert scores["cv_error"][0] == pytest.approx(expected)


def test_spikes_at_the_very_end_belong_to_no_step() -> None:
    train = np.array([20.0, 200.0])
    scores = compare(Responses(200.0, 1.0, None, [train]), Responses(200.0, 1.0, None, [train[:1]]))
    assert scores["rate_error"][0] == 0
    assert np.isnan(scores["voltage_rmse"][0])


def test_what_does_not_match_is_refused() -> None:
    one = Responses(200.0, 1.0, np.zeros((1, 200)), [np.array([])])
    with pytest.raises(ValueError, match="cannot compare"):
        compare(one, Responses(300.0, 1.0, np.zeros((1, 300)), [np.array([])]))
    with pytest.raises(ValueError, match="do not match"):
        compare(one, Responses(200.0, 2.0, np.zeros((1, 100)), [np.array([])]))
