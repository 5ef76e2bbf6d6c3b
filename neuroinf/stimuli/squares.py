"""Square pulses: long, short, and three short ones."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.timing import Range, as_range, draw, steps, window

FloatArray = NDArray[np.float64]


class LongSquare:
    """A step of current from start to stop, zero outside; edges are rounded to the grid.

    Args:
        duration: ms.
        dt: Step, ms.
        amplitude: In `unit`.
        start: Onset, ms.
        stop: End, ms.
        unit: Unit of `amplitude`.

    Raises:
        InputError: if a range is reversed or outside the duration, or stop is not after start.

    Source:
        Allen Institute, Electrophysiology white paper (2017): 1 s from 1.02 s.
    """

    inputs = 1
    frozen = False

    def __init__(
        self,
        duration: float,
        dt: float = 1.0,
        amplitude: Range = (-1.0, 2.5),
        start: Range = 1020.0,
        stop: Range = 2020.0,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        self._steps = steps(duration, dt)
        self.amplitude = as_range("amplitude", amplitude)
        self.start, self.stop = as_range("start", start, 0, duration), as_range("stop", stop, 0, duration)
        if self.stop[0] <= self.start[1]:
            raise InputError(f"stimulus: stop must be after start, found start {self.start} and stop {self.stop} ms")

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        waveform = np.zeros((1, self._steps))
        amplitude, start, stop = draw(self.amplitude, rng), draw(self.start, rng), draw(self.stop, rng)
        waveform[0, window(start, stop, self.dt, self._steps)] = amplitude
        return waveform


class ShortSquare:
    """One brief pulse, zero outside; edges are rounded to the grid.

    Args:
        duration: ms.
        dt: Step, ms.
        amplitude: In `unit`. A brief pulse needs several times the rheobase to reach threshold.
        start: Onset, ms.
        width: ms.
        unit: Unit of `amplitude`.

    Raises:
        InputError: if a range is reversed, or the pulse may end after the duration.

    Source:
        Allen Institute, Electrophysiology white paper (2017): 3 ms at 1.02 s.
    """

    inputs = 1
    frozen = False

    def __init__(
        self,
        duration: float,
        dt: float = 1.0,
        amplitude: Range = (2.0, 20.0),
        start: Range = 1020.0,
        width: float = 3.0,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        self._steps = steps(duration, dt)
        self.amplitude, self.start = as_range("amplitude", amplitude), as_range("start", start, 0, duration)
        self.width, self._width = width, _width(width, dt)
        _must_end(self.start[1] + width, duration)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        waveform = np.zeros((1, self._steps))
        amplitude, start = draw(self.amplitude, rng), round(draw(self.start, rng) / self.dt)
        waveform[0, start : start + self._width] = amplitude
        return waveform


class TripleShortSquare:
    """Three equal brief pulses, equally spaced from onset to onset, zero outside; edges are rounded to the grid.

    Args:
        duration: ms.
        dt: Step, ms.
        amplitude: In `unit`. A brief pulse needs several times the rheobase to reach threshold.
        start: First onset, ms.
        spacing: From onset to onset, ms.
        width: ms.
        unit: Unit of `amplitude`.

    Raises:
        InputError: if a range is reversed, pulses may overlap, or the last one may end after the duration.

    Source:
        Allen Institute, Electrophysiology white paper (2017): 3 ms each from 2.02 s; recorded trains span 19 to 649 ms.
    """

    inputs = 1
    frozen = False

    def __init__(
        self,
        duration: float,
        dt: float = 1.0,
        amplitude: Range = (2.0, 20.0),
        start: Range = 2020.0,
        spacing: Range = (8.0, 323.0),
        width: float = 3.0,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        self._steps = steps(duration, dt)
        self.amplitude, self.start = as_range("amplitude", amplitude), as_range("start", start, 0, duration)
        self.spacing = as_range("spacing", spacing, least=width + dt)
        self.width, self._width = width, _width(width, dt)
        _must_end(self.start[1] + 2 * self.spacing[1] + width, duration)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        waveform = np.zeros((1, self._steps))
        amplitude, start, spacing = draw(self.amplitude, rng), draw(self.start, rng), draw(self.spacing, rng)
        for k in range(3):
            first = round((start + k * spacing) / self.dt)
            waveform[0, first : first + self._width] = amplitude
        return waveform


def _width(width: float, dt: float) -> int:
    if width < dt:
        raise InputError(f"stimulus: width must be at least dt, {dt:g} ms, found {width:g} ms")
    return round(width / dt)


def _must_end(end: float, duration: float) -> None:
    if end > duration:
        raise InputError(f"stimulus: the last pulse may end at {end:g} ms, after the duration of {duration:g} ms")
