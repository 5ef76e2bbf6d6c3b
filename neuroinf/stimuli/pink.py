"""Pink noise in the manner of the published Noise 1 and Noise 2, fresh or frozen."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.timing import Range, as_range, draw, steps

FloatArray = NDArray[np.float64]

# Teeter et al. 2018 and the Allen white paper (2017): three 3 s epochs 5 s apart from 2.02 s, pink between 1 and 100 Hz
# around 0.75, 1 and 1.5 rheobase with a coefficient of variation of 0.2
EPOCH, GAP, START = 3000.0, 5000.0, 2020.0
AMPLITUDES, CV, BAND = (0.75, 1.0, 1.5), 0.2, (1.0, 100.0)


class PinkNoise:
    r"""Epochs of a direct current with pink noise on top, zero before, between and after.

    .. math:: I(t) = s \, a_k \, (1 + c \, z_k(t)), \qquad
        z(t) = \sum_{f} A f^{-1/2} \cos(2 \pi f t + \varphi_f), \quad f_\mathrm{low} \le f \le f_\mathrm{high}

    in epoch k, with independent uniform phases, f the multiples of 1 / 3 Hz (1 / epoch if the epoch is longer than the
    published 3 s), and A such that z has mean 0 and variance exactly 1 over that period. A shorter epoch is the
    beginning of such a realisation.

    Args:
        duration: ms.
        dt: Step, ms.
        amplitudes: Direct current :math:`a_k` of each epoch, in `unit`.
        cv: Coefficient of variation c within an epoch.
        band: Lowest and highest frequency, Hz.
        start: Beginning of the first epoch, ms.
        gap: Silence between epochs, ms.
        epoch: Length of an epoch, ms; None: as long as fits.
        scale: Factor s of the whole waveform.
        shuffle: Draw the order of the epochs.
        unit: Unit of `amplitudes`.

    Raises:
        InputError: if the epochs do not fit in the duration, the band is empty or above the Nyquist frequency, or a
            range is reversed.

    Source:
        Teeter et al. 2018, Nat Commun 9:709; Allen Institute, Electrophysiology white paper (2017).
    """

    inputs = 1
    frozen = False

    def __init__(
        self,
        duration: float,
        dt: float = 1.0,
        amplitudes: Sequence[float] = AMPLITUDES,
        cv: Range = CV,
        band: tuple[float, float] = BAND,
        start: float = 0.0,
        gap: float = 0.0,
        epoch: float | None = None,
        scale: Range = 1.0,
        shuffle: bool = False,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        self._steps = steps(duration, dt)
        self.amplitudes, self.band = list(amplitudes), as_range("band", band, least=0)
        self.start, self.gap, self.epoch = start, gap, epoch
        check_amplitudes(amplitudes)
        self._windows = epoch_windows(duration, dt, len(amplitudes), start, gap, epoch)
        self.scale, self.cv = as_range("scale", scale), as_range("cv", cv, least=0)
        self.shuffle = shuffle
        longest = max(w.stop - w.start for w in self._windows)
        self._period = max(math.ceil(EPOCH / dt - 1e-9), longest)
        self._bins = frequency_bins(self._period, dt, band)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        scale, cv = draw(self.scale, rng), draw(self.cv, rng)
        amplitudes = scale * np.asarray(self.amplitudes)
        if self.shuffle:
            amplitudes = amplitudes[np.argsort(rng.random(len(amplitudes)))]
        noises = [pink(2 * np.pi * rng.random(len(self._bins)), self._bins, self._period) for _ in self._windows]
        return epochs(self._steps, self._windows, amplitudes, cv, noises)


class _FrozenNoise:
    """A frozen realisation of three 3 s epochs, sampled at any step and cut to any length of epoch."""

    inputs = 1
    frozen = True
    seed: int

    def __init__(
        self,
        duration: float = 22000.0,
        dt: float = 1.0,
        layout: Literal["published", "compact"] = "published",
        amplitudes: Sequence[float] = AMPLITUDES,
        cv: float = CV,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        n, period = steps(duration, dt), steps(EPOCH, dt)
        self.layout, self.amplitudes, self.cv = layout, list(amplitudes), cv
        check_amplitudes(amplitudes)
        as_range("cv", cv, least=0)
        if layout == "published":
            windows = epoch_windows(duration, dt, len(amplitudes), START, GAP, EPOCH)
        elif layout == "compact":
            windows = epoch_windows(duration, dt, len(amplitudes), 0.0, 0.0, None)
            if any(w.stop - w.start > period for w in windows):
                raise InputError(
                    f"an epoch of frozen noise lasts at most {EPOCH:g} ms, so that {len(amplitudes)} last at most "
                    f"{len(amplitudes) * EPOCH:g} ms, found duration {duration:g} ms; use PinkNoise for more"
                )
        else:
            raise InputError(f"stimulus: layout must be published or compact, found {layout!r}")
        bins = frequency_bins(period, dt, BAND)
        phases = _frozen_phases(self.seed, len(amplitudes) * len(bins)).reshape(len(amplitudes), -1)
        noises = [pink(p, bins, period) for p in phases]
        self._waveform = epochs(n, windows, np.asarray(amplitudes), cv, noises)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """The waveform :math:`(1, T)`, in `unit`; nothing is drawn from `rng`."""
        return self._waveform.copy()


class Noise1(_FrozenNoise):
    """Noise 1: a frozen :class:`PinkNoise`, always the same, whatever dt.

    The published waveforms are not available; this is another realisation of their recipe. Networks may train on it.

    Args:
        duration: ms.
        dt: Step, ms; 3000 ms must be a multiple.
        layout: ``"published"``: 3 s epochs from 2.02 s, 5 s apart (21.02 s at least); ``"compact"``: back to back
            over the whole duration, each the beginning of its 3 s (9 s at most).
        amplitudes: Direct current of each epoch, in `unit`.
        cv: Coefficient of variation within an epoch.
        unit: Unit of `amplitudes`.

    Raises:
        InputError: if the epochs do not fit in the duration or outlast the realisation.
    """

    seed = 1


class Noise2(_FrozenNoise):
    """Noise 2: a second frozen realisation, for tests only. Arguments and errors as :class:`Noise1`."""

    seed = 2


def pink(phases: FloatArray, bins: NDArray[np.int64], period: int) -> FloatArray:
    r"""Periodic pink noise :math:`(period,)` with mean 0 and variance 1 from its phases.

    .. math:: z_n = \sum_j A_j \cos(2 \pi b_j n / N + \varphi_j), \qquad
         A_j \propto b_j^{-1/2}, \quad \sum_j A_j^2 / 2 = 1

    Args:
        phases: :math:`(B,)`, radians.
        bins: Frequencies in cycles a period :math:`(B,)`, positive and below N / 2.
        period: N, samples.
    """
    amplitude = bins**-0.5
    amplitude *= math.sqrt(2 / np.sum(amplitude**2))
    spectrum = np.zeros(period // 2 + 1, dtype=np.complex128)
    spectrum[bins] = 0.5 * period * amplitude * np.exp(1j * phases)
    return np.fft.irfft(spectrum, n=period)


def frequency_bins(period: int, dt: float, band: tuple[float, float]) -> NDArray[np.int64]:
    """The frequencies within a band (Hz, edges included) of a period of N samples, in cycles a period.

    Raises:
        InputError: if the band is reversed, holds no frequency, or reaches the Nyquist frequency.
    """
    low, high = as_range("band", band, least=0)
    seconds = period * dt / 1000
    bins = np.arange(max(1, math.ceil(low * seconds - 1e-9)), math.floor(high * seconds + 1e-9) + 1)
    if len(bins) == 0:
        raise InputError(f"stimulus: band [{low:g}, {high:g}] Hz holds none of the multiples of {1 / seconds:g} Hz")
    if 2 * bins[-1] >= period:
        raise InputError(
            f"stimulus: band reaches {high:g} Hz, but a step of {dt:g} ms carries less than {500 / dt:g} Hz"
        )
    return bins


def epoch_windows(duration: float, dt: float, n: int, start: float, gap: float, epoch: float | None) -> list[slice]:
    """The samples of n epochs, edges rounded to the grid.

    Raises:
        InputError: if they do not fit in the duration, or are shorter than one step.
    """
    length = (duration - start - (n - 1) * gap) / n if epoch is None else epoch
    end = start + n * length + (n - 1) * gap
    if start < 0 or gap < 0 or length < dt or end > duration + 0.5 * dt:
        raise InputError(
            f"stimulus: {n} epochs of {length:g} ms, {gap:g} ms apart from {start:g} ms, must fit in the duration of "
            f"{duration:g} ms and last at least dt, {dt:g} ms, each"
        )
    edges = [start + k * (length + gap) for k in range(n)]
    return [slice(round(e / dt), round((e + length) / dt)) for e in edges]


def epochs(n: int, windows: list[slice], amplitudes: FloatArray, cv: float, noises: list[FloatArray]) -> FloatArray:
    """Epochs of direct current and noise :math:`(1, n)`, zero outside."""
    waveform = np.zeros((1, n))
    for w, amplitude, z in zip(windows, amplitudes, noises, strict=True):
        waveform[0, w] = amplitude * (1 + cv * z[: w.stop - w.start])
    return waveform


def check_amplitudes(values: Sequence[float]) -> None:
    """Raises InputError unless there are one or more finite numbers."""
    if len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"stimulus: amplitudes must be one or more finite numbers, found {list(values)}")


def _frozen_phases(seed: int, n: int) -> FloatArray:
    # Raw output of a bit generator, whose stream numpy guarantees, made into 53-bit uniforms here: Generator's methods
    # may change between numpy versions
    raw = np.random.PCG64(seed).random_raw(n)
    return 2 * np.pi * (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
