"""A parameter without effect is found out: by simulation, in data, by what methods know. One with an effect is not."""

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation import verdict
from neuroinf.evaluation.estimates import Estimates, prior_mean
from neuroinf.evaluation.figures import trade_offs
from neuroinf.evaluation.identifiability import (
    combine_effects,
    effects_by_simulation,
    effects_in_data,
    identifiability,
    posterior_over_prior_sd,
)
from neuroinf.priors import GridParameter, GridPrior, Prior

STIMULUS = np.full((1, 1, 100), 100.0)


def test_simulation_finds_the_parameter_without_effect(simulator, prior: Prior) -> None:
    rng = np.random.default_rng(0)
    effects = effects_by_simulation(simulator, prior, prior.sample(12, rng), STIMULUS, 1.0, rng)
    assert [e.moves_response for e in effects] == [True, True, True, False]
    assert [e.changed for e in effects[:2]] == [12, 12]
    # th moves the response only of those that reach it: gain * 100 pA = 5 to 20 mV against 5 to 15 mV
    assert 0 < effects[2].changed <= 12
    assert effects[3].changed == 0


def test_a_parameter_that_matters_nowhere_near_these_neurons_is_said_to_matter_nowhere(simulator, prior: Prior) -> None:
    """Without current nothing but noise is left: gain, tau and label do nothing, whatever they do elsewhere."""
    rng = np.random.default_rng(1)
    effects = effects_by_simulation(simulator, prior, prior.sample(5, rng), np.zeros((1, 1, 50)), 1.0, rng)
    assert [e.changed for e in effects] == [0, 0, 0, 0]


def test_data_on_a_grid_show_the_parameter_without_effect(simulator) -> None:
    grid = GridPrior(
        {
            "tau": GridParameter("ms", [5.0, 20.0]),
            "gain": GridParameter("mV/pA", [0.05, 0.1, 0.2]),
            "th": GridParameter("mV", [5.0, 8.0]),
            "label": GridParameter("1", [1.0, 2.0, 3.0]),
        },
        enumerate=True,
    )
    theta = grid.grid()
    index = np.zeros(len(theta), dtype=np.int32)
    response = simulator.simulate(theta, STIMULUS, 1.0, 7)  # one seed: the noise is the same in every row
    effects = effects_in_data(theta, response, grid.names, index)
    assert [(e.compared, e.moves_response) for e in effects] == [(18, True), (12, True), (18, True), (12, False)]
    # rows that saw different waveforms are not compared
    effects = effects_in_data(theta, response, grid.names, np.arange(len(theta), dtype=np.int32))
    assert [(e.compared, e.moves_response) for e in effects] == [(0, None)] * 4


def test_data_drawn_from_a_box_cannot_tell(simulator, prior: Prior) -> None:
    theta = prior.sample(20, np.random.default_rng(2))
    effects = effects_in_data(theta, simulator.simulate(theta, STIMULUS, 1.0), prior.names, np.zeros(20, dtype=int))
    assert [e.moves_response for e in effects] == [None] * 4
    known = effects_by_simulation(simulator, prior, theta, STIMULUS, 1.0, np.random.default_rng(3))
    assert combine_effects(effects, known) == {e.parameter: e for e in known}
    assert combine_effects(known, effects) == {e.parameter: e for e in known}


def test_nan_and_signed_zero_do_not_count_as_differences() -> None:
    nan = np.frombuffer(np.array([0xFFF8000000000001], dtype=np.uint64).tobytes(), dtype=np.float64)[0]
    theta = np.array([[1.0, 5.0], [2.0, 5.0], [1.0, 6.0], [2.0, 6.0]])
    voltage = np.array([[np.nan, 0.0], [nan, -0.0], [1.0, np.nan], [1.0, 2.0]])
    effects = effects_in_data(theta, {"voltage": voltage}, ["a", "b"], np.zeros(4, dtype=int))
    assert [(e.changed, e.compared) for e in effects] == [(1, 2), (2, 2)]


