"""From a recording's own clock to the observation's: what a simulator would have stored had it been the neuron."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.recordings.recording import FloatArray, Recording
from neuroinf.recordings.spikes import LEVEL, cut_mask, cut_spikes, detect_spikes

# More than this share of observed samples at a spike's height is worth a remark.
HIGH_FRACTION = 1e-3


def _window_mean(trace: FloatArray, start: NDArray[np.floating], stop: NDArray[np.floating]) -> FloatArray:
    """Mean over [start, stop) in samples, sample i filling [i, i + 1), nan left out; nan where nothing is observed."""
    observed = np.isfinite(trace)
    # Summing deviations keeps the rounding of long running sums far below a microvolt.
    centre = float(np.mean(trace[observed])) if observed.any() else 0.0
    knots = np.arange(len(trace) + 1, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(np.where(observed, trace - centre, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(observed.astype(np.float64))])
    weight = np.interp(stop, knots, count) - np.interp(start, knots, count)
    value = np.interp(stop, knots, total) - np.interp(start, knots, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 1e-9, value / weight, np.nan) + centre


def resample(recording: Recording, dt: float) -> Recording:
    """The recording at a coarser step, aligned with a simulator's stored samples.

    Stimulus j is the mean current over its window [j dt, (j + 1) dt). Voltage j is the local mean, one window wide,
    centred at the last raw sample of that window, which is where a simulator's stored sample lies; nan samples are
    left out of the mean, and the result is nan where the raw sample at the centre is. The ratio of the steps need not
    be an integer. An incomplete last window is dropped; spike times stay as they are.

    Raises:
        InputError: if dt is finer than the recording's (samples would be invented), or longer than the recording.
    """
    if not (np.isfinite(dt) and dt > 0):
        raise InputError(f"{recording.name}: expected a positive step in ms to resample to, found {dt:g}")
    ratio = dt / recording.dt
    if abs(ratio - 1) < 1e-9 or recording.samples == 0:
        return recording if recording.samples else replace(recording, dt=dt)
    if ratio < 1:
        raise InputError(
            f"{recording.name}: expected a sampling step of at most {dt:g} ms, as the observation has, found "
            f"{recording.dt:g} ms; record faster or use a checkpoint with a coarser observation"
        )
    if abs(ratio - round(ratio)) < 1e-6:
        ratio = float(round(ratio))
    count = int(np.floor(recording.samples / ratio + 1e-9))
    if count < 1:
        raise InputError(f"{recording.name}: expected at least {dt:g} ms, found {recording.duration:g} ms")
    stop = np.minimum(np.arange(1, count + 1) * ratio, recording.samples)
    voltage = stimulus = None
    if recording.stimulus is not None:
        stimulus = _window_mean(recording.stimulus, np.arange(count) * ratio, stop)
    if recording.voltage is not None:
        centre = stop - 0.5
        # At the recording's end the window shrinks on both sides, so that it stays centred.
        half = np.minimum(ratio / 2, recording.samples - centre)
        voltage = _window_mean(recording.voltage, centre - half, centre + half)
        at_centre = np.minimum(np.ceil(stop).astype(np.int64) - 1, recording.samples - 1)
        voltage[np.isnan(recording.voltage[at_centre])] = np.nan
    return replace(recording, dt=dt, voltage=voltage, stimulus=stimulus)


def observe(recording: Recording, dt: float, cut: float, step: float | None = None) -> Recording:
    """A real recording as a simulator would have stored it: spikes detected, cut by the simulator's mask, resampled.

    Spikes are cut at the raw rate first, so that no part of a spike's shape enters a mean; then the mask of the
    simulator's own samples is applied.

    A raw sample i is taken as the end of its window, which a simulation of step h calls grid time (i + 1) * dt_raw - h.
    Spike times found on raw samples are therefore moved by dt_raw - h, so that spikes, mask and stimulus
    stand to each other as in a simulation (0.9 ms for a recording at 1 kHz and h = 0.1 ms). Spike times that are given
    are on the stimulus' clock, whose sample k acts from k dt to (k + 1) dt, as a simulation's are: they stay.

    Args:
        recording: As read; its spikes are kept if they are given, else detected (none without voltage).
        dt: Step of the observation, ms.
        cut: The model's spike cut, ms.
        step: The simulation's step h, ms; by default the recording's own (no shift).

    Returns:
        The recording at `dt`, with `spikes` in the simulation's grid time wherever they are known.

    Raises:
        InputError: as `resample` and `detect_spikes`.
    """
    if recording.voltage is None:
        return resample(recording, dt)
    step, spikes = recording.dt if step is None else step, recording.spikes
    if spikes is None:
        try:
            spikes = detect_spikes(recording.voltage, recording.dt) + (recording.dt - step)
        except InputError as error:
            raise InputError(f"{recording.name}: {error}") from None
    raw = cut_spikes(recording.voltage, spikes, recording.dt, cut, step)
    observed = resample(replace(recording, voltage=raw), dt)
    assert observed.voltage is not None
    mask = cut_mask(observed.samples, spikes, dt, cut, step)
    voltage = np.where(mask, np.nan, observed.voltage)
    attributes = _remark_high(recording, voltage, cut)
    return replace(observed, voltage=voltage, spikes=spikes, attributes=attributes)


def _remark_high(recording: Recording, voltage: FloatArray, cut: float) -> dict[str, str]:
    """The attributes, with a warning if what is left of the voltage still reaches a spike's height."""
    high = int(np.count_nonzero(voltage > LEVEL))
    if high <= HIGH_FRACTION * len(voltage):
        return recording.attributes
    remark = (
        f"{recording.name}: {high} of {len(voltage)} samples lie above {LEVEL:g} mV outside the spike cuts: spikes "
        f"that "
        f"outlast the model's cut of {cut:g} ms, or depolarizations that are no spikes; the model has neither"
    )
    earlier = recording.attributes.get("warning")
    return {**recording.attributes, "warning": f"{earlier}; {remark}" if earlier else remark}
