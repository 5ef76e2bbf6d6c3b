"""Currents of one synaptic event: biexponential and alpha-shaped."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.amplitude import Amplitude, as_amplitude, draw_amplitude, is_fixed
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.timing import Range, as_range, draw, steps

FloatArray = NDArray[np.float64]


class BiexponentialInput:
    r"""One event that rises and decays exponentially, zero before.

    .. math:: I(t) = A\, w(t - d) / \max_i w(i\,dt), \qquad w(t) = e^{-t / \tau_d} - e^{-t / \tau_r}, \; t \ge 0

    Args:
        duration: ms.
        dt: Step, ms.
        amplitude: A, the largest sample, in `unit`.
        delay: d, rounded to the grid, ms.
        rise: :math:`\tau_r`, ms.
        decay: :math:`\tau_d`, ms.
        unit: Unit of `amplitude`.

    Raises:
        InputError: if a value is out of bounds, or the decay is not slower than the rise.

    Source:
        The inputs of Harkin et al. (2022), Neuroscience 489:200; their program starts the event one step before d.
    """

    inputs = 1

    def __init__(
        self,
        duration: float,
        dt: float = 0.1,
        amplitude: Amplitude = 7.0,
        delay: Range = 20.0,
        rise: float = 0.1,
        decay: float = 5.0,
        unit: Unit = "1",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration, self._steps = dt, duration, steps(duration, dt)
        self.amplitude, self.delay = as_amplitude("amplitude", amplitude), as_range("delay", delay, 0, duration)
        if not 0 < rise < decay < np.inf:
            raise InputError(f"stimulus: rise must be positive and below decay, found {rise} and {decay} ms")
        self.rise, self.decay = rise, decay
        self.frozen = is_fixed(self.amplitude) and self.delay[0] == self.delay[1]
        time = dt * np.arange(self._steps)
        shape = np.exp(-time / decay) - np.exp(-time / rise)
        self._shape = shape / shape.max()

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        amplitude, delay = draw_amplitude(self.amplitude, rng), draw(self.delay, rng)
        return amplitude * _delayed(self._shape, round(delay / self.dt))


class AlphaInput:
    r"""One event of the shape of an alpha function, zero before.

    .. math:: I(t) = A\, \frac{e}{\tau} (t - d)\, e^{-(t - d) / \tau}, \qquad t \ge d

    Args:
        duration: ms.
        dt: Step, ms.
        amplitude: A, reached tau after the beginning, in `unit`.
        tau: ms.
        delay: d, rounded to the grid, ms.
        unit: Unit of `amplitude`.

    Raises:
        InputError: if a value is out of bounds.

    Source:
        The inputs of Harkin et al. (2022), Neuroscience 489:200.
    """

    inputs = 1

    def __init__(
        self,
        duration: float,
        dt: float = 0.01,
        amplitude: Amplitude = (0.0, 3.0),
        tau: float = 2.0,
        delay: Range = 0.0,
        unit: Unit = "1",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration, self._steps = dt, duration, steps(duration, dt)
        self.amplitude, self.delay = as_amplitude("amplitude", amplitude), as_range("delay", delay, 0, duration)
        if not 0 < tau < np.inf:
            raise InputError(f"stimulus: tau must be above 0 ms, found {tau}")
        self.tau = tau
        self.frozen = is_fixed(self.amplitude) and self.delay[0] == self.delay[1]
        time = dt * np.arange(self._steps, dtype=np.float64)
        self._shape: FloatArray = np.e / tau * time * np.exp(-time / tau)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        amplitude, delay = draw_amplitude(self.amplitude, rng), draw(self.delay, rng)
        return amplitude * _delayed(self._shape, round(delay / self.dt))


def _delayed(shape: FloatArray, late: int) -> FloatArray:
    return np.concatenate([np.zeros(late), shape[: len(shape) - late]])[None]
