r"""What is recorded of a population: Gaussian traces, Poisson counts, calcium-like traces.

A neuron's drive :math:`x_{i,t}` is its loadings times the latents, of mean 0 and variance 1. The signal is the expected activity
given the latents, and the signal-to-noise ratio of a neuron is

.. math:: \mathrm{SNR}_i = \frac{\mathrm{Var}_t(\mathrm E[y_{i,t} | z])}{\mathrm E_t(\mathrm{Var}[y_{i,t} | z])},
    \qquad \mathrm{EV}_i = \frac{\mathrm{SNR}_i}{1 + \mathrm{SNR}_i}

where EV is the share of the activity's variance that can be explained by anyone who knows the latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.signal import lfilter

from neuroinf.errors import InputError
from neuroinf.simulators.glm_draws import normal, poisson, start_stream
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
Traces = NDArray[np.float32]
Seeds = NDArray[np.uint64]
Rate = float | tuple[float, float]
Drive = Callable[[int], FloatArray]

# gains above would make of a drive of two standard deviations a rate 400 times that at rest
LARGEST_GAIN = 3.0
# of a drive, when a gain is sought: 0.002 of its standard deviation apart, by which moments of exp(3 x) are off by 3e-6
LEVELS = 4096
# decays after which a calcium trace has forgotten how it began
DECAYS = 6.0


@runtime_checkable
class PopulationObservation(Protocol):
    """From drives to activity.

    Attributes:
        unit: Of the activity: "count" for spikes in a bin, else "1".
    """

    unit: str

    def lead(self, dt: Any) -> Any:
        """Number of bins before the first recorded one that the activity depends on."""
        ...

    def constants(self, neurons: Any, drive: Any, dt: Any, rng: Any) -> Any:
        """Constants :math:`(K, c)` of K neurons; drive(k) gives that of neuron k in R stretches :math:`(R, T)`."""
        ...

    def respond(self, drive: Any, constants: Any, seeds: Any, dt: Any) -> Any:
        """Activity and its expectation given the latents, each :math:`(n, K, T)`, of drives :math:`(n, K, T)`."""
        ...


class GaussianObservation:
    r"""A trace with white noise.

    .. math:: y_{i,t} = x_{i,t} + e_{i,t}, \qquad e \sim N(0, 1 / \mathrm{SNR})

    Args:
        snr: Signal-to-noise ratio of every neuron.

    Raises:
        InputError: if it is not positive.
    """

    unit = "1"

    def __init__(self, snr: float = 1.5) -> None:
        self.snr = _positive("GaussianObservation", "snr", snr)

    def lead(self, dt: float) -> int:
        """None."""
        return 0

    def constants(self, neurons: int, drive: Drive, dt: float, rng: np.random.Generator) -> FloatArray:
        """Standard deviation of the noise (K, 1)."""
        return np.full((neurons, 1), 1 / math.sqrt(self.snr))

    def respond(self, drive: FloatArray, constants: FloatArray, seeds: Seeds, dt: float) -> tuple[Traces, Traces]:
        """Trace and signal (n, K, T)."""
        activity, signal = np.empty(drive.shape, np.float32), drive.astype(np.float32)
        n = len(drive)
        in_threads(lambda a, b: _gaussian(a, b, seeds, drive, constants[:, 0], activity), n, n)
        return activity, signal


class PoissonObservation:
    r"""Spikes in each bin.

    .. math:: y_{i,t} \sim \mathrm{Poisson}(\mu_{i,t}), \qquad \mu_{i,t} = r_i\, dt\, e^{g_i x_{i,t}},
        \qquad \mathrm{SNR}_i = \frac{\mathrm{Var}_t(\mu_i)}{\mathrm E_t(\mu_i)}

    Args:
        rate: r, the rate where x = 0, Hz; [low, high]: each neuron's own, uniform in its logarithm.
        snr: Signal-to-noise ratio of every neuron, which determines its gain.
        gain: g of every neuron, in the place of `snr`.

    Raises:
        InputError: if a number is not positive, or there are both a ratio and a gain or neither.
    """

    unit = "count"

    def __init__(self, rate: Rate = 20.0, snr: float | None = None, gain: float | None = None) -> None:
        self.rate, self.snr, self.gain = _rates("PoissonObservation", rate), snr, gain
        _one_of("PoissonObservation", snr, gain)

    def lead(self, dt: float) -> int:
        """None."""
        return 0

    def constants(self, neurons: int, drive: Drive, dt: float, rng: np.random.Generator) -> FloatArray:
        """Rate at rest in a bin, and gain (K, 2)."""
        rest = _draw_rates(self.rate, neurons, rng) * dt / 1000
        if self.gain is not None:
            return np.stack([rest, np.full(neurons, self.gain)], 1)
        assert self.snr is not None
        gains = []
        for k, mu in enumerate(rest):
            # each step of the search on all samples would take a hundred times as long
            weight, edges = np.histogram(drive(k), LEVELS)
            ratio = partial(_poisson_snr, weight / weight.sum())
            gains.append(_gain(ratio, self.snr, 0.5 * (edges[1:] + edges[:-1]), mu, "PoissonObservation"))
        return np.stack([rest, np.array(gains)], 1)

    def respond(self, drive: FloatArray, constants: FloatArray, seeds: Seeds, dt: float) -> tuple[Traces, Traces]:
        """Counts and expected counts (n, K, T)."""
        activity, signal = np.empty(drive.shape, np.float32), np.empty(drive.shape, np.float32)
        n = len(drive)
        in_threads(lambda a, b: _poisson(a, b, seeds, drive, constants, activity, signal), n, n)
        return activity, signal


class CalciumObservation:
    r"""Fluorescence: spikes that each leave a decaying trace, seen with white noise.

    .. math::
        F_{i,t} = a F_{i,t-1} + s_{i,t}, \quad s_{i,t} \sim \mathrm{Poisson}(\mu_{i,t}), \quad a = e^{-dt/\tau}, \qquad
        y_{i,t} = F_{i,t} + e_{i,t}, \quad e \sim N(0, \sigma^2)

    with :math:`\mu_{i,t} = r_i\,dt\,e^{g_i x_{i,t}}`; the signal is :math:`\bar F_{i,t} = \sum_k a^k \mu_{i,t-k}`, and

    .. math:: \mathrm{SNR}_i = \frac{\mathrm{Var}_t(\bar F_i)}{\mathrm E_t(\mu_i) / (1 - a^2) + \sigma^2}

    Args:
        rate: r, the rate where x = 0, Hz; [low, high]: each neuron's own, uniform in its logarithm.
        decay: :math:`\tau`, ms.
        noise: :math:`\sigma`, in units of what one spike adds.
        snr: Signal-to-noise ratio of every neuron, which determines its gain.
        gain: g of every neuron, in the place of `snr`.

    Raises:
        InputError: if a number is not positive, or there are both a ratio and a gain or neither.
    """

    unit = "1"

    def __init__(
        self,
        rate: Rate = 20.0,
        decay: float = 400.0,
        noise: float = 0.5,
        snr: float | None = None,
        gain: float | None = None,
    ) -> None:
        self.rate, self.snr, self.gain = _rates("CalciumObservation", rate), snr, gain
        self.decay = _positive("CalciumObservation", "decay", decay)
        self.noise = _positive("CalciumObservation", "noise", noise)
        _one_of("CalciumObservation", snr, gain)

    def lead(self, dt: float) -> int:
        """Until what came before the first bin has decayed."""
        return math.ceil(DECAYS * self.decay / dt)

    def constants(self, neurons: int, drive: Drive, dt: float, rng: np.random.Generator) -> FloatArray:
        """Rate at rest in a bin, gain, a and noise (K, 4)."""
        rest = _draw_rates(self.rate, neurons, rng) * dt / 1000
        a = math.exp(-dt / self.decay)

        def ratio(gain: float, x: FloatArray, mu: float) -> float:
            rate = mu * np.exp(gain * x)
            signal = np.asarray(lfilter([1.0], [1.0, -a], rate))[:, self.lead(dt) :]
            return float(signal.var() / (rate.mean() / (1 - a * a) + self.noise**2))

        if self.gain is not None:
            gains = np.full(neurons, self.gain)
        else:
            assert self.snr is not None
            found = [_gain(ratio, self.snr, drive(k), mu, "CalciumObservation") for k, mu in enumerate(rest)]
            gains = np.array(found)
        return np.stack([rest, gains, np.full(neurons, a), np.full(neurons, self.noise)], 1)

    def respond(self, drive: FloatArray, constants: FloatArray, seeds: Seeds, dt: float) -> tuple[Traces, Traces]:
        """Fluorescence and its expectation given the latents (n, K, T)."""
        activity, signal = np.empty(drive.shape, np.float32), np.empty(drive.shape, np.float32)
        n = len(drive)
        in_threads(lambda a, b: _calcium(a, b, seeds, drive, constants, activity, signal), n, n)
        return activity, signal


def _positive(name: str, key: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name}: {key} must be positive, found {value}")
    return value


def _rates(name: str, rate: Rate) -> Rate:
    low, high = (rate, rate) if isinstance(rate, int | float) else rate
    if not (math.isfinite(low) and math.isfinite(high) and 0 < low <= high):
        raise InputError(f"{name}: rate must be positive, Hz, or [low, high], found {rate}")
    return rate


def _one_of(name: str, snr: float | None, gain: float | None) -> None:
    if (snr is None) == (gain is None):
        raise InputError(f"{name}: expected either snr or gain, found snr {snr} and gain {gain}")
    for key, value in (("snr", snr), ("gain", gain)):
        if value is not None:
            _positive(name, key, value)


def _draw_rates(rate: Rate, neurons: int, rng: np.random.Generator) -> FloatArray:
    low, high = (rate, rate) if isinstance(rate, int | float) else rate
    return low * (high / low) ** rng.random(neurons)


def _poisson_snr(weight: FloatArray, gain: float, drive: FloatArray, rest: float) -> float:
    rate = rest * np.exp(gain * drive)
    mean = float(weight @ rate)
    return float(weight @ (rate - mean) ** 2) / mean


def _gain(ratio: Any, snr: float, drive: FloatArray, rest: float, name: str) -> float:
    """The gain that gives a neuron its signal-to-noise ratio."""
    most = ratio(LARGEST_GAIN, drive, rest)
    if most < snr:
        raise InputError(
            f"{name}: snr {snr:g} cannot be reached with {rest:.3g} spikes in a bin at rest (at most {most:.2g}): give a "
            f"higher rate, longer bins or a lower snr"
        )
    return float(brentq(lambda gain: ratio(gain, drive, rest) - snr, 0.0, LARGEST_GAIN, rtol=1e-6))  # pyright: ignore[reportArgumentType]


@njit(nogil=True, cache=True)
def _gaussian(first: int, last: int, seeds: Seeds, x: FloatArray, sd: FloatArray, activity: Traces) -> None:
    stream = np.empty(4, np.uint64)
    for row in range(first, last):
        start_stream(seeds[row], stream)
        for k in range(x.shape[1]):
            for t in range(x.shape[2]):
                activity[row, k, t] = x[row, k, t] + sd[k] * normal(stream)


@njit(nogil=True, cache=True)
def _poisson(
    first: int, last: int, seeds: Seeds, x: FloatArray, c: FloatArray, activity: Traces, signal: Traces
) -> None:
    stream = np.empty(4, np.uint64)
    for row in range(first, last):
        start_stream(seeds[row], stream)
        for k in range(x.shape[1]):
            for t in range(x.shape[2]):
                mean = c[k, 0] * math.exp(c[k, 1] * x[row, k, t])
                signal[row, k, t] = mean
                activity[row, k, t] = poisson(mean, math.exp(-mean), stream)


@njit(nogil=True, cache=True)
def _calcium(
    first: int, last: int, seeds: Seeds, x: FloatArray, c: FloatArray, activity: Traces, signal: Traces
) -> None:
    stream = np.empty(4, np.uint64)
    for row in range(first, last):
        start_stream(seeds[row], stream)
        for k in range(x.shape[1]):
            fluorescence, expected = 0.0, 0.0
            for t in range(x.shape[2]):
                mean = c[k, 0] * math.exp(c[k, 1] * x[row, k, t])
                expected = c[k, 2] * expected + mean
                fluorescence = c[k, 2] * fluorescence + poisson(mean, math.exp(-mean), stream)
                signal[row, k, t] = expected
                activity[row, k, t] = fluorescence + c[k, 3] * normal(stream)
