r"""The electrode's share of a recorded voltage: series resistance, and active electrode compensation.

A single electrode that injects and records measures

.. math:: V_\mathrm{rec}(t) = V_m(t) + (K_e * I)(t), \qquad V_m = E + (K_m * I)

below threshold. The full kernel K = K_e + K_m is estimated by least squares from a sweep of weak noise; its tail is
the membrane's, an exponential, which is extrapolated to zero lag and taken away; what is left of the first
milliseconds is K_e. The area of K_e is the electrode's resistance.

`length` is a choice: an electrode's filter is over within a fraction of a millisecond, dendrites charge within a few,
and both lie above the membrane's exponential. The default of 1 ms leaves most of the dendrites to the neuron;
published analyses take up to 7 ms. For the four electrode sweeps that this was tried on, 3 ms instead of 1 ms raises
the resistance by 3 to 14 MOhm.

Not handled: the liquid junction potential (a constant of about 10 to 15 mV that only the solutions tell: subtract it
from the voltage before inference, or read El as "as recorded"), drift of the electrode between the sweeps, rectifying
electrodes. The fast charging of dendrites within `length` counts as electrode.

Source: Brette et al. 2008, Neuron 59:379; Badel et al. 2008, J Neurophysiol 99:656; Pozzorini et al. 2015, PLoS Comput
Biol 11:e1004275.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import curve_fit
from scipy.signal import fftconvolve

from neuroinf.errors import InputError
from neuroinf.recordings.recording import FloatArray, Recording
from neuroinf.recordings.spikes import detect_spikes


@dataclass(frozen=True)
class Electrode:
    """An electrode's linear filter and what was found beside it.

    Attributes:
        dt: Step of the kernel, ms.
        kernel: (L,), GOhm per sample: the artefact is sum_l kernel[l] I[t - l].
        resistance: The kernel's area, GOhm.
        membrane_resistance: Area of the exponential tail, GOhm (rough: the sweep is weak).
        membrane_time_constant: Its time constant, ms.
        explained: Fraction of the sweep's voltage variance that the full kernel explains.
    """

    dt: float
    kernel: FloatArray
    resistance: float
    membrane_resistance: float
    membrane_time_constant: float
    explained: float

    def artefact(self, stimulus: FloatArray) -> FloatArray:
        """The voltage across the electrode (T,), mV, for a current (T,), pA, which had its first value before."""
        lead = np.full(len(self.kernel), stimulus[0])
        return fftconvolve(np.concatenate([lead, stimulus]), self.kernel)[len(lead) : len(lead) + len(stimulus)]


def _both(recording: Recording) -> tuple[FloatArray, FloatArray]:
    if recording.voltage is None or recording.stimulus is None:
        raise InputError(
            f"{recording.name}: expected voltage and current to tell the electrode apart, found one of them"
        )
    return recording.voltage, recording.stimulus


def _lags(dt: float, length: float, longest: float) -> np.ndarray:
    """Edges of the kernel's bins in samples: every sample up to twice `length`, then widening by a tenth."""
    fine = round(2 * length / dt)
    edges = list(range(fine + 1))
    while edges[-1] * dt < longest:
        edges.append(edges[-1] + max(1, edges[-1] // 10))
    return np.array(edges)


def estimate_electrode(sweep: Recording, *, length: float = 1.0, longest: float = 200.0) -> Electrode:
    """The electrode's filter from a sweep of weak (subthreshold) noise.

    Args:
        sweep: Voltage and current, sampled at 0.2 ms or finer, without spikes, at least 20 times as long as `longest`.
        length: The electrode's filter ends here, ms; the membrane's exponential is fitted to all lags beyond.
        longest: Longest lag of the full kernel, ms.

    Raises:
        InputError: if the sweep spikes, is too short or too coarse, or its current does not vary.
    """
    voltage, stimulus = _both(sweep)
    dt = sweep.dt
    if dt > 0.2:
        raise InputError(
            f"{sweep.name}: expected a sampling step of at most 0.2 ms to see an electrode, found {dt:g} ms"
        )
    if sweep.duration < 20 * longest:
        raise InputError(f"{sweep.name}: expected at least {20 * longest:g} ms of noise, found {sweep.duration:g} ms")
    if len(detect_spikes(voltage, dt)):
        raise InputError(f"{sweep.name}: expected a subthreshold sweep for electrode compensation, found spikes")
    if len(np.unique(stimulus)) < 10:
        raise InputError(
            f"{sweep.name}: expected a noise current for electrode compensation, found {len(np.unique(stimulus))} "
            f"levels"
        )
    edges = _lags(dt, length, longest)
    total = np.concatenate([[0.0], np.cumsum(stimulus - stimulus.mean())])
    times = np.arange(edges[-1], len(voltage))
    # Column k holds the sum of I[t - l] over edges[k] <= l < edges[k + 1]; the last two take up rest and drift.
    columns = [total[times - a + 1] - total[times - b + 1] for a, b in pairwise(edges)]
    design = np.stack([*columns, np.ones(len(times)), times / len(voltage) - 0.5], axis=1)
    # Normal equations: the columns are far fewer than the samples, and noise makes them well conditioned.
    weights = np.linalg.lstsq(design.T @ design, design.T @ voltage[times], rcond=None)[0]
    residual = voltage[times] - design @ weights
    explained = 1 - float(residual.var() / voltage[times].var())
    kernel = weights[:-2]  # GOhm per sample
    widths = np.diff(edges)
    centres = (edges[:-1] + edges[1:] - 1) / 2 * dt
    tail = centres >= length
    guess = (max(float(kernel[tail][:10].mean()), 1e-6), 20.0)
    try:
        (amplitude, tau), _ = curve_fit(
            lambda t, a, tau: a * np.exp(-t / tau),
            centres[tail],
            kernel[tail],
            p0=guess,
            # The variance of a bin's estimate falls with its width.
            sigma=1 / np.sqrt(widths[tail]),
            bounds=([0.0, 1.0], [np.inf, 1000.0]),
        )
    except RuntimeError:
        raise InputError(
            f"{sweep.name}: expected the kernel's tail to be a membrane's, found no exponential there"
        ) from None
    fine = round(length / dt)
    electrode = kernel[:fine] - amplitude * np.exp(-np.arange(fine) * dt / tau)
    return Electrode(dt, electrode, float(electrode.sum()), float(amplitude * tau / dt), float(tau), explained)


def compensate(
    recordings: Sequence[Recording], electrode_sweep: Recording | Electrode, *, length: float = 1.0
) -> list[Recording]:
    """Recordings with the electrode's artefact taken away.

    Args:
        recordings: Sweeps through the same electrode, sampled as the electrode sweep is.
        electrode_sweep: The sweep for its identification, or an electrode already estimated.
        length: See `estimate_electrode`.

    Returns:
        The same sweeps; `attributes["electrode_resistance"]` in MOhm.

    Raises:
        InputError: if a sweep has another step, or no voltage or current.
    """
    found = electrode_sweep
    electrode = estimate_electrode(found, length=length) if isinstance(found, Recording) else found
    compensated = []
    for recording in recordings:
        voltage, stimulus = _both(recording)
        if abs(recording.dt - electrode.dt) > 1e-9:
            raise InputError(
                f"{recording.name}: expected the electrode sweep's step of {electrode.dt:g} ms, found "
                f"{recording.dt:g} ms"
            )
        attributes = {**recording.attributes, "electrode_resistance": f"{electrode.resistance * 1e3:.4g} MOhm"}
        compensated.append(replace(recording, voltage=voltage - electrode.artefact(stimulus), attributes=attributes))
    return compensated


def series_resistance(recording: Recording) -> tuple[float, float]:
    r"""Uncompensated series ("bridge") resistance from jumps of the current, and its uncertainty.

    Least squares on subthreshold samples of

    .. math:: V_t - V_{t-1} = a V_{t-1} + b I_{t-1} + R\,(I_t - I_{t-1}) + c

    where a and b are the membrane's. Whether the current jumps before or after the sample is not known, so R is
    reported as the middle, R - b/2, with an uncertainty of b/2 (0.5 MOhm at 0.1 ms and 100 pF; too much beyond 0.5 ms)
    plus two standard errors. Unlike `estimate_electrode` it needs no noise sweep, and sees an instantaneous resistance
    only; a step protocol has few jumps, and a measured current that has been low-pass filtered makes it unreliable.

    Returns:
        Resistance and its uncertainty, GOhm.

    Raises:
        InputError: without voltage and current, or if the current never changes.
    """
    voltage, stimulus = _both(recording)
    spikes = detect_spikes(voltage, recording.dt)
    blank = np.zeros(len(voltage), dtype=bool)
    for time in spikes:
        # 1 ms before to 20 ms after: the upstroke and the afterpotential are not the passive membrane's.
        blank[max(0, int((time - 1) / recording.dt)) : int((time + 20) / recording.dt)] = True
    keep = ~(blank[1:] | blank[:-1])
    jumps = np.diff(stimulus)
    if np.abs(jumps[keep]).max(initial=0.0) == 0:
        raise InputError(f"{recording.name}: expected a current that changes between spikes, found a constant one")
    design = np.stack([voltage[:-1], stimulus[:-1], jumps, np.ones(len(jumps))], axis=1)[keep]
    target = np.diff(voltage)[keep]
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    variance = float(np.var(target - design @ weights)) * np.linalg.pinv(design.T @ design)
    _, b, resistance, _ = weights
    return float(resistance - b / 2), float(abs(b) / 2 + 2 * np.sqrt(max(variance[2, 2], 0.0)))
