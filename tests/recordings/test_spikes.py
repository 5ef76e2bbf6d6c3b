"""Spikes are found at every sampling rate, at their onset, and cut exactly as the simulator cuts its own."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neuroinf.errors import InputError
from neuroinf.recordings import cut_mask, cut_spikes, detect_spikes, observe
from neuroinf.recordings.recording import Recording
from neuroinf.simulators.glif import GLIF

FINE = 0.01  # ms


def spiky(onsets: np.ndarray, duration: float, rng: np.random.Generator, peak: float = 35.0) -> np.ndarray:
    """Slow noise around -50 mV; at each onset an upstroke of 0.4 ms to `peak` and a decay of 1.5 ms, at FINE.

    At 1 kHz the highest sample of such a spike is at least 0.55 of its height, whatever its phase.
    """
    steps = rng.normal(0, 3 * np.sqrt(2 * FINE / 20), round(duration / FINE))
    slow = lfilter([1.0], [1.0, FINE / 20 - 1], steps)
    trace = np.clip(-50 + slow, -65, -36)
    for onset in onsets:
        i = round(onset / FINE)
        shape = np.arange(round(8 / FINE)) * FINE
        spike = np.where(shape < 0.4, shape / 0.4, np.exp(-(shape - 0.4) / 1.5))
        stop = min(i + len(spike), len(trace))
        trace[i:stop] += (peak - trace[i]) * spike[: stop - i]
    return trace


@pytest.mark.parametrize("dt", [0.02, 0.05, 0.1, 0.25, 0.5, 1.0])
def test_every_spike_at_its_onset_at_every_rate(dt: float) -> None:
    rng = np.random.default_rng(5)
    onsets = np.cumsum(rng.uniform(9, 60, 50))
    trace = spiky(onsets, 2000.0, rng)
    found = detect_spikes(trace[:: round(dt / FINE)], dt)
    assert len(found) == np.count_nonzero(onsets < 1999)
    # Onset is known to one sample; interpolation does not leave it.
    assert np.abs(found - onsets[: len(found)]).max() <= dt + 0.05


def test_what_is_no_spike() -> None:
    t = np.arange(0, 500, 0.1)
    plateau = -17 + np.random.default_rng(0).normal(0, 1.5, len(t))  # depolarization block
    hump = -55 + 50 * np.exp(-(((t - 250) / 15) ** 2))  # slow, though it reaches -5 mV
    failed = -45 + 25 * np.exp(-(((t - 250) / 1) ** 2))  # fast, but ends at -20 mV
    electrode = -55 + 6 * np.random.default_rng(1).normal(size=len(t))  # steeper than 20 mV/ms all the time
    for trace in (plateau, hump, failed, electrode, np.full(50, -70.0), np.zeros(0)):
        assert len(detect_spikes(trace, 0.1)) == 0


def test_detection_does_not_depend_on_where_the_recording_begins() -> None:
    rng = np.random.default_rng(6)
    onsets = np.arange(50.0, 900, 37)
    trace = spiky(onsets, 1000.0, rng)[::10]
    whole = detect_spikes(trace, 0.1)
    part = detect_spikes(trace[2000:], 0.1)
    np.testing.assert_allclose(part, whole[whole > 200] - 200)


def test_too_coarse_or_nan_is_refused() -> None:
    with pytest.raises(InputError, match="at most 1 ms"):
        detect_spikes(np.zeros(100), 2.0)
    with pytest.raises(InputError, match="nan"):
        detect_spikes(np.array([0.0, np.nan, 0.0]), 0.1)


def simulate(cut: float, dt: float) -> tuple[np.ndarray, np.ndarray]:
    neuron = GLIF(level=1, fixed={"El": 0.0, "spike_cut_length": cut})
    stimulus = np.random.default_rng(8).normal(250, 400, (1, 1, round(400 / dt)))
    response = neuron.simulate(np.array([[60.0, 0.2, 15.0]]), stimulus, dt)
    return np.asarray(response["voltage"])[0], np.asarray(response["spikes"][0])


@pytest.mark.parametrize("dt", [0.05, 0.1])
@pytest.mark.parametrize("cut", [1.0, 3.8, 5.0])
@pytest.mark.parametrize("thin", [1, 2, 5, 10])
def test_mask_is_the_simulators(dt: float, cut: float, thin: int) -> None:
    voltage, spikes = simulate(cut, dt)
    assert len(spikes) > 5
    stored = voltage[thin - 1 :: thin]
    mask = cut_mask(len(stored), spikes, dt * thin, cut, step=dt)
    np.testing.assert_array_equal(mask, np.isnan(stored))
    filled = np.where(np.isnan(stored), 40.0, stored)
    np.testing.assert_array_equal(cut_spikes(filled, spikes, dt * thin, cut, step=dt), stored)


@pytest.mark.parametrize(("raw", "step"), [(0.1, 0.1), (0.05, 0.1), (0.02, 0.1), (1.0, 0.1)])
def test_observed_spikes_and_mask_stand_as_in_a_simulation(raw: float, step: float) -> None:
    rng = np.random.default_rng(9)
    onsets = np.cumsum(rng.uniform(12, 60, 25))
    trace = spiky(onsets, 1100.0, rng)[:: round(raw / FINE)]
    observed = observe(Recording(raw, trace, np.ones(len(trace))), 1.0, 3.8, step)
    assert observed.voltage is not None and observed.spikes is not None
    assert len(observed.voltage) == 1100
    np.testing.assert_array_equal(np.isnan(observed.voltage), cut_mask(1100, observed.spikes, 1.0, 3.8, step))
    # Nothing of a spike's height is left: the decay has 3.8 ms (down to 13 mV above rest), and at 1 kHz the sample
    # before the onset may have begun to rise by less than 20 mV.
    assert np.nanmax(observed.voltage) < -10


def test_times_and_lengths_at_the_border_of_the_recording() -> None:
    mask = cut_mask(10, [0.0, 8.0, 25.0], 1.0, 3.0)
    np.testing.assert_array_equal(np.flatnonzero(mask), [0, 1, 2, 8, 9])
    assert not cut_mask(10, [], 1.0, 3.0).any()
