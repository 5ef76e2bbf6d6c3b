"""Scores of hidden activity, of weights under correlated inputs, and of bins that nobody has seen."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hidden_neurons import held_out, simulation
from scipy import integrate, stats

from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.confounding import bias_slope, confounding, given_sign
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.glm_findings import glm_findings, input_correlation
from neuroinf.evaluation.held_out_bins import Continued
from neuroinf.evaluation.hidden import Recovered, hidden_scores, weight_error
from neuroinf.fits import per_neuron_fits
from neuroinf.fits.glm_likelihood import HiddenLaw
from neuroinf.simulators import GLM
from neuroinf.stimuli import GaussianInputs, PoissonInputs

CONDITION = Condition("half", {}, duration=1000.0)


def test_scores_of_activity() -> None:
    rng = np.random.default_rng(0)
    h = rng.standard_normal(20_000)
    error = 0.5 * rng.standard_normal(20_000)
    nan = np.full_like(h, math.nan)
    reach = 0.5 * stats.norm.ppf(0.95)
    seen = Recovered(h, h + error, h + error - reach, h + error + reach, False)
    # correlation 1 / sqrt(1 + 0.25); four standard errors of 20,000 bins are 0.01
    assert seen.r == pytest.approx(1 / math.sqrt(1.25), abs=0.01) and seen.raw_r == -seen.r
    assert seen.r2 == pytest.approx(0.75, abs=0.02) and seen.covered == pytest.approx(0.9, abs=0.009)
    flat = Recovered(h, np.zeros_like(h), nan, nan, True)
    assert math.isnan(flat.r) and math.isnan(flat.covered)
    scores = hidden_scores([seen, flat], np.array([0.1, 0.3, math.nan]), 0.01)
    assert scores["r"] == seen.r and scores["n"] == 2 and scores["weight_error"] == pytest.approx(0.2)
    assert weight_error(np.array([[3.0, 4.0]]), np.array([[3.0, 3.0]])).tolist() == [0.2]


@pytest.mark.parametrize("c", [0.2, 0.5, 0.8])
def test_the_regression_has_the_bias_that_correlation_gives_it(c: float, tmp_path: Path) -> None:
    """g = c / (1 - c + 3 c) for each of three inputs; a posterior that knows it has none, its sign given."""
    test = held_out(simulation(400, 400.0, GaussianInputs(4, 400.0, correlation=c)), tmp_path)
    x = test.observe(Condition("all", {}))
    fit = per_neuron_fits(test.simulation, test.simulation.prior, 1.0, np.random.default_rng(0))["per_neuron_fit"]
    theta, _ = fit.run(test.evidence(x, Condition("all", {})))
    expected = c / (1 + 2 * c)
    slope = bias_slope(theta[:, :3] - test.truth[:, :3], test.truth[:, 4])
    # an estimate's own error, sd (1 - R2)^0.5 w_h / sqrt(400 (1 - c)), over 400 neurons: four standard errors are 0.02
    np.testing.assert_allclose(slope, expected, atol=0.02)
    assert input_correlation(test.first(20)) == pytest.approx(c, abs=0.05)

    rng = np.random.default_rng(1)
    sign = rng.choice([-1, 1], (400, 200))
    samples = np.repeat(test.truth[:, None], 200, axis=1)
    samples[:, :, 4] = np.abs(samples[:, :, 4]) * sign
    told = (
        np.sign(test.truth[:, 4])[:, None] * sign
    )  # with the other sign, the weights are those of a hidden input upside down
    samples[:, :, :3] += expected * (test.truth[:, 4:5] - samples[:, :, 4])[:, :, None]
    samples[:, :, :3] += 0.01 * rng.standard_normal((400, 200, 3))
    assert (told == np.sign(samples[:, :, 4] * test.truth[:, 4:5])).all()
    answers = [Estimates("per_neuron_fit", theta), Estimates("amortized", samples.mean(1), samples)]
    found = confounding(test.truth, answers, [0, 1, 2], 4, c)["methods"]
    assert found["amortized"]["bias_over_fit"] < 0.02
    assert found["amortized"]["width"] == pytest.approx(0.01, rel=0.02)
    mean, _ = given_sign(samples, 4, test.truth[:, 4])
    np.testing.assert_allclose(mean[:, :3], test.truth[:, :3], atol=0.01)


def test_a_neuron_without_a_sample_of_its_sign_has_no_answer_given_it() -> None:
    samples = np.full((2, 10, 1), -1.0)
    mean, sd = given_sign(samples, 0, np.array([1.0, -1.0]))
    assert np.isnan(mean[0]).all() and mean[1] == -1 and sd[1] == 0


def test_bins_to_come_integrate_the_hidden_input_out_and_carry_nothing_over() -> None:
    """A11: against quadrature by scipy, and unchanged by whatever the observed stretch was."""
    rng = np.random.default_rng(2)
    neuron = GLM(inputs=2, hidden=1, output="bernoulli")
    x, theta = rng.standard_normal((3, 2, 80)), rng.uniform(-1, 1, (3, 4))
    y = (rng.random((3, 80)) < 0.5).astype(np.float64)
    neurons = Continued(neuron, [HiddenLaw.gaussian()] * 3, x, y, 60, 1.0)
    found = neurons.scores(theta[:, None])["held_out_bits_per_bin"]
    for row in range(3):
        total = 0.0
        for t in range(60, 80):
            eta = theta[row, :2] @ x[row, :, t] + theta[row, 2]
            p = integrate.quad(lambda h: stats.norm.pdf(h) / (1 + math.exp(-eta - theta[row, 3] * h)), -9, 9)[0]  # noqa: B023
            total += math.log2(p if y[row, t] else 1 - p)
        assert found[row] == pytest.approx(total / 20, abs=1e-6)
    other = y.copy()
    other[:, :60] = rng.permuted(y[:, :60], axis=1)
    elsewhere = x.copy()
    elsewhere[:, :, :60] = rng.standard_normal((3, 2, 60))
    again = replace(neurons, x=elsewhere, y=other)
    np.testing.assert_array_equal(again.scores(theta[:, None])["held_out_bits_per_bin"], found)
    samples = np.stack([theta, -theta], axis=1)
    halves = [neurons.scores(part[:, None])["held_out_bits_per_bin"] for part in (theta, -theta)]
    # log of a mean is no less than the mean of logs
    assert (neurons.scores(samples)["held_out_bits_per_bin"] >= np.mean(halves, axis=0)).all()


def test_true_parameters_predict_best(tmp_path: Path) -> None:
    test = held_out(simulation(60, 2000.0, output="bernoulli", size=1.5), tmp_path)
    entries, _ = glm_findings(test, CONDITION, [Estimates("wrong", -test.truth)], 60)
    predicted = entries["predictive"]
    best = predicted["true_parameters"]
    assert best["bits_per_bin_below_true"] == 0 and best["n"] == 60
    assert best["held_out_bits_per_spike"] > 0 > predicted["wrong"]["held_out_bits_per_spike"]
    assert predicted["constant_rate"]["bits_per_bin_below_true"] > 0


@pytest.mark.parametrize("stimulus", [GaussianInputs(4, 2000.0), PoissonInputs(4, 2000.0)])
def test_the_true_parameters_know_the_hidden_activity_of_a_rate(stimulus, tmp_path: Path) -> None:
    test = held_out(simulation(10, 2000.0, stimulus), tmp_path)
    flipped = test.truth * np.array([1, 1, 1, 1, -1])
    entries, figures = glm_findings(
        test, CONDITION, [Estimates("amortized", test.truth), Estimates("per_neuron_fit", flipped)], 10
    )
    hidden, predicted = entries["hidden"], entries["predictive"]
    for method, raw in (
        ("amortized", 1),
        ("per_neuron_fit", -1),
    ):  # with the wrong sign all but the raw score are the same
        # a rate in float32 says its drive to 1e-6, the hidden input to 1e-6 / w_h
        assert hidden[method]["r"] == pytest.approx(1, abs=1e-3) and hidden[method]["raw_r"] == pytest.approx(
            raw, abs=1e-2
        )
        assert hidden[method]["r2"] > 0.99 and hidden[method]["weight_error"] == 0
    # the floor of predicting rates is what the hidden input moves: not zero
    assert predicted["true_parameters"]["held_out_rmse"] > 0.01
    assert predicted["amortized"]["rmse_over_true"] == 1
    assert [name for name, _, _ in figures] == ["hidden_scatter", "hidden_traces"]


def test_predictions_without_bins_to_come_are_none(tmp_path: Path) -> None:
    test = held_out(simulation(4, 100.0), tmp_path)
    entries, _ = glm_findings(test, Condition("all", {}), [Estimates("a", test.truth)], 4)
    assert entries["predictive"] == {} and entries["hidden"]["a"]["n"] == 4
