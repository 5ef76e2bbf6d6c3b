"""External input of populations: noise in windows, one a period, and a step of current to some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.timing import Range, as_range, draw, window

FloatArray = NDArray[np.float64]
Law = Literal["white", "modulated"]


class NoiseWindows:
    r"""Noise in the first part of every period, 0 in the rest.

    white: each input its own, of standard deviation s in each step. modulated: the same for all inputs, an Ornstein-Uhlenbeck
    process of standard deviation

    .. math:: s\, (1 + d \sin(2 \pi t / p)), \qquad p = 5 \text{ s},\ d = 20,\ \tau = 3 \text{ ms}

    Args:
        inputs: K.
        duration: ms.
        dt: Step, ms, for which a sample is held.
        sd: s, in `unit`.
        law: white or modulated.
        period: From one window to the next, ms.
        width: Of a window, ms.
        depth: d.
        modulation: p, ms.
        tau: Correlation time of the modulated noise, ms.
        unit: Of `sd`.

    Raises:
        InputError: if a number is out of its range.

    Source:
        The two external inputs of the data published with Wang, Schmutz, Bellec and Gerstner 2022, NeurIPS (neuLVM); the
        second after Pozzorini et al. 2015, PLoS Comput Biol 11(6):e1004275.
    """

    frozen = False

    def __init__(
        self,
        inputs: int,
        duration: float,
        dt: float = 4.0,
        sd: float = 20.0,
        law: Law = "white",
        period: float = 1000.0,
        width: float = 500.0,
        depth: float = 20.0,
        modulation: float = 5000.0,
        tau: float = 3.0,
        unit: Unit = "1/s",
    ) -> None:
        self._shape = shape(inputs, duration, dt)
        if law not in get_args(Law):
            raise InputError(f"stimulus: law must be one of {', '.join(get_args(Law))}, found {law!r}")
        for name, value in (("period", period), ("width", width), ("modulation", modulation), ("tau", tau)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"stimulus: {name} must be above 0 ms, found {value}")
        if width > period:
            raise InputError(f"stimulus: width must be at most the period of {period:g} ms, found {width:g}")
        for name, value in (("sd", sd), ("depth", depth)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"stimulus: {name} must be a number that is not negative, found {value}")
        self.inputs, self.duration, self.dt, self.sd = inputs, duration, dt, sd
        self.law: Law = law
        self.period, self.width, self.depth, self.modulation, self.tau = period, width, depth, modulation, tau
        self.unit: Unit = unit

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, in `unit`."""
        steps = self._shape[1]
        time = self.dt * np.arange(steps)
        # to the nearest step, so that rounding of a time does not move an edge
        inside = np.round(time % self.period, 6) < self.width
        if self.law == "white":
            return self.sd * rng.standard_normal(self._shape) * inside
        rho, xi = math.exp(-self.dt / self.tau), rng.standard_normal(steps)
        xi[1:] *= math.sqrt(1 - rho**2)
        noise = np.asarray(lfilter([1.0], [1.0, -rho], xi))
        noise *= self.sd * (1 + self.depth * np.sin(2 * np.pi * time / self.modulation))
        return np.repeat((noise * inside)[None], self.inputs, 0)


class CurrentStep:
    """A step of input to one of K inputs or several, 0 outside; edges are rounded to the grid.

    Args:
        inputs: K.
        targets: The inputs that get it, from 0.
        duration: ms.
        dt: Step, ms.
        amplitude: In `unit`; a range is drawn for each waveform, alike for all targets.
        start: Onset, ms.
        stop: End, ms.
        unit: Of `amplitude`.

    Raises:
        InputError: if a target is none of the inputs, a range is reversed or out of bounds, or stop is not after start.
    """

    def __init__(
        self,
        inputs: int,
        targets: Sequence[int],
        duration: float,
        dt: float = 4.0,
        amplitude: Range = 100.0,
        start: Range = 2000.0,
        stop: Range = 3000.0,
        unit: Unit = "1/s",
    ) -> None:
        self._shape = shape(inputs, duration, dt)
        if not targets or any(target not in range(inputs) for target in targets):
            raise InputError(f"stimulus: targets must be some of the inputs 0 to {inputs - 1}, found {list(targets)}")
        self.inputs, self.targets, self.duration, self.dt = inputs, list(targets), duration, dt
        self.amplitude = as_range("amplitude", amplitude)
        self.start, self.stop = as_range("start", start, 0, duration), as_range("stop", stop, 0, duration)
        if self.stop[0] <= self.start[1]:
            raise InputError(f"stimulus: stop must be after start, found start {self.start} and stop {self.stop} ms")
        self.frozen = all(low == high for low, high in (self.amplitude, self.start, self.stop))
        self.unit: Unit = unit

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, in `unit`."""
        waveform = np.zeros(self._shape)
        amplitude, start, stop = draw(self.amplitude, rng), draw(self.start, rng), draw(self.stop, rng)
        waveform[self.targets, window(start, stop, self.dt, self._shape[1])] = amplitude
        return waveform