def test_posterior_over_prior_sd_of_known_posteriors(prior: Prior) -> None:
    """Uniform posteriors of half the prior's width: 0.5. The prior itself: 1. Within the error of 20,000 draws."""
    rng = np.random.default_rng(4)
    u = rng.random((100, 200, 4))
    u[..., :2] = 0.25 + 0.5 * u[..., :2]
    ratio = posterior_over_prior_sd(prior.from_unit(u), prior)
    spread = stats.norm.isf(0.25e-4) * np.sqrt((1 / 180) / 20_000) / (1 / 12) / 2 * 1.05
    assert ratio == pytest.approx([0.5, 0.5, 1.0, 1.0], rel=spread)
    assert np.isnan(posterior_over_prior_sd(np.full((3, 5, 4), np.nan), prior)).all()


def test_a_method_recovers_what_it_knows_and_nothing_else(simulator, prior: Prior) -> None:
    rng = np.random.default_rng(5)
    truth = prior.sample(200, rng)
    u = prior.to_unit(truth)
    guess = rng.random(u.shape)
    guess[:, 0] = np.clip(u[:, 0] + 0.1 * rng.normal(size=200), 0, 1)
    guess[:, 1] = 0.5 * u[:, 1] + rng.random(200)  # knows something, yet its error is larger than the prior mean's
    answer = Estimates("amortized", prior.from_unit(guess), samples=prior.from_unit(rng.random((200, 50, 4))))
    effects = {e.parameter: e for e in effects_by_simulation(simulator, prior, truth[:5], STIMULUS, 1.0, rng)}
    entries = identifiability(truth, [prior_mean(prior, 200), answer], prior, effects, rng)
    assert list(entries) == list(prior.names)
    assert [e["recovered_by"] for e in entries.values()] == [["amortized"], [], [], []]
    assert entries["gain"]["information_p"]["amortized"] < 1e-4
    assert entries["label"]["moves_response"] is False
    assert entries["tau"]["moves_response"] is True
    assert entries["label"]["posterior_over_prior_sd"] == pytest.approx(1.0, abs=0.05)
    nothing_known = identifiability(truth, [prior_mean(prior, 200)], prior, {}, rng)
    assert nothing_known["tau"]["moves_response"] is None


def test_neurons_that_leave_a_parameter_open_are_counted_and_trade_offs_shown(prior: Prior) -> None:
    """30 neurons know gain, 10 do not; tau and th are correlated in all, strongly in those 10; label is never known."""
    rng = np.random.default_rng(6)
    open_ones = np.arange(40) < 10
    z = 0.2 * rng.standard_normal((40, 1000, 4))
    z[..., 3] *= 5
    z[open_ones, :, 1] *= 5
    r = np.where(open_ones, 0.97, 0.5)[:, None]
    z[..., 2] = r * z[..., 0] + np.sqrt(1 - r**2) * z[..., 2]
    samples = prior.from_unit(stats.norm.cdf(z))
    answer = Estimates("amortized", samples.mean(axis=1), samples=samples)
    entries = identifiability(samples[:, 0], [prior_mean(prior, 40), answer], prior, {}, rng)
    assert [entry["unidentified"] for entry in entries.values()] == [0.0, 0.25, 0.0, 1.0]
    assert entries["tau"]["trades_off"] == {"gain": 0.0, "th": 0.25, "label": 0.0}
    # Fisher's z of one neuron has the sd 1 / sqrt(997); the median over 40 is nearer, here no bound is needed beyond it
    allowed = stats.norm.isf(0.5e-4) / np.sqrt(997)
    assert np.arctanh(entries["th"]["correlation"]["tau"]) == pytest.approx(np.arctanh(0.5), abs=allowed)
    assert abs(entries["tau"]["correlation"]["label"]) < allowed
    figure = trade_offs(entries, prior.names)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 6 and texts[1] == f"{entries['th']['correlation']['tau']:.2f}\n(25 %)"
    assert identifiability(samples[:, 0], [prior_mean(prior, 40)], prior, {}, rng)["tau"]["unidentified"] is None
    sentences = " ".join(verdict.not_identified({"parameters": list(prior.names), "identifiability": entries}))
    assert "Some neurons' recordings leave a parameter as the prior has it" in sentences
    assert "gain (25 %) and label (100 %)" in sentences and "th and tau (25 %)" in sentences
