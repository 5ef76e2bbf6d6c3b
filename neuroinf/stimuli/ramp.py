"""A current that rises steadily."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.timing import Range, as_range, draw, steps, window

FloatArray = NDArray[np.float64]


class Ramp:
    r"""A linear ramp from start to stop, zero outside; edges are rounded to the grid.

    .. math:: I(t) = a + (b - a) \, (t - t_0) / (t_1 - t_0), \qquad t_0 \le t < t_1

    Args:
        duration: ms.
        dt: Step, ms.
        initial: a, at start, in `unit`.
        final: b, reached at stop, in `unit`.
        start: :math:`t_0`, ms.
        stop: :math:`t_1`, ms; None: the duration.
        unit: Unit of `initial` and `final`.

    Raises:
        InputError: if a range is reversed or outside the duration, or stop is not after start.

    Source:
        Allen Institute, Electrophysiology white paper (2017): 25 pA/s from 1.0225 s until the neuron spikes,
        at most 800 pA.
    """

    inputs = 1
    frozen = False

    def __init__(
        self,
        duration: float,
        dt: float = 1.0,
        initial: Range = 0.0,
        final: Range = (0.5, 3.0),
        start: Range = 0.0,
        stop: Range | None = None,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        self._steps = steps(duration, dt)
        self.initial, self.final = as_range("initial", initial), as_range("final", final)
        self.start = as_range("start", start, 0, duration)
        self.stop = as_range("stop", duration if stop is None else stop, 0, duration)
        if self.stop[0] <= self.start[1]:
            raise InputError(f"stimulus: stop must be after start, found start {self.start} and stop {self.stop} ms")

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        waveform = np.zeros((1, self._steps))
        initial, final = draw(self.initial, rng), draw(self.final, rng)
        w = window(draw(self.start, rng), draw(self.stop, rng), self.dt, self._steps)
        waveform[0, w] = np.linspace(initial, final, w.stop - w.start, endpoint=False)
        return waveform
