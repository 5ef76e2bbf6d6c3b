"""Samples that are as likely as the truth cover it as often as they should; others do not. And nothing else changes."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from neuroinf.datasets.simulation import Simulation
from neuroinf.evaluation import predictive
from neuroinf.evaluation.overlay import overlay, predictive_check, respond
from neuroinf.evaluation.posterior_predictive import FEWEST, PredictiveCheck, quantiles, summarise_checks
from neuroinf.evaluation.predictive import Responses, compare, simulate
from neuroinf.networks import Gaussian
from neuroinf.posterior import Posterior
from neuroinf.priors import Parameter, Prior
from neuroinf.recordings import Recording
from neuroinf.simulators import GLIF
from neuroinf.stimuli import LongSquare

FALSE_ALARM = 1e-4
S = 100


def line(theta: np.ndarray) -> Responses:
    """A model without noise: voltage a + b t; as many spikes as the voltage at the end is above 0."""
    voltage = theta[:, :1] + theta[:, 1:] * np.arange(10)
    trains = [np.arange(max(0, round(v))) * 1.0 for v in voltage[:, -1]]
    return Responses(100.0, 10.0, voltage, trains)


def checks(n: int, rng: np.random.Generator, width: float = 1.0, shift: float = 0.0) -> list[PredictiveCheck]:
    """n neurons whose posterior is exact but for its width and place: the truth is one more draw of N(m, sd)."""
    found = []
    for _ in range(n):
        middle, sd = rng.normal([20.0, 1.0], [5.0, 0.5]), np.array([3.0, 0.2])
        truth = rng.normal(middle, sd, (1, 2))
        samples = rng.normal(middle + shift * sd, width * sd, (S, 2))
        found.append(PredictiveCheck(line(truth), line(samples)))
    return found


def covered(found: list[PredictiveCheck]) -> np.ndarray:
    """Number of neurons whose voltage lies in the band, at each time."""
    inside = []
    for check in found:
        assert check.band is not None and check.observed.voltage is not None
        inside.append((check.band[0] <= check.observed.voltage[0]) & (check.observed.voltage[0] <= check.band[1]))
    return np.sum(inside, axis=0)


def test_the_band_covers_the_voltage_as_often_as_it_should() -> None:
    n = 400
    # The truth's rank among S + 1 exchangeable values is uniform. The band's ends lie at 0.05 and 0.95 of S - 1 steps between
    # the sorted samples: between the 5th and 6th, and the 95th and 96th. So it holds the truth in 89 to 91 ranks of 101.
    low = stats.binom.ppf(FALSE_ALARM / 20, n, 89 / 101)
    high = stats.binom.isf(FALSE_ALARM / 20, n, 91 / 101)
    rng = np.random.default_rng(0)
    exact = covered(checks(n, rng))
    assert (exact >= low).all() and (exact <= high).all()
    assert (covered(checks(n, rng, width=0.6)) < low).all()
    assert (covered(checks(n, rng, width=2.0)) > high).all()
    assert (covered(checks(n, rng, shift=1.0)) < low).all()


def test_the_p_value_keeps_its_promise_and_finds_the_wrong_model() -> None:
    n = 1000
    rng = np.random.default_rng(1)
    found = checks(n, rng)
    for level in (0.02, 0.1, 0.5):
        assert np.sum([c.count_p <= level for c in found]) <= stats.binom.isf(FALSE_ALARM, n, level)
    assert np.sum([c.fails for c in found]) <= stats.binom.isf(FALSE_ALARM, n, 2 / 101)
    wrong = checks(200, rng, shift=4.0)
    assert np.mean([c.count_p < 0.05 for c in wrong]) > 0.9
    assert summarise_checks(wrong)["spike_count_fails"] > 0.5
    assert summarise_checks(found)["spike_count_within"] > 0.85


def test_quantiles_are_numpys_where_enough_samples_have_a_voltage() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(60, 50))
    values[rng.random(values.shape) < np.linspace(0, 0.9, 50)] = np.nan
    enough = np.isfinite(values).sum(0) >= FEWEST
    assert 0 < enough.sum() < 50
    found = quantiles(values, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(found[:, enough], np.nanquantile(values[:, enough], [0.05, 0.5, 0.95], axis=0))
    assert np.isnan(found[:, ~enough]).all()
    diverged = np.where(np.isnan(values), -np.inf, values)
    np.testing.assert_array_equal(quantiles(diverged, (0.05, 0.5, 0.95)), found)


def test_scores_are_those_of_the_comparison_of_each_sample(simulator, prior: Prior) -> None:
    stimulus = 100 + 80 * np.sin(np.arange(1000) * 0.1)[None, None, :]
    theta = np.array([[20.0, 0.12, 8.0, 0.0]])
    samples = theta * np.random.default_rng(3).normal(1, 0.05, (30, 4))
    observed = simulate(simulator, theta, stimulus, 0.5, 1.0, [0])
    drawn = simulate(simulator, samples, stimulus, 0.5, 1.0, range(1, 31))
    check = PredictiveCheck(observed, drawn)
    assert observed.voltage is not None
    repeated = Responses(observed.duration, 1.0, np.repeat(observed.voltage, 30, axis=0), [*observed.spikes] * 30)
    expected = compare(repeated, drawn)
    for name in ("spike_gamma", "spike_gamma_4", "voltage_rmse"):
        np.testing.assert_array_equal(check.scores[name], expected[name])
        spread = check.spreads[name]
        assert (spread.median, spread.low, spread.high) == pytest.approx(np.quantile(expected[name], [0.5, 0.05, 0.95]))
    assert list(check.counts) == [len(train) for train in drawn.spikes if train is not None]


def test_a_silent_neuron_has_no_coincidences_and_still_an_answer() -> None:
    silent = Responses(50.0, 10.0, np.zeros((1, 5)), [np.empty(0)])
    none = Responses(50.0, 10.0, np.zeros((S, 5)), [np.empty(0)] * S)
    check = PredictiveCheck(silent, none)
    assert check.count_p == 1.0 and not check.fails
    document = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert document["spike_gamma"] == {"median": None, "low": None, "high": None}
    assert document["spike_count"] == {"observed": 0, "median": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}
    assert "coincidence" not in check.line() and "nan" not in check.line()
    spiking = Responses(50.0, 10.0, None, [np.arange(3.0)] * S)
    loud = PredictiveCheck(Responses(50.0, 10.0, None, [np.empty(0)]), spiking)
    assert loud.fails and loud.count_p == pytest.approx(2 / 101) and loud.band is None


def test_a_long_recording_is_simulated_in_parts_and_the_same(simulator, prior: Prior, monkeypatch) -> None:
    theta = prior.sample(7, np.random.default_rng(4))
    theta[2] = np.nan
    stimulus = np.full((1, 1, 300), 100.0)
    whole = simulate(simulator, theta, stimulus, 0.5, 1.0, range(7))
    monkeypatch.setattr(predictive, "_AT_ONCE", 650)  # two rows at a time
    parts = simulate(simulator, theta, stimulus, 0.5, 1.0, range(7))
    np.testing.assert_array_equal(whole.voltage, parts.voltage)
    for a, b in zip(whole.spikes, parts.spikes, strict=True):
        assert (a is None) == (b is None)
        np.testing.assert_array_equal(a, b)  # type: ignore[arg-type]


PRIOR = Prior(
    {
        "th_inf": Parameter("mV", 16.0, 41.0, "log"),  # not in the simulator's order
        "C": Parameter("pF", 40.0, 200.0, "log"),
        "R_input": Parameter("GOhm", 0.07, 0.7, "log"),
        "El": Parameter("mV", -84.0, -60.0),
    }
)


def posterior(theta: dict[str, float], sd: float) -> Posterior:
    """Normal in z about theta."""
    density = Gaussian(1, 4, hidden=[], covariance="diagonal")
    z = PRIOR.to_unconstrained(torch.tensor([[theta[name] for name in PRIOR.names]], dtype=torch.float64))[0]
    with torch.no_grad():
        density.network[-1].bias.copy_(torch.cat([z, torch.full((4,), np.log(sd), dtype=torch.float64)]))
    return Posterior(PRIOR, density, torch.zeros(1, 1))


def test_a_recording_of_the_model_itself_passes_and_of_another_fails() -> None:
    fixed = {"spike_cut_length": 3.8, "asc_tau_1": 100.0, "asc_tau_2": 10.0, "asc_amp_1": -10.0, "asc_amp_2": -50.0}
    simulation = Simulation(
        simulator=GLIF(level=3, frame="absolute", fixed=fixed),
        prior=PRIOR,
        stimulus=LongSquare(1000.0, 1.0, amplitude=[1.5, 1.5], start=[100.0, 100.0], stop=[900.0, 900.0]),
        n=1,
        dt=0.1,
        record_dt=1.0,
        seed=0,
    )
    theta = {"C": 100.0, "R_input": 0.2, "El": -70.0, "th_inf": 25.0}
    current = np.concatenate([np.zeros(100), np.full(800, 220.0), np.zeros(100)])
    truth = respond(Recording(dt=1.0, stimulus=current), simulation, theta)
    assert truth.voltage is not None and truth.spikes[0] is not None and len(truth.spikes[0]) > 5
    recording = Recording(dt=1.0, voltage=truth.voltage[0], stimulus=current, spikes=truth.spikes[0])
    same = predictive_check(recording, simulation, posterior(theta, 2e-4), 3.8)
    assert same.count_p == 1.0 and not same.fails and len(same.counts) == S
    assert same.spreads["spike_gamma"].low > 0.9
    assert same.spreads["voltage_rmse"].high < 2.0
    other = predictive_check(recording, simulation, posterior(theta | {"th_inf": 38.0}, 2e-4), 3.8)
    assert other.fails and other.spreads["spike_gamma"].high < 0.9
    figure = overlay(recording, simulation, theta, 3.8, same)
    assert len(figure.axes) == 3 and len(overlay(recording, simulation, theta, 3.8).axes) == 2
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["90 % of posterior samples", "observed", "simulated"]
    raster = figure.axes[1]
    assert len(raster.collections) == S + 1 and raster.get_ylabel() == "spikes"
