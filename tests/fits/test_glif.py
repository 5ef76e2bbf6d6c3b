"""The published steps: exact where their assumptions hold, nan where they are impossible."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.glif import after_spike_currents, fit_published, fit_recording, passive, reset_rule
from neuroinf.fits.internal_noise import threshold_multiplier
from neuroinf.priors import Parameter, Prior
from neuroinf.recordings import Recording
from neuroinf.simulators.glif import GLIF

FINE = 0.05  # ms, the step of the published fits
KNOWN = {"spike_cut_length": 3.0, "asc_tau_1": 100.0, "asc_tau_2": 10.0}
TRUE = {"C": 90.0, "R_input": 0.2, "El": -72.0, "th_inf": 22.0, "asc_amp_1": -15.0, "asc_amp_2": -120.0}


def sweep(
    simulator: GLIF, theta: dict[str, float], dt: float, factor: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two seconds of noise, weak in the first, strong in the second, seen at every factor-th step: x (3, T), spikes."""
    steps = round(2000 / dt / factor)
    slow = np.repeat(np.random.default_rng(0).standard_normal(200), steps // 200)
    current = np.where(np.arange(steps) < steps // 2, 40.0, 160.0) + 40 * slow
    values = np.array([[theta[name] for name in simulator.parameters]])
    response = simulator.simulate(values, np.repeat(current, factor)[None, None], dt)
    voltage = np.asarray(response["voltage"])[0, factor - 1 :: factor]
    return np.stack([voltage, np.full_like(voltage, np.nan), current]), response["spikes"][0]


def test_passive_is_exact_without_noise() -> None:
    x, spikes = sweep(GLIF(3, "absolute", KNOWN), TRUE, FINE)
    np.testing.assert_allclose(passive(x[0], x[2], spikes, FINE), (90.0, 0.2, -72.0), rtol=5e-3)


def test_passive_needs_a_stimulus_that_varies_and_samples_before_the_first_spike() -> None:
    x, spikes = sweep(GLIF(3, "absolute", KNOWN), TRUE, FINE)
    assert np.isnan(passive(x[0], np.full_like(x[2], 50.0), spikes, FINE)).all()
    assert np.isnan(passive(x[0], x[2], np.array([1.0]), FINE)).all()


def test_reset_rule_and_cut_are_found() -> None:
    theta = TRUE | {"reset_a": 0.5, "reset_b": 4.0, "a_spike": 6.0, "b_spike": 0.02}
    simulator = GLIF(4, "absolute", KNOWN)
    x, spikes = sweep(simulator, theta, FINE)
    cut, slope, intercept = reset_rule(x[0], spikes, FINE, -72.0)
    assert cut == 3.0
    np.testing.assert_allclose((slope, intercept), (0.5, 4.0), atol=0.1)
    assert np.isnan(reset_rule(x[0], spikes[:2], FINE, -72.0)).all()


@pytest.mark.parametrize("taus", [(100.0, 10.0), None])
def test_after_spike_currents_are_found_with_and_without_their_time_constants(taus: tuple[float, float] | None) -> None:
    x, spikes = sweep(GLIF(3, "absolute", KNOWN), TRUE, FINE)
    found = after_spike_currents(x[0], x[2], spikes, FINE, 90.0, -72.0, 3.0, taus)
    expected = {"asc_amp_1": -15.0, "asc_amp_2": -120.0, "asc_tau_1": 100.0, "asc_tau_2": 10.0, "R_input": 0.2}
    if taus is None:
        expected["asc_tau_1"], expected["asc_tau_2"] = found["asc_tau_1"], found["asc_tau_2"]
        assert sorted((found["asc_tau_1"], found["asc_tau_2"])) == pytest.approx([10.0, 100.0])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=0.05), name
    assert all(math.isnan(v) for v in after_spike_currents(x[0], x[2], np.empty(0), FINE, 90.0, -72.0, 3.0).values())


def test_threshold_multiplier_ends_between_the_silences_and_the_spikes() -> None:
    rng = np.random.default_rng(0)
    voltage = rng.uniform(0, 18, 4000)
    spikes = np.arange(100, 4000, 500)
    voltage[spikes] = 25.0
    found = threshold_multiplier(lambda m: voltage - m * 20.0, spikes.astype(float), 4000, 1.0, 0.1, 5.0, rng)
    assert 18 / 20 < found < 25 / 20


@pytest.mark.parametrize(("dt", "factor", "tolerance"), [(FINE, 1, 0.03), (0.1, 10, 0.12)])
def test_the_whole_pipeline(dt: float, factor: int, tolerance: float) -> None:
    simulator = GLIF(3, "absolute", KNOWN)
    x, spikes = sweep(simulator, TRUE, dt, factor)
    found = fit_published(x, spikes, simulator, dt * factor, np.random.default_rng(0))
    for name, value in TRUE.items():
        assert found[name] == pytest.approx(value, rel=tolerance), name


def test_null_where_a_step_is_impossible() -> None:
    simulator, rng = GLIF(3, "absolute", KNOWN), np.random.default_rng(0)
    x, spikes = sweep(simulator, TRUE, 0.1, 10)
    blind, undriven = x.copy(), x.copy()
    blind[0], undriven[2] = np.nan, np.nan
    for case, train in ((blind, spikes), (undriven, spikes), (x, None)):
        assert np.isnan(list(fit_published(case, train, simulator, 1.0, rng).values())).all()
    silent = fit_published(x[:, :1000], np.empty(0), simulator, 1.0, rng)
    assert [name for name, value in silent.items() if math.isnan(value)] == ["th_inf", "asc_amp_1", "asc_amp_2"]
    moving = fit_published(x, spikes, GLIF(5, "absolute", KNOWN), 1.0, rng)
    assert all(math.isnan(moving[name]) for name in ("a_spike", "b_spike", "a_voltage", "b_voltage"))


def test_a_recording_is_fitted_by_both_methods() -> None:
    simulator = GLIF(3, "absolute", KNOWN)
    x, spikes = sweep(simulator, TRUE, 0.1)
    filled = np.where(np.isnan(x[0]), 0.0, x[0])
    recording = Recording(dt=0.1, voltage=filled, stimulus=x[2], spikes=spikes)
    ranges = {"C": (40, 200), "R_input": (0.07, 0.7), "El": (-84, -60), "th_inf": (16, 41), "asc_amp_1": (-75, 0)}
    ranges["asc_amp_2"] = (-470, 20)
    units = dict(zip(simulator.parameters, simulator.units, strict=True))
    prior = Prior({name: Parameter(units[name], float(low), float(high)) for name, (low, high) in ranges.items()})
    for method, tolerance in (("published", 0.2), ("gradient_descent", 0.05)):
        found = fit_recording(recording, method, simulator, prior, np.random.default_rng(0))  # type: ignore[arg-type]
        for name, value in TRUE.items():
            assert found[name] == pytest.approx(value, rel=tolerance), (method, name)
    with pytest.raises(InputError, match="method"):
        fit_recording(recording, "guess", simulator, prior, np.random.default_rng(0))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no stimulus"):
        fit_recording(Recording(dt=0.1, voltage=filled), "published", simulator, prior, np.random.default_rng(0))
    with pytest.raises(InputError, match="spike_cut_length"):
        fit_recording(recording, "published", GLIF(3, "absolute"), prior, np.random.default_rng(0))
