"""Currents that are constant for a while: a given sequence of levels, or one level throughout."""

import math

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.amplitude import Amplitude, as_amplitude, draw_amplitude, is_fixed
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.timing import steps

FloatArray = NDArray[np.float64]


class Steps:
    """Levels one after the other, on one or several inputs.

    Args:
        durations: Of each level, whole numbers of steps, ms.
        levels: A row for each input with a level for each duration.
        dt: Step, ms.
        scale: Factor of all levels; their unit times this is `unit`.
        unit: Unit of the result.

    Raises:
        InputError: if a row is not as long as `durations`, or a duration no whole number of steps.
    """

    def __init__(
        self,
        durations: list[float],
        levels: list[list[float]],
        dt: float = 0.1,
        scale: Amplitude = 1.0,
        unit: Unit = "1",
    ) -> None:
        self.unit: Unit = unit
        self.durations, self.levels, self.dt = list(durations), [list(row) for row in levels], dt
        self.scale = as_amplitude("scale", scale)
        if not levels or any(len(row) != len(durations) for row in levels):
            raise InputError(
                f"Steps: expected rows of {len(durations)} levels, one for each duration, found rows of "
                f"{[len(row) for row in levels]}"
            )
        if not all(math.isfinite(level) for row in levels for level in row):
            raise InputError(f"Steps: levels must be finite, found {levels}")
        numbers = [steps(duration, dt) for duration in durations]
        self._waveform = np.repeat(np.array(self.levels, float), numbers, axis=1)
        self.inputs, self.duration = len(levels), sum(numbers) * dt
        self.frozen = is_fixed(self.scale)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, in `unit`."""
        return draw_amplitude(self.scale, rng) * self._waveform


class Constant:
    """One level throughout, e.g. whether a drug is there: ``amplitude: {values: [0.0, 1.0]}``.

    Args:
        duration: ms.
        dt: Step, ms.
        amplitude: The level, in `unit`.
        unit: Unit of `amplitude`.

    Raises:
        InputError: if the amplitude is not finite.
    """

    inputs = 1

    def __init__(self, duration: float, dt: float = 0.1, amplitude: Amplitude = 0.0, unit: Unit = "1") -> None:
        self.unit: Unit = unit
        self.dt, self.duration, self._steps = dt, duration, steps(duration, dt)
        self.amplitude = as_amplitude("amplitude", amplitude)
        self.frozen = is_fixed(self.amplitude)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        return np.full((1, self._steps), draw_amplitude(self.amplitude, rng))
