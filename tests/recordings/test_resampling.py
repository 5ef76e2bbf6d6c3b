"""Resampling keeps what a simulator would have stored: block means of the current, the voltage at the window's end."""

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings import Recording, resample
from neuroinf.simulators.glif import GLIF


def test_identity_and_integer_ratio() -> None:
    rng = np.random.default_rng(0)
    recording = Recording(0.1, rng.normal(size=1004), rng.normal(size=1004))
    assert resample(recording, 0.1) is recording
    coarse = resample(recording, 1.0)
    assert coarse.samples == 100
    assert recording.stimulus is not None
    np.testing.assert_allclose(coarse.stimulus, recording.stimulus[:1000].reshape(100, 10).mean(1), atol=1e-12)


@pytest.mark.parametrize("dt", [1.0, 0.25, 0.1 / 3 * 10, 0.137, 2.5])
def test_a_ramp_is_kept_in_place(dt: float) -> None:
    """A straight line is its own local mean: voltage j must be the line at the last raw sample of window j."""
    raw, n = 0.1, 5000
    line = np.arange(n) * raw
    coarse = resample(Recording(raw, line, line), dt)
    ends = np.arange(1, coarse.samples + 1) * dt
    assert coarse.samples == int(np.floor(n * raw / dt + 1e-9))
    # Samples are steps, not a line: at other than integer ratios a window may begin in the middle of one.
    tolerance = 1e-9 if abs(dt / raw - round(dt / raw)) < 1e-9 else raw / 8
    np.testing.assert_allclose(coarse.voltage, ends - raw, atol=tolerance)
    # Held constant between samples, the current's window mean is the line at the window's middle, half a sample back.
    inner = np.abs(ends - dt / 2 - raw / 2 - np.asarray(coarse.stimulus))
    assert inner.max() <= raw / 2


def test_the_total_charge_is_kept_at_any_ratio() -> None:
    rng = np.random.default_rng(1)
    current = rng.normal(100, 50, 7000)
    for dt in (0.7, 1.0, 0.35, 7 / 3):
        coarse = resample(Recording(0.1, None, current), dt)
        assert coarse.stimulus is not None
        assert coarse.stimulus.sum() * dt == pytest.approx(current.sum() * 0.1, rel=1e-9)


def test_a_recorded_simulation_comes_back_as_the_stored_one() -> None:
    neuron = GLIF(level=1, fixed={"El": 0.0, "spike_cut_length": 3.0})
    slow = np.repeat(np.random.default_rng(2).normal(60, 30, 50), 100)[None, None]
    voltage = np.asarray(neuron.simulate(np.array([[100.0, 0.2, 60.0]]), slow, 0.1)["voltage"])[0]
    coarse = resample(Recording(0.1, voltage, slow[0, 0]), 1.0)
    assert coarse.voltage is not None
    # A mean over 1 ms of a membrane of 20 ms: within the curvature of its relaxation, (1/24) (dt/tau)^2 of a few mV,
    # and of the kinks where the current steps (dV/dt changes by I/C = 1 mV/ms: an eighth of that over 1 ms).
    assert np.abs(coarse.voltage - voltage[9::10]).max() < 0.2


def test_white_noise_is_averaged_down() -> None:
    noise = np.random.default_rng(3).normal(0, 1, 200_000)
    coarse = resample(Recording(0.1, noise), 1.0)
    # The window holds 9 samples and two halves; 20000 windows: relative standard error 0.5 %, 4 of them for 1e-4.
    assert np.std(coarse.voltage) == pytest.approx((9 + 2 * 0.25) ** 0.5 / 10, rel=0.02)  # pyright: ignore


def test_nan_is_left_out_and_kept_where_it_matters() -> None:
    trace = np.zeros(100)
    trace[10:30] = np.nan
    trace[35] = 10.0
    coarse = resample(Recording(0.1, trace), 1.0)
    assert coarse.voltage is not None
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(coarse.voltage)), [1, 2])
    assert coarse.voltage[3] == pytest.approx(1.0, abs=0.1)


def test_refused() -> None:
    recording = Recording(1.0, np.zeros(10))
    with pytest.raises(InputError, match=r"at most 0\.1 ms.*found 1 ms"):
        resample(recording, 0.1)
    with pytest.raises(InputError, match="at least 20 ms, found 10 ms"):
        resample(recording, 20.0)
    with pytest.raises(InputError, match="positive"):
        resample(recording, -1.0)
