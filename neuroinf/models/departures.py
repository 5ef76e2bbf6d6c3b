r"""In what ways a residual departs from white noise: numbers that a score is made of, and words for them.

Each number is scaled to be about standard normal, or exponential, for white noise of any size, and is larger the more
the recording departs; what it truly is for recordings of the model is learnt from held-out simulations
(:mod:`neuroinf.models.novelty`). With r the residual, n its number of samples and :math:`\sigma` its white part, from
the differences of neighbouring samples and at least FLOOR:

=============== =======================================================================================================
noise           :math:`\sqrt{2n} \log(\mathrm{rms}(r) / \sigma_{max})`, with the largest noise of training
periodic        highest peak of the periodogram above LOWEST_LINE, over the median of its neighbours
band ...        :math:`\sqrt{m} \log` of the mean periodogram over an octave of m frequencies
drift           t value of a line in time, less what the model's parameters can absorb of it
skewness        and kurtosis: over their standard errors
clipped         sum of -r over the k samples at which the voltage equals its own maximum, over :math:`\sigma \sqrt{k}`
top             mean of r where the model's voltage is in its highest twentieth, over its standard error
before, after   mean of r just before spikes, and soon and late after their cuts, over their standard errors
threshold       how far the voltage rose without a spike above where it spiked at another time, over :math:`\sigma`
=============== =======================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroinf.models.residuals import FLOOR, Residuals

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]
BANDS = (0.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 500.0)  # Hz
LOWEST_LINE = 10.0  # Hz: slower ones are called fluctuations
NEIGHBOURS = 40  # frequencies that a peak is compared with
TOP = 0.95  # quantile of the model's voltage
TIED = 2e-4  # mV: samples this near to the maximum equal it, in single precision
FEWEST_TIED = 3
AROUND = {"before": (-5.0, 0.0), "after": (0.0, 15.0), "late after": (15.0, 100.0)}  # ms
FEWEST = 50  # samples of a residual worth describing
TINY = 1e-12
BAND_NAMES = tuple(f"band {low:g}" for low in BANDS[:-1])
NAMES = ("noise", "periodic", *BAND_NAMES, "drift", "skewness", "kurtosis", "clipped", "top", *AROUND, "threshold")


class Measure(NamedTuple):
    """One departure of B recordings: its value, its size in its own unit, and its part of the residual's power, mV^2."""

    value: FloatArray
    size: FloatArray
    power: FloatArray | float = 0.0


@dataclass(frozen=True)
class Departures:
    """Of B recordings and the F departures in NAMES.

    Attributes:
        values: (B, F), nan where there is nothing to say.
        sizes: Each in its own unit (B, F): mV, but for skewness and kurtosis.
        shares: Its power over the residual's (B, F); 0 for those that are no part of it.
        frequency: Of the periodic part (B,), Hz.
        rms: Of the residual (B,), mV.
        unexplained: rms over the standard deviation of the voltage (B,).
        duration: Of the recording (B,), ms.
    """

    values: FloatArray
    sizes: FloatArray
    shares: FloatArray
    frequency: FloatArray
    rms: FloatArray
    unexplained: FloatArray
    duration: FloatArray

    @staticmethod
    def unknown(duration: FloatArray) -> Departures:
        """Of recordings (B,) of which nothing but an embedding and the duration is known."""
        nothing = np.full((len(duration), len(NAMES)), np.nan)
        return Departures(nothing, nothing, nothing, nothing[:, 0], nothing[:, 0], nothing[:, 0], duration)

    @staticmethod
    def join(parts: Sequence[Departures]) -> Departures:
        """Of the recordings of all parts."""
        return Departures(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Departures)))

    def rows(self, which: Sequence[int]) -> Departures:
        """Of some of the recordings."""
        return Departures(*(getattr(self, f.name)[list(which)] for f in fields(Departures)))

    def words(self, row: int, name: str) -> str:
        """A departure as part of a sentence."""
        size = float(self.sizes[row, NAMES.index(name)])
        if name.startswith("band"):
            low = BAND_NAMES.index(name)
            return f"fluctuations of {size:.2g} mV at {BANDS[low]:g} to {BANDS[low + 1]:g} Hz"
        sign = "above" if size > 0 else "below"
        way = "rises" if size > 0 else "falls"
        return {
            "noise": f"the voltage differs from the model's by {size:.3g} mV rms",
            "periodic": f"a periodic component at {self.frequency[row]:.1f} Hz with amplitude {size:.2g} mV",
            "drift": f"the voltage {way} by {abs(size):.2g} mV from beginning to end",
            "skewness": f"the noise is skewed ({size:.2g})",
            "kurtosis": f"the noise has outliers (excess kurtosis {size:.2g})",
            "clipped": f"the voltage is cut off at {size:.1f} mV",
            "top": f"the voltage lies {abs(size):.2g} mV {sign} the model's where that is highest",
            "before": f"before spikes the voltage lies {abs(size):.2g} mV {sign} the model's",
            "after": f"in the {AROUND['after'][1]:g} ms after spikes the voltage lies {abs(size):.2g} mV {sign} the model's",
            "late after": f"{AROUND['late after'][0]:g} to {AROUND['late after'][1]:g} ms after spikes the voltage lies "
            f"{abs(size):.2g} mV {sign} the model's",
            "threshold": f"spikes occur up to {abs(size):.2g} mV below voltages at which the neuron stayed silent",
        }[name]


