"""A known electrode in front of a known membrane is found again and taken away."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroinf.errors import InputError
from neuroinf.recordings import Electrode, Recording, compensate, estimate_electrode, repeats, series_resistance

DT = 0.1
RESISTANCE = 0.02  # GOhm
MEMBRANE_RESISTANCE, CAPACITANCE = 0.2, 100.0  # GOhm, pF


def kernel(tau: float) -> np.ndarray:
    lags = np.arange(10) * DT
    shape = np.exp(-lags / tau)
    return RESISTANCE * shape / shape.sum()


def recorded(rng: np.random.Generator, duration: float, tau: float, noise: float, mean: float = 0.0):
    """(true membrane voltage, recording through the electrode)."""
    n = round(duration / DT)
    current = lfilter([20.0], [1.0, -np.exp(-DT / 2)], rng.normal(size=n)) + mean
    # Forward Euler: v[t] = (1 - dt / tau) v[t - 1] + (dt / C) I[t]
    decay = 1 - DT / (MEMBRANE_RESISTANCE * CAPACITANCE)
    membrane = lfilter([DT / CAPACITANCE], [1.0, -decay], current) - 70
    artefact = np.convolve(current, kernel(tau))[:n]
    return membrane, Recording(DT, membrane + artefact + rng.normal(0, noise, n), current, name="sweep")


@pytest.mark.parametrize("tau", [0.02, 0.1, 0.2])
def test_the_electrode_is_found_and_taken_away(tau: float) -> None:
    rng = np.random.default_rng(1)
    electrode = estimate_electrode(recorded(rng, 10_000, tau, 0.1)[1])
    assert electrode.resistance == pytest.approx(RESISTANCE, rel=0.05)
    assert electrode.membrane_time_constant == pytest.approx(MEMBRANE_RESISTANCE * CAPACITANCE, rel=0.05)
    assert electrode.membrane_resistance == pytest.approx(MEMBRANE_RESISTANCE, rel=0.05)
    assert electrode.explained > 0.98
    membrane, other = recorded(rng, 2000, tau, 0.0, mean=100)
    (after,) = compensate([other], electrode)
    assert other.voltage is not None and after.voltage is not None
    before_error, after_error = (np.std(trace - membrane) for trace in (other.voltage, after.voltage))
    assert after_error < 0.05 * before_error
    assert after.attributes["electrode_resistance"].endswith("MOhm")


def test_no_electrode_is_found_where_there_is_none() -> None:
    rng = np.random.default_rng(2)
    membrane, sweep = recorded(rng, 10_000, 0.1, 0.0)
    electrode = estimate_electrode(replace(sweep, voltage=membrane + rng.normal(0, 0.1, len(membrane))))
    assert abs(electrode.resistance) < 0.03 * RESISTANCE


def test_series_resistance_of_an_instantaneous_electrode() -> None:
    sweep = recorded(np.random.default_rng(3), 3000, 1e-3, 0.02)[1]
    value, uncertainty = series_resistance(sweep)
    assert uncertainty < 0.002
    assert abs(value - RESISTANCE) < uncertainty


def test_an_electrode_can_be_reused() -> None:
    sweep = recorded(np.random.default_rng(4), 500, 0.1, 0.0)[1]
    electrode = Electrode(DT, kernel(0.1), RESISTANCE, 0.0, 0.0, 1.0)
    assert sweep.voltage is not None and sweep.stimulus is not None
    (after,) = compensate([sweep], electrode)
    np.testing.assert_allclose(after.voltage, sweep.voltage - electrode.artefact(sweep.stimulus), atol=1e-12)
    # A constant current that was on before the sweep drops R I over the electrode from the first sample.
    np.testing.assert_allclose(electrode.artefact(np.full(50, 100.0)), 100 * RESISTANCE, atol=1e-12)


def test_refused() -> None:
    rng = np.random.default_rng(5)
    sweep = recorded(rng, 5000, 0.1, 0.0)[1]
    assert sweep.voltage is not None and sweep.stimulus is not None
    spiking = sweep.voltage.copy()
    spiking[1000:1005] = 30
    for changed, expected in (
        (replace(sweep, voltage=spiking), "found spikes"),
        (replace(sweep, dt=1.0), "at most 0.2 ms"),
        (replace(sweep, voltage=sweep.voltage[:100], stimulus=sweep.stimulus[:100]), "found 10 ms"),
        (replace(sweep, stimulus=np.zeros(sweep.samples)), "noise current"),
        (replace(sweep, stimulus=None), "voltage and current"),
    ):
        with pytest.raises(InputError, match=expected):
            estimate_electrode(changed)
    with pytest.raises(InputError, match=r"step of 0\.1 ms, found 0\.2 ms"):
        compensate([replace(sweep, dt=0.2)], Electrode(DT, kernel(0.1), RESISTANCE, 0.0, 0.0, 1.0))
    with pytest.raises(InputError, match="constant one"):
        series_resistance(replace(sweep, stimulus=np.ones(sweep.samples)))


def test_repeats_are_told_from_neighbouring_steps() -> None:
    rng = np.random.default_rng(6)
    noise = [rng.normal(200, 60, 3000) for _ in range(2)]
    measured = [Recording(1.0, None, noise[k] + rng.normal(0, 6, 3000)) for k in (0, 1, 0, 0, 1)]
    assert [len(group) for group in repeats(measured)] == [3, 2]
    step = (np.arange(1000) > 200) & (np.arange(1000) < 700)
    steps = [Recording(0.1, None, amplitude * step + rng.normal(0, 1, 1000)) for amplitude in (360, 400, 360)]
    assert [len(group) for group in repeats(steps)] == [2, 1]
    held = [Recording(0.1, None, level + 0.0 * step) for level in (0.0, 100.0, 0.0)]
    assert [len(group) for group in repeats(held)] == [2, 1]
