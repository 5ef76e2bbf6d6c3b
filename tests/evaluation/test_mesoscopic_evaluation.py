"""Hidden populations beside the published fit: windows, scores that accept the truth and reject what is wrong, one comparison."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.stats import binom

from neuroinf.checkpoints import reads_populations
from neuroinf.commands.evaluate import evaluate_from_command_line
from neuroinf.errors import InputError
from neuroinf.evaluation import mesoscopic_answers
from neuroinf.evaluation import mesoscopic_comparison as comparison
from neuroinf.evaluation import mesoscopic_predictive as predictive
from neuroinf.evaluation.mesoscopic_answers import WindowAnswer, first_guess
from neuroinf.evaluation.mesoscopic_comparison import Plan, fitted_windows
from neuroinf.evaluation.mesoscopic_draws import NearestDraw, draws
from neuroinf.evaluation.mesoscopic_evaluation import compare, planned, write
from neuroinf.evaluation.mesoscopic_findings import activity_scores, parameter_ratios, quartiles, window_methods
from neuroinf.evaluation.mesoscopic_windows import windows
from neuroinf.fits.competing_posterior import CompetingPosterior
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import Circuit

CIRCUIT = Circuit(J=[9.984, 9.984, 19.968], synapse=[3.0, 3.0, 6.0])
PRIOR = Prior(
    {
        name: Parameter(unit, 0.4 * value, 2.0 * value)
        for name, unit, value in zip(CIRCUIT.parameters, CIRCUIT.units, CIRCUIT.truth, strict=True)
    }
)
SHORT = 2000.0


@pytest.fixture(scope="module")
def seen():
    return windows(CIRCUIT, 4, 2, SHORT)


def answer(window, values=CIRCUIT.truth, rates=None, scale=1.0):
    """A stand-in for a network: true rates in intervals that hold `scale` times what they say."""
    rng = np.random.default_rng(len(window.name))
    true = window.rates
    sd = 3.0 + 0.2 * true
    middle = true + sd * rng.standard_normal(true.shape)
    half = 1.645 * scale * sd
    return WindowAnswer(values, None, middle if rates is None else rates, middle - half, middle + half, 0.1)


def test_windows_follow_one_another_and_hold_what_the_network_did(seen):
    assert [w.name for w in seen] == ["seed20221_1s", "seed20221_4s", "seed20222_1s", "seed20222_4s"]
    again = windows(CIRCUIT, 2, 2, SHORT)
    for one, other in zip(again, (seen[0], seen[2]), strict=True):
        # a network's first window does not depend on how many follow
        np.testing.assert_array_equal(one.rates, other.rates)
        assert all(np.array_equal(a, b) for a, b in zip(one.recording.spikes, other.recording.spikes, strict=True))
    for window in seen:
        assert window.rates.shape == (3, 500) and window.recording.duration == 3000.0
        for m in range(3):
            # three neurons' spikes are at most as variable as Poisson numbers with the population's true rate
            count = sum(len(window.scored.spikes[k]) for k in np.flatnonzero(window.scored.groups == m))
            mean = 3 * window.rates[m].mean() * SHORT / 1000
            assert abs(count - mean) < 4.5 * np.sqrt(mean) + 1
        likelihood = window.likelihood(CIRCUIT)
        assert likelihood.shape == window.rates.shape
        assert likelihood.fired[:, 250:].sum() == sum(len(train) for train in window.scored.spikes)
    with pytest.raises(InputError, match="at least one of each of 3 networks"):
        windows(CIRCUIT, 2, 3, SHORT)


def test_the_first_windows_of_all_networks_are_fitted_first(seen):
    assert fitted_windows(seen, 1) == [0] and fitted_windows(seen, 2) == [0, 2]
    assert fitted_windows(seen, 3) == [0, 1, 2] and fitted_windows(seen, 9) == [0, 1, 2, 3]


def test_quartiles_leave_out_what_is_missing():
    found = quartiles([1.0, np.nan, 2.0, 3.0, 4.0, 5.0])
    assert (found["median"], found["low"], found["high"], found["n"]) == (3.0, 2.0, 4.0, 5)
    assert np.isnan(quartiles([])["median"]) and quartiles([])["n"] == 0


def test_circuits_of_a_window_are_kept_and_are_none_where_one_population_leads(seen, tmp_path, monkeypatch, capsys):
    asked = []

    def found(circuit, prior, observed, start, duration, seed):
        asked.append((observed, duration, seed))
        return CompetingPosterior(start[:3], 0.2, 0.3, 50.0)

    monkeypatch.setattr(mesoscopic_answers, "competing_posterior", found)
    rates = np.repeat([[20.0], [5.0], [25.0]], 500, 1)
    rates[:2, 250:] = [[5.0], [20.0]]
    samples = CIRCUIT.truth * np.linspace(0.9, 1.1, 10)[:, None]
    start = replace(answer(seen[0], rates=rates), samples=samples)
    given = [mesoscopic_answers.agreeing(seen[0], CIRCUIT, PRIOR, start, tmp_path) for _ in range(2)]
    for one in given:
        assert one is not None and one.seconds == pytest.approx(50.1)
        np.testing.assert_array_equal(one.samples, samples[:3])
    # the second time it is read
    assert len(asked) == 1 and asked[0][1] == SHORT
    assert [path.suffix for path in (tmp_path / seen[0].name).iterdir()] == [".npz"]
    alone = replace(start, rates=np.repeat(rates[:, :1], 500, 1))
    assert mesoscopic_answers.agreeing(seen[0], CIRCUIT, PRIOR, alone, tmp_path) is None
    assert "both of the competing populations" in capsys.readouterr().err and len(asked) == 1


def test_ratios_are_of_estimates_over_the_truth(seen):
    wrong = CIRCUIT.truth * np.where([name.startswith("J_") for name in CIRCUIT.parameters], 1.5, 1.0)
    given = {
        "amortized": [answer(w, wrong) for w in seen],
        "initial_guess": [first_guess(w, CIRCUIT) for w in seen],
        "per_neuron_fit": [answer(seen[0]), None, None, None],
    }
    found = parameter_ratios(given, CIRCUIT)
    assert set(found) == {"amortized", "per_neuron_fit"}  # the first guess has no parameters
    assert found["amortized"]["coupling_error"]["J_I"]["median"] == pytest.approx(0.5)
    assert found["amortized"]["ratio"]["mu_E1"]["median"] == pytest.approx(1.0)
    assert found["amortized"]["mean_error"]["median"] == pytest.approx(3 * 0.5 / 12)
    assert found["per_neuron_fit"]["mean_error"] == {"median": 0.0, "low": 0.0, "high": 0.0, "n": 1}
    methods = window_methods(given, CIRCUIT.truth, PRIOR)
    assert methods["per_neuron_fit"]["n"] == 1 and methods["amortized"]["n"] == 4
    assert methods["initial_guess"]["n"] == 0 and methods["initial_guess"]["nrmse"]["J_I"] is None
    # half of the true value in a range of 1.6 times the true value
    assert methods["amortized"]["nrmse"]["J_I"] == pytest.approx(0.5 / 1.6)
    assert methods["amortized"]["sbc_p"]["J_I"] is None and methods["amortized"]["r2"]["J_I"] is None


def test_activity_scores_accept_the_truth_and_reject_a_wrong_one(seen):
    given = {
        "truth": [answer(w, rates=w.rates) for w in seen],
        "noisy": [answer(w) for w in seen],
        "too_sure": [answer(w, scale=0.3) for w in seen],
        "swapped": [answer(w, rates=w.rates[[1, 0, 2]]) for w in seen],
        "shifted": [answer(w, rates=w.rates + 2.0) for w in seen],
    }
    found = activity_scores(given, seen, CIRCUIT)
    for name in CIRCUIT.names:
        assert found["truth"]["correlation"][name]["median"] == pytest.approx(1.0)
        assert found["truth"]["level_error"][name]["median"] == pytest.approx(0.0, abs=1e-9)
        assert found["shifted"]["level_error"][name]["median"] == pytest.approx(2.0)
        assert found["noisy"]["correlation"][name]["median"] < 1.0
        # independent bins: the quartiles over windows lie within those of a binomial number, up to 1e-4
        low, high = binom.ppf([5e-5, 1 - 5e-5], 500, 0.9) / 500
        assert low <= found["noisy"]["coverage_90"][name]["median"] <= high
        assert found["too_sure"]["coverage_90"][name]["median"] < low
    # the excitatory populations compete: one's rate says the opposite of the other's, where a window has both states
    assert found["swapped"]["correlation"]["E1"]["median"] < 0.5


@pytest.fixture(scope="module")
def truth():
    return comparison.true_behaviour(CIRCUIT, predictive.step_input(3), Plan(seconds=60.0))


def test_free_simulations_accept_the_truth_and_reject_wrong_parameters(truth, seen):
    levels = predictive.pooled_levels(truth.runs)
    network = predictive.microscopic(CIRCUIT)
    same = predictive.free_runs(network, np.repeat(CIRCUIT.truth[None], 8, 0), 3, 60_000.0, 5)
    # at 5 switches in 100 s or more, 60 s are without one with probability exp(-3) at most: 5 or more of 8 have
    # probability below 1e-4
    assert binom.sf(4, 8, np.exp(-3)) < 1e-4
    assert sum(run.like(levels) for run in same) >= 4
    uncoupled = CIRCUIT.truth.copy()
    uncoupled[[3, 4, 5]] *= 0.5
    other = predictive.free_runs(network, np.repeat(uncoupled[None], 8, 0), 3, 60_000.0, 5)
    assert sum(run.like(levels) for run in other) == 0
    scores = comparison.free_scores(
        truth,
        {
            "same": [comparison.Predicted(same, truth.response)] * 4,
            "other": [None, comparison.Predicted(other, truth.response), None, None],
        },
        seen,
        60.0,
    )
    assert scores["methods"]["same"]["like_truth"] >= 0.5 and scores["methods"]["other"]["like_truth"] == 0.0
    assert scores["methods"]["same"]["n"] == 32 and scores["methods"]["other"]["n"] == 8
    assert scores["truth"]["winner"] == pytest.approx(levels.winner)


def test_the_response_to_a_step_accepts_the_truth_and_rejects_wrong_parameters(truth):
    waveform = predictive.step_input(3)
    assert waveform.shape == (3, 200) and waveform[0, 50:100].tolist() == [100.0] * 50
    assert np.count_nonzero(waveform) == 50
    true = truth.response[0]
    before = true[:, :50].mean(1, keepdims=True)
    assert predictive.response_r2(true, true) == 1.0
    assert predictive.response_r2(np.repeat(before, 200, 1), true) == pytest.approx(0.0)
    assert predictive.response_r2(2 * before - true, true) < -1.0  # the response with the wrong sign
    network = predictive.microscopic(CIRCUIT)
    weak = CIRCUIT.truth.copy()
    weak[[6, 7, 8]] *= 0.6
    same, other = predictive.step_responses(network, np.array([CIRCUIT.truth, weak]), waveform, 100, 9)
    # trials begin in either state, so that means of n trials of the two populations, 13 Hz apart in the two states, have an
    # sd of 6.5 / sqrt(n); the difference of both means at n = 100 and 200, in two populations and all bins, has the square
    # 2 (6.5^2 / 100 + 6.5^2 / 200) = 1.27 Hz^2 on average, and 12 times that with probability below 1e-4 (chi-squared, 1)
    assert np.square(same - true).sum() < 12 * 1.27 * 200 + np.square(same - true)[2].sum()
    assert predictive.response_r2(same, true) > 0.5
    assert predictive.response_r2(other, true) < predictive.response_r2(same, true) - 0.3


def test_the_nearest_draw_of_a_draw_is_itself():
    found = draws(CIRCUIT, PRIOR, 6, 3, 1000.0)
    assert found.theta.shape == (6, 12) and found.rates.shape == (6, 3, 250)
    np.testing.assert_array_equal(NearestDraw(found)(found.recordings), found.theta)
    assert found.stable.tolist() == [
        bool((row.mean(1) >= 0.5).all() and row.mean(1).max() < 119) for row in found.rates
    ]
    again = draws(CIRCUIT, PRIOR, 3, 3, 1000.0)
    np.testing.assert_array_equal(again.rates, found.rates[:3])


def test_plans_that_make_no_comparison_are_refused():
    assert planned() == Plan() and planned(windows=2) == replace(Plan(), windows=2, networks=2, fits=2)
    for given, message in (
        ({"windows": 0}, "networks: expected at least 1"),
        ({"windows": 2, "networks": 3}, "windows: expected one of each of 3"),
        ({"restarts": 0}, "restarts: expected at least 1, found 0"),
        ({"draws": 1}, "draws: expected at least 2, found 1"),
    ):
        with pytest.raises(InputError, match=message):
            planned(**given)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("glif", "--draws", "does not read the spikes of populations"),
        ("neulvm", "--noise", "reads the spikes of populations"),
    ],
)
def test_options_of_the_other_kind_of_checkpoint_are_refused(name, option, message, tmp_path):
    path = Path(__file__).resolve().parents[2] / "checkpoints" / f"{name}.ckpt"
    if not path.is_file():
        pytest.skip(f"no checkpoint at {path}: train it (checkpoints/README.md)")
    assert reads_populations(path) == (name == "neulvm")
    with pytest.raises(InputError, match=f"{message}: expected no {option}; leave it out"):
        evaluate_from_command_line([str(path), option, "3", "--output", str(tmp_path / "report")])
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_comparison_writes_its_tables_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    def network(recording, theta):
        """Truth plus noise for the parameters, smoothed spikes for the rates."""
        bins = round(recording.duration / 4)
        rates = np.zeros((3, bins))
        for train, m in zip(recording.spikes, recording.groups, strict=True):
            np.add.at(rates[m], (train / 4).astype(int).clip(0, bins - 1), 250 / 3)
        smooth = gaussian_filter1d(rates, 20, axis=1)
        values = np.clip(theta * (1 + 0.02 * rng.standard_normal(12)), PRIOR.low, PRIOR.high)
        samples = np.clip(values * (1 + 0.02 * rng.standard_normal((100, 12))), PRIOR.low, PRIOR.high)
        return WindowAnswer(values, samples, smooth, smooth - 10, smooth + 10, 0.01, -1.0, ("outside the training x",))

    plan = Plan(2, 2, fits=1, restarts=1, draws=8, neighbours=8, samples=2, seconds=20.0, duration=SHORT)
    monkeypatch.setattr(comparison, "TRUE_TRIALS", 10)
    monkeypatch.setattr(comparison, "POINT_TRIALS", 4)
    # found by simulation for a minute where a window has two states: a stand-in, which the first window has
    circuits = WindowAnswer(CIRCUIT.truth, np.repeat(CIRCUIT.truth[None], 4, 0), seconds=60.0)
    monkeypatch.setattr(comparison, "agreeing", lambda *given: circuits)
    tested = draws(CIRCUIT, PRIOR, 8, 1, SHORT)
    document, shown = compare(network, CIRCUIT, PRIOR, tested, plan, tmp_path / "fits")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "fits").rglob("*.npz")}
    assert sorted(path.name[:8] for path in kept) == ["refined_", "restart0"]
    assert {name for name, *_ in shown} >= {
        "activity",
        "ratios",
        "recovery",
        "free_simulation",
        "dwell_times",
        "perturbation",
    }
    # a wrong network: the prior's mean is as good as it, and the words say so
    assert document["called_outside"] == 1.0
    document |= {
        "checkpoint": "c", "dataset": "d", "draws_of": "p", "simulator": "s", "neuroinf_version": "0",
        "cost": dict.fromkeys(
            (
                "simulation_seconds", "training_seconds", "per_neuron_fit_seconds", "amortized_seconds",
                "break_even_neurons",
            )
        ),
    }  # fmt: skip
    write(tmp_path, "c", document, shown)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert list(content["methods"]) == [
        "prior_mean", "nearest_neighbour", "initial_guess", "amortized", "amortized_circuits", "amortized_refined",
        "per_neuron_fit",
    ]  # fmt: skip
    assert content["methods"]["per_neuron_fit"]["n"] == content["methods"]["amortized_circuits"]["n"] == 1
    assert content["ratios"]["amortized_circuits"]["mean_error"]["median"] == 0.0
    assert content["free_simulation"]["methods"]["amortized_circuits"]["n"] == 2
    text = (tmp_path / "table.txt").read_text()
    assert "better than the prior's mean" in text and "100 % of the windows" in text
    assert (tmp_path / "report.html").read_text().count("data:image/png") == len(shown)
    # the fit is not made again
    fit = comparison.fitted(windows(CIRCUIT, 2, 2, SHORT)[0], CIRCUIT, 1, tmp_path / "fits")
    ratio = content["ratios"]["per_neuron_fit"]["ratio"]["J_E1"]["median"]
    assert fit.values[3] / CIRCUIT.truth[3] == pytest.approx(ratio, rel=1e-12)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