def departures(found: Residuals, dt: float, largest_noise: float) -> Departures:
    """What B residuals of step dt (ms) show; largest_noise: the sd that observation noise has at most (mV)."""
    seen = np.isfinite(found.residual)
    # resampling takes the first sample after a cut from one side
    seen[:, 1:] &= np.isfinite(found.observed[:, :-1])
    number = seen.sum(1)
    count = number.clip(1)
    r = np.where(seen, found.residual, 0.0)
    power = np.square(r).sum(1) / count
    rms = np.sqrt(power)
    pairs = seen[:, 1:] & seen[:, :-1]
    white = np.sqrt((np.square(np.diff(r)) * pairs).sum(1) / (2 * pairs.sum(1)).clip(1)).clip(FLOOR)

    highest = max(largest_noise, FLOOR)
    measures = {
        "noise": Measure(np.sqrt(2 * count) * np.log((rms / highest).clip(TINY)).clip(-1), rms, power / 2),
        "drift": _drift(r, seen, white, found.ramp),
        "clipped": _clipped(r, seen, count, white, found.observed),
        "threshold": Measure(found.gap.clip(0) / white, found.gap),
    }
    measures["periodic"], frequency = _periodic(r, count, white, dt)
    measures |= {name: _band(r, count, white, dt, k) for k, name in enumerate(BAND_NAMES)}
    measures |= _moments(r, seen, count)
    model = np.where(seen, found.model, -np.inf)
    rank = np.sort(model, axis=1)[np.arange(len(r)), (seen.shape[1] - 1 - ((1 - TOP) * number)).astype(int)]
    measures["top"] = _mean(r, seen & (model >= rank[:, None]), count, white)
    for name, (first, last) in AROUND.items():
        measures[name] = _mean(r, _around(found, seen, first / dt, last / dt, dt), count, white)

    values = np.stack([measures[name].value for name in NAMES], 1)
    values[number < FEWEST, : NAMES.index("threshold")] = np.nan
    sizes = np.stack([measures[name].size for name in NAMES], 1)
    shares = np.stack([measures[name].power / power.clip(TINY) for name in NAMES], 1)
    voltage = np.where(seen, found.observed, 0.0)
    spread = np.sqrt((np.square(voltage).sum(1) / count - np.square(voltage.sum(1) / count)).clip(TINY))
    # without a voltage, or a current, there is no residual
    rms = np.where(number > 0, rms, np.nan)
    return Departures(values, sizes, shares, frequency, rms, rms / spread, found.duration * dt)


def _drift(r: FloatArray, seen: BoolArray, white: FloatArray, ramp: FloatArray) -> Measure:
    ramp = ramp * seen
    spread = np.square(ramp).sum(1).clip(TINY)
    drift = (ramp * r).sum(1) / spread
    # the parameters have absorbed most of it, so that its part is that of the whole line: the variance of its height
    return Measure(np.abs(drift) * np.sqrt(spread) / white, drift, np.square(drift) / 12)


