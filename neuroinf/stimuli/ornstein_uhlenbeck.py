"""Ornstein-Uhlenbeck noise: the current of many synapses, as dynamic-clamp and noise-current recordings inject it."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.timing import Range, as_range, draw, steps, window

FloatArray = NDArray[np.float64]


class OrnsteinUhlenbeck:
    r"""A stationary Ornstein-Uhlenbeck process around a direct current, zero before `start` and from `stop` on.

    .. math:: I(t) = m + s \, \Bigl(1 + d \sin\bigl(2 \pi t / p + \varphi\bigr)\Bigr) \, x(t), \qquad
        \langle x(t) x(t') \rangle = e^{-|t - t'| / \tau}

    x is exact at the samples: :math:`x_{n+1} = \rho x_n + \sqrt{1 - \rho^2} \, \xi_n`, :math:`\rho = e^{-dt / \tau}`,
    :math:`\xi` standard normal. All ranges are drawn per waveform, uniformly but for tau, which is log-uniform.

    Args:
        duration: ms.
        dt: Step, ms.
        mean: Mean m, in `unit`.
        sd: Standard deviation s, in `unit`.
        tau: Correlation time, ms.
        start: Beginning, ms.
        stop: End, ms; None: the duration.
        modulation: Depth d in [0, 1] of a slow change of the standard deviation, with a random phase.
        period: Period p of that change, ms.
        unit: Unit of `mean` and `sd`.

    Raises:
        InputError: if a range is reversed or out of bounds, or stop is not after start.

    Source:
        Uhlenbeck and Ornstein 1930, Phys Rev 36:823; the modulation (0.2 Hz) as in Pozzorini et al. 2015, PLoS
        Comput Biol 11(6):e1004275.
    """

    inputs = 1
    frozen = False

    def __init__(
        self,
        duration: float,
        dt: float = 1.0,
        mean: Range = (0.0, 1.5),
        sd: Range = (0.1, 0.6),
        tau: Range = (1.0, 20.0),
        start: Range = 0.0,
        stop: Range | None = None,
        modulation: Range = 0.0,
        period: float = 5000.0,
        unit: Unit = "rheobase",
    ) -> None:
        self.unit: Unit = unit
        self.dt, self.duration = dt, duration
        self._steps = steps(duration, dt)
        self.mean, self.sd = as_range("mean", mean), as_range("sd", sd, least=0)
        self.tau = as_range("tau", tau, least=0)
        self.start = as_range("start", start, 0, duration)
        self.stop = as_range("stop", duration if stop is None else stop, 0, duration)
        self.modulation, self.period = as_range("modulation", modulation, 0, 1), period
        if self.tau[0] == 0:
            raise InputError("stimulus: tau must be above 0 ms, found 0")
        if period <= 0:
            raise InputError(f"stimulus: period must be above 0 ms, found {period:g}")
        if self.stop[0] <= self.start[1]:
            raise InputError(f"stimulus: stop must be after start, found start {self.start} and stop {self.stop} ms")

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(1, T)`, in `unit`."""
        mean, sd = draw(self.mean, rng), draw(self.sd, rng)
        tau = math.exp(draw((math.log(self.tau[0]), math.log(self.tau[1])), rng))
        depth, phase = draw(self.modulation, rng), 2 * np.pi * rng.random()
        w = window(draw(self.start, rng), draw(self.stop, rng), self.dt, self._steps)
        xi = rng.standard_normal(w.stop - w.start)
        rho = math.exp(-self.dt / tau)
        xi[1:] *= math.sqrt(1 - rho**2)
        x = np.asarray(lfilter([1.0], [1.0, -rho], xi))
        time = self.dt * np.arange(w.start, w.stop)
        waveform = np.zeros((1, self._steps))
        waveform[0, w] = mean + sd * (1 + depth * np.sin(2 * np.pi * time / self.period + phase)) * x
        return waveform
