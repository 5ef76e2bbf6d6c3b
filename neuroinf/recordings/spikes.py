r"""When a neuron spiked, by one stated rule at every sampling rate, and what of its voltage is then left out.

The rule. A spike is a local maximum of the voltage which

1. reaches ``level`` (-10 mV),
2. stands at least ``height`` (20 mV) above the least voltage of the ``window`` (3 ms) before it, and
3. is the largest within ``refractory`` (2 ms).

Condition 2 is a mean upstroke of 7 mV/ms: it passes spikes whose peaks are clipped by sampling at 1 kHz, and refuses
the plateau of a depolarization block, the hump of a failed spike, and the few mV that an uncompensated electrode adds.

At 1 kHz spikes narrower than about 1.5 ms fall between the samples and are lost (thinned out to 1 kHz, a neuron with
narrow spikes kept 59 % of them; a pyramidal neuron, two serotonin neurons and six cortical neurons kept 98.9 to 100 %).

The spike's time is its onset, where a model with a threshold puts it, not its peak: going back from the steepest point
of the upstroke, where dV/dt falls below ``slope`` (20 mV/ms, or half the steepest if that is less), interpolated
between the sample pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import find_peaks

from neuroinf.errors import InputError
from neuroinf.recordings.recording import FloatArray

LEVEL = -10.0  # mV; between failed spikes (below -20) and the smallest spikes (above 0) of the recordings it was set on
HEIGHT = 20.0  # mV; as in Allen's feature extraction (peak at least 20 mV above threshold)
WINDOW = 3.0  # ms; three samples at 1 kHz, and longer than any fast upstroke
REFRACTORY = 2.0  # ms
SLOPE = 20.0  # mV/ms; as in Allen's feature extraction


def detect_spikes(
    voltage: ArrayLike,
    dt: float,
    *,
    level: float = LEVEL,
    height: float = HEIGHT,
    window: float = WINDOW,
    refractory: float = REFRACTORY,
    slope: float = SLOPE,
) -> FloatArray:
    """Spike onsets in a recorded voltage, by the module's rule.

    Args:
        voltage: (T,) mV, finite.
        dt: Sampling step, ms; at most 1 ms, since beyond that spikes fall between samples.
        level: Least peak voltage, mV.
        height: Least rise within `window` before the peak, mV.
        window: ms.
        refractory: Least distance of two peaks, ms; of two closer ones the higher counts.
        slope: dV/dt that marks the onset, mV/ms.

    Returns:
        Sorted onset times (n,), ms, with sample i at time i * dt.

    Raises:
        InputError: if the sampling is too coarse or the voltage holds nan.
    """
    trace = np.asarray(voltage, dtype=np.float64)
    if dt > 1.0 + 1e-9:
        raise InputError(
            f"voltage: expected a sampling step of at most 1 ms for spike detection, found {dt:g} ms; give spikes"
        )
    if not np.isfinite(trace).all():
        raise InputError("voltage: expected finite values for spike detection, found nan or infinite ones; give spikes")
    if len(trace) < 3:
        return np.empty(0)
    peaks, _ = find_peaks(trace, height=level, distance=max(1, round(refractory / dt)))
    reach = max(1, round(window / dt))
    derivative = np.diff(trace) / dt
    onsets = []
    for peak in peaks:
        start = max(0, peak - reach)
        foot = start + int(np.argmin(trace[start : peak + 1]))
        if trace[peak] - trace[foot] < height:
            continue
        steepest = foot + int(np.argmax(derivative[foot:peak]))
        limit = min(slope, derivative[steepest] / 2)
        below = steepest
        while below > 0 and derivative[below] >= limit:
            below -= 1
        # derivative[k] belongs to time (k + 1/2) dt.
        low, high = derivative[below], derivative[below + 1]
        fraction = (limit - low) / (high - low) if low < limit <= high else 0.0
        onsets.append((below + 0.5 + fraction) * dt)
    return np.maximum.accumulate(np.array(onsets)) if onsets else np.empty(0)


def cut_mask(samples: int, spikes: ArrayLike, dt: float, cut: float, step: float | None = None) -> NDArray[np.bool_]:
    """Which samples fall into a spike cut: the mask that the GLIF simulator leaves, for simulated and real spikes
    alike.

    A simulation of step h stores sample j of step dt at grid time g = (j + 1) dt - h (the sample at the end of the
    window), and a spike at s blanks s <= g < s + cut.

    Args:
        samples: T.
        spikes: Spike times, ms.
        dt: Step of the stored samples, ms.
        cut: Length of the cut, ms.
        step: h, ms; dt itself if the trace is not thinned out.

    Returns:
        (T,), true where the voltage is not observed.
    """
    step = dt if step is None else step
    times = np.asarray(spikes, dtype=np.float64)
    # A hundredth of a step: stored spike times are float32, off by up to 1 microsecond within 20 s.
    slack = 1e-2 * min(dt, step)
    first = np.ceil((times + step - slack) / dt - 1).astype(np.int64)
    last = np.ceil((times + cut + step - slack) / dt - 1).astype(np.int64)
    edges = np.zeros(samples + 1, dtype=np.int64)
    np.add.at(edges, np.clip(first, 0, samples), 1)
    np.add.at(edges, np.clip(last, 0, samples), -1)
    return np.cumsum(edges[:-1]) > 0


def cut_spikes(voltage: ArrayLike, spikes: ArrayLike, dt: float, cut: float, step: float | None = None) -> FloatArray:
    """The voltage with nan in every spike cut, by `cut_mask`.

    Args:
        voltage: (T,) mV.
        spikes: Spike times, ms.
        dt: Step of the voltage, ms.
        cut: Length of the cut, ms.
        step: Step of the simulation whose mask is wanted, ms (see `cut_mask`).
    """
    trace = np.array(voltage, dtype=np.float64)
    trace[cut_mask(len(trace), spikes, dt, cut, step)] = np.nan
    return trace