def _moments(r: FloatArray, seen: BoolArray, count: FloatArray) -> dict[str, Measure]:
    centred = (r - (r.sum(1) / count)[:, None]) * seen
    sd = np.sqrt(np.square(centred).sum(1) / count).clip(FLOOR)[:, None]
    third, fourth = (((centred / sd) ** k).sum(1) / count for k in (3, 4))
    return {
        "skewness": Measure(np.abs(third) * np.sqrt(count / 6), third),
        "kurtosis": Measure((fourth - 3).clip(0) * np.sqrt(count / 24), fourth - 3),
    }


def _clipped(r: FloatArray, seen: BoolArray, count: FloatArray, white: FloatArray, voltage: FloatArray) -> Measure:
    top = np.where(seen, voltage, -np.inf).max(1, initial=-np.inf)
    tied = seen & (voltage >= top[:, None] - TIED)
    number = tied.sum(1)
    value = np.where(number >= FEWEST_TIED, -(r * tied).sum(1) / (white * np.sqrt(number.clip(1))), 0.0)
    return Measure(value.clip(0), top, np.square(r * tied).sum(1) / count)


def _periodogram(r: FloatArray, count: FloatArray, white: FloatArray, dt: float) -> tuple[FloatArray, FloatArray]:
    """Frequencies (Hz) and the periodogram, of mean 1 for white noise of sd `white`."""
    power = np.square(np.abs(np.fft.rfft(r, axis=1))) / (count * np.square(white))[:, None]
    return np.fft.rfftfreq(r.shape[1], dt / 1000), power


def _band(r: FloatArray, count: FloatArray, white: FloatArray, dt: float, k: int) -> Measure:
    frequency, power = _periodogram(r, count, white, dt)
    inside = (frequency >= BANDS[k]) & (frequency < BANDS[k + 1])
    if not inside.any():
        return Measure(np.full(len(r), np.nan), np.zeros(len(r)))
    freedom = inside.sum() * count / r.shape[1]
    # of the residual's mean square, by Parseval, both signs of frequency together
    part = 2 * power[:, inside].sum(1) * np.square(white) / r.shape[1]
    value = np.sqrt(freedom) * np.log(power[:, inside].mean(1).clip(TINY))
    return Measure(value.clip(0), np.sqrt(part), part)


def _periodic(r: FloatArray, count: FloatArray, white: FloatArray, dt: float) -> tuple[Measure, FloatArray]:
    """The highest line, and its frequency (Hz)."""
    frequency, power = _periodogram(r, count, white, dt)
    usable = np.flatnonzero(frequency >= LOWEST_LINE)
    blocks = len(usable) // NEIGHBOURS
    if not blocks:
        return Measure(np.full(len(r), np.nan), np.zeros(len(r))), np.zeros(len(r))
    usable = usable[: blocks * NEIGHBOURS]
    candidates = power[:, usable].reshape(len(r), blocks, NEIGHBOURS)
    # the median of an exponential variable is log 2 of its mean
    background = (np.median(candidates, axis=2, keepdims=True) / np.log(2)).clip(1)
    ratio = (candidates / background).reshape(len(r), -1)
    peak, rows = usable[ratio.argmax(1)], np.arange(len(r))
    around = np.clip(peak[:, None] + np.arange(-1, 2), 0, len(frequency) - 1)
    part = 2 * power[rows[:, None], around].sum(1) * np.square(white) / r.shape[1]
    return Measure(ratio.max(1), np.sqrt(2 * part), part), frequency[peak]


def _mean(r: FloatArray, where: BoolArray, count: FloatArray, white: FloatArray) -> Measure:
    number = where.sum(1)
    mean = (r * where).sum(1) / number.clip(1)
    value = np.where(number > 0, np.abs(mean) * np.sqrt(number) / white, np.nan)
    return Measure(value, mean, np.square(mean) * number / count)


def _around(found: Residuals, seen: BoolArray, first: float, last: float, dt: float) -> BoolArray:
    """Samples from `first` to `last` steps after the ends of spike cuts, or after the spikes if `first` is negative."""
    where = np.zeros(seen.shape, bool)
    for row, times in enumerate(found.spikes):
        observed = np.append(np.isfinite(found.observed[row]), True)
        after = np.flatnonzero(observed)
        for begin in (times / dt).astype(int):
            if first >= 0 and begin < len(observed):
                begin = int(after[np.searchsorted(after, min(begin + 1, len(observed) - 1))])
            where[row, max(begin + int(first), 0) : max(begin + int(last), 0)] = True
    return where & seen
