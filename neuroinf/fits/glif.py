r"""The published GLIF fit of one neuron, as far as one noise sweep allows, step by step.

Published are (Teeter et al. 2018, Nature Communications 9:709; AllenSDK internal/model/glif): 1 resting potential, 2
least squares for C, R, El, 3 spike cut and reset rule, 4 after-spike currents by regression, 5 threshold from a short
square, 6 spike-driven threshold from triple short squares, 7 voltage-driven threshold, 8 a threshold multiplier by
Nelder-Mead. Steps 5 and 6 need stimuli that a noise sweep is not: the threshold of step 8 starts from the voltages at
which the neuron spiked, and a_spike, b_spike, a_voltage, b_voltage stay nan unless fixed. A step that is impossible
gives nan, never a made-up number.

All functions take one sweep on one clock: voltage (mV, nan where not observed, the state at the end of each step),
stimulus (pA, held during it), spikes (ms), and the step dt (ms).
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.internal_noise import correlation_time, threshold_multiplier
from neuroinf.fits.trajectory import fit
from neuroinf.priors import Prior
from neuroinf.recordings import Recording, observe
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glif_segments import segments
from neuroinf.simulators.glif_twin import GLIFTwin

FloatArray = NDArray[np.float64]
MINIMUM_SAMPLES = 50  # for a regression to be worth its name
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)  # 1/ms, the published candidates for after-spike currents; taken in pairs
CUTS = np.arange(1.0, 10.5, 0.5)  # ms, the published range of the spike cut


def passive(voltage: FloatArray, stimulus: FloatArray, spikes: FloatArray, dt: float) -> tuple[float, float, float]:
    r"""Capacitance, input resistance and resting potential by least squares before the first spike (published steps 1,
    2).

    .. math:: V_{t} = a V_{t-1} + b I_t + c, \qquad R = \frac{b}{1 - a}, \quad C = \frac{-dt}{R \log a}, \quad E_l =
    \frac{c}{1 - a}

    The published C = dt / b is this to first order in dt; they fitted at 0.05 ms, where the two agree.
    Noise in V biases a towards 0 (errors in variables) and with it everything: the method's own weakness.

    Returns:
        (C pF, R GOhm, El mV); nan if fewer than 50 pairs of samples precede the first spike, the stimulus does not
        vary there, or a is not in (0, 1).
    """
    end = int(spikes[0] / dt) if len(spikes) else len(voltage)
    y, before, current = voltage[1:end], voltage[: max(end - 1, 0)], stimulus[1:end]
    seen = np.isfinite(y) & np.isfinite(before) & np.isfinite(current)
    if seen.sum() < MINIMUM_SAMPLES or np.ptp(current[seen]) == 0:
        return math.nan, math.nan, math.nan
    weights, _ = _regress(np.stack([before, current, np.ones_like(current)], axis=1)[seen], y[seen])
    a, b, c = weights
    if not 0 < a < 1 or b <= 0:
        return math.nan, math.nan, math.nan
    resistance = b / (1 - a)
    return float(-dt / (resistance * math.log(a))), float(resistance), float(c / (1 - a))


def reset_rule(
    voltage: FloatArray, spikes: FloatArray, dt: float, El: float, cuts: FloatArray = CUTS
) -> tuple[float, float, float]:
    r"""Spike cut and reset :math:`V_\text{after} = a V_\text{before} + b`, relative to El (published step 3).

    For each cut length not above the shortest interval the voltages after the cut are regressed on those before the
    spike; the cut with the least sum of absolute residuals is kept.

    Returns:
        (cut ms, reset_a, reset_b mV); nan with fewer than 3 spikes whose voltages before and after were observed.
    """
    best, least = (math.nan, math.nan, math.nan), math.inf
    shortest = float(np.diff(spikes).min(initial=math.inf))
    before = np.floor(spikes / dt + 1e-6).astype(int) - 1
    for cut in cuts[cuts <= shortest]:
        after = np.ceil((spikes + cut) / dt - 1e-6).astype(int)
        pair = (before >= 0) & (after < len(voltage))
        v_0, v_1 = voltage[before[pair]] - El, voltage[after[pair]] - El
        seen = np.isfinite(v_0) & np.isfinite(v_1)
        if seen.sum() < 3 or np.ptp(v_0[seen]) == 0:
            continue
        weights, residual = _regress(np.stack([v_0, np.ones_like(v_0)], axis=1)[seen], v_1[seen])
        if (error := np.abs(residual).mean()) < least:
            best, least = (float(cut), float(weights[0]), float(weights[1])), float(error)
    return best


def after_spike_currents(
    voltage: FloatArray,
    stimulus: FloatArray,
    spikes: FloatArray,
    dt: float,
    C: float,
    El: float,
    cut: float,
    taus: tuple[float, float] | None = None,
) -> dict[str, float]:
    r"""After-spike currents by regression (published step 4).

    .. math:: \dot V - I / C = \tfrac{A_1}{C} b_1(t) + \tfrac{A_2}{C} b_2(t) - \tfrac{1}{RC} (V - E_l), \qquad
        b_j(t) = \sum_{s + cut \le t} e^{-(t - s - cut) / \tau_j}

    over a step, V taken as the mean of its two ends. All ten pairs of the published rates are tried unless `taus` are
    known; the likeliest is kept.

    Returns:
        asc_amp_1, asc_amp_2 (pA), asc_tau_1, asc_tau_2 (ms, the longer first) and R_input (GOhm), which this step fits
        anew; nan without spikes.
    """
    names: list[str] = ["asc_amp_1", "asc_amp_2", "asc_tau_1", "asc_tau_2", "R_input"]
    best: dict[str, float] = dict.fromkeys(names, math.nan)
    most = -math.inf
    if len(spikes) == 0 or not math.isfinite(C + El + cut):
        return best
    slope, middle = np.diff(voltage) / dt, (voltage[1:] + voltage[:-1]) / 2 - El
    target = slope - stimulus[1:] / C
    time = (np.arange(1, len(voltage)) + 0.5) * dt
    seen = np.isfinite(target) & np.isfinite(middle)
    if seen.sum() < MINIMUM_SAMPLES:
        return best
    pairs = [taus] if taus else [(1 / a, 1 / b) for i, a in enumerate(RATES) for b in RATES[i + 1 :]]
    for tau_1, tau_2 in pairs:
        basis = [_after_spikes(time, spikes + cut, tau) for tau in (tau_1, tau_2)]
        design = np.stack([*basis, -middle], axis=1)[seen]
        if np.linalg.matrix_rank(design) < 3:
            continue
        weights, residual = _regress(design, target[seen])
        likelihood = -np.log(np.mean(residual**2) + 1e-300)
        if likelihood > most and weights[2] > 0:
            values = (weights[0] * C, weights[1] * C, tau_1, tau_2, 1 / (weights[2] * C))
            best, most = {name: float(v) for name, v in zip(names, values, strict=True)}, likelihood
    return best


def fit_published(
    x: NDArray[np.floating[Any]], spikes: FloatArray | None, simulator: GLIF, dt: float, rng: np.random.Generator
) -> dict[str, float]:
    """The published steps in order, on one observation.

    Args:
        x: :math:`(3, T)`, channels voltage, spikes (not used), stimulus; nan: not observed.
        spikes: Exact spike times, ms; None: not known.
        simulator: Its level says which steps are taken; its fixed parameters are taken as known.
        dt: Step of x, ms.
        rng: For the restarts of Nelder-Mead.

    Returns:
        The simulator's parameters by name, in its frame; nan where the sweep does not allow the step.

    Raises:
        InputError: if x is not :math:`(3, T)`.
    """
    if x.ndim != 2 or x.shape[0] != 3:
        raise InputError(f"expected an observation (3, T) of voltage, spikes and stimulus, found shape {x.shape}")
    result = dict.fromkeys(simulator.parameters, math.nan)
    known = dict(simulator.fixed)
    voltage, stimulus = x[0].astype(np.float64), x[2].astype(np.float64)
    if spikes is None or np.isnan(voltage).all() or np.isnan(stimulus).all():
        return result
    seen = np.asarray(np.isfinite(x).any(0))
    steps = len(seen) - int(np.argmax(seen[::-1]))
    voltage, stimulus = voltage[:steps], stimulus[:steps]
    spikes = spikes[(spikes >= 0) & (spikes < steps * dt)]

    C, R, El = passive(voltage, stimulus, spikes, dt)
    found = {"C": C, "R_input": R, "El": El}
    rest = found["El"] if simulator.frame == "absolute" else 0.0
    cut, reset_a, reset_b = reset_rule(voltage, spikes, dt, rest, _cuts(known))
    found |= {"spike_cut_length": cut, "reset_a": reset_a, "reset_b": reset_b}
    cut = known.get("spike_cut_length", cut)
    if simulator.after_spike:
        taus = (known["asc_tau_1"], known["asc_tau_2"]) if {"asc_tau_1", "asc_tau_2"} <= known.keys() else None
        currents = after_spike_currents(
            voltage, stimulus, spikes, dt, known.get("C", C), known.get("El", El), cut, taus
        )
        if math.isnan(currents["R_input"]):
            currents.pop("R_input")
        found |= currents
    before = np.floor(spikes / dt + 1e-6).astype(int) - 1
    at_spike = voltage[before[before >= 0]]
    found["th_inf"] = float(np.nanmedian(at_spike) - rest) if np.isfinite(at_spike).any() else math.nan
    complete = found | known
    multiplier = _multiplier(complete, voltage, stimulus, spikes, simulator, dt, rng)
    if math.isfinite(multiplier):
        found["th_inf"] *= multiplier
    return {name: found.get(name, math.nan) for name in result}


def _multiplier(
    values: dict[str, float],
    voltage: FloatArray,
    stimulus: FloatArray,
    spikes: FloatArray,
    simulator: GLIF,
    dt: float,
    rng: np.random.Generator,
) -> float:
    """Step 8 with the values of the others; nan if one of them is missing, or nothing spiked."""
    row = [values.get(name, math.nan) for name in simulator.level_parameters]
    if not np.isfinite(row).all() or np.isnan(stimulus).any() or len(spikes) == 0:
        return math.nan
    free = GLIF(level=simulator.level, frame="absolute" if simulator.frame == "absolute" else "rest")
    theta = torch.tensor([row], dtype=torch.float64)
    k = max(1, round(dt / 0.1))
    twin = GLIFTwin(free)
    where = segments([spikes], twin.cut_steps(theta, dt / k).numpy(), len(voltage), k, dt / k)
    out = twin.forced(theta, torch.from_numpy(stimulus)[None], dt / k, where)
    v, end = out.voltage[0].numpy(), where.observed[0].numpy()
    forced = np.where(end >= 0, v[end], np.nan)
    # at a spike the voltage is that of the spike step, which no window's end shows
    at_spike = where.spike[0].numpy()
    window = where.window[0].numpy()[at_spike]
    forced[window] = v[at_spike]
    threshold = np.full(len(voltage), np.nan)
    threshold[where.window[0].numpy()] = out.threshold[0].numpy()
    residual = (voltage - forced)[np.isfinite(voltage) & np.isfinite(forced)]
    if len(residual) < MINIMUM_SAMPLES or residual.std() == 0:
        return math.nan
    offset = values["El"] if simulator.frame == "absolute" else 0.0
    moving = threshold - offset - values["th_inf"]
    relative = forced - offset - moving
    return threshold_multiplier(
        lambda factor: relative - factor * values["th_inf"],
        spikes,
        len(voltage),
        dt,
        float(residual.std() / math.sqrt(2)),
        correlation_time(residual, dt),
        rng,
    )


def fit_recording(
    recording: Recording,
    method: Literal["published", "gradient_descent"],
    simulator: GLIF,
    prior: Prior,
    rng: np.random.Generator,
    observation_dt: float = 1.0,
    dt: float = 0.1,
) -> dict[str, float]:
    """Fits one recorded sweep, its spikes detected and cut by the simulator's mask.

    Args:
        recording: As read.
        method: The published steps, or the trajectory fit through the twin.
        simulator: With the spike cut fixed.
        prior: Of the simulator's parameters (the published steps do not use it).
        rng: For restarts.
        observation_dt: Step at which the recording is observed, ms (never finer than its own).
        dt: Step of the simulation, ms.

    Returns:
        Parameters by name; nan where the method gives no number.

    Raises:
        InputError: if the recording has no stimulus or no voltage, the spike cut is not fixed, or the method is not
            known.
    """
    if method not in ("published", "gradient_descent"):
        raise InputError(f"method: expected published or gradient_descent, found {method!r}")
    if recording.voltage is None or recording.stimulus is None:
        missing = "voltage" if recording.voltage is None else "stimulus"
        raise InputError(f"{recording.name}: a per-neuron fit needs voltage and stimulus, found no {missing}")
    if "spike_cut_length" not in simulator.fixed:
        raise InputError(
            f"{recording.name}: fix spike_cut_length of the simulator, so that spikes can be cut by it; found it free"
        )
    seen = observe(recording, max(observation_dt, recording.dt), simulator.fixed["spike_cut_length"], dt)
    assert seen.voltage is not None and seen.stimulus is not None
    x = np.stack([seen.voltage, np.full_like(seen.voltage, np.nan), seen.stimulus])
    if method == "published":
        return fit_published(x, seen.spikes, simulator, seen.dt, rng)
    found = fit(x[None], [seen.spikes], simulator, prior, seen.dt, rng, dt)
    return dict(zip(simulator.parameters, found.theta[0].tolist(), strict=True))


def _cuts(known: dict[str, float]) -> FloatArray:
    return np.array([known["spike_cut_length"]]) if "spike_cut_length" in known else CUTS


def _regress(design: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    return np.asarray(weights, np.float64), target - design @ weights


def _after_spikes(time: NDArray[np.floating], onsets: FloatArray, tau: float) -> FloatArray:
    """Sum of exp(-(t - onset) / tau) over the onsets before each t."""
    since = time[:, None] - onsets
    return np.where(since >= 0, np.exp(-np.maximum(since, 0) / tau), 0.0).sum(1)
