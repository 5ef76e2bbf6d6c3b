"""Spike counts, independent in time: Poisson, Poisson with a rate that varies from entry to entry, and Bernoulli."""

import math

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.timing import Range, as_range, draw

FloatArray = NDArray[np.float64]


class PoissonInputs:
    r"""Poisson counts, independent from step to step.

    .. math:: x_{it} \sim \mathrm{Poisson}(\lambda_{it}), \qquad \lambda_{it} = r \quad\text{or, if variable,}\quad
        \lambda_{it} = r \, u_{it}, \; u_{it} \sim U(0, 1)

    of mean and variance r, or r / 2 and :math:`r / 2 + r^2 / 12`. A correlation c comes from counts that all rows share,
    :math:`x_{it} = n_t + n_{it}` with :math:`n_t \sim \mathrm{Poisson}(c r)`, :math:`n_{it} \sim \mathrm{Poisson}((1 - c) r)`.

    Args:
        inputs: Number of rows K.
        duration: ms.
        dt: Step, ms.
        rate: r, counts a step.
        variable: Whether each entry has a rate of its own.
        standardised: Whether the mean is subtracted and the result divided by the standard deviation, both those of the law
            (not of the sample, which would make entries depend on each other).
        correlation: c, in [0, 1].

    Raises:
        InputError: if a range is reversed or out of bounds, or a correlation is asked of variable rates.
    """

    unit: Unit = "1"
    frozen = False

    def __init__(
        self,
        inputs: int,
        duration: float,
        dt: float = 1.0,
        rate: Range = 1.0,
        variable: bool = False,
        standardised: bool = False,
        correlation: Range = 0.0,
    ) -> None:
        self.inputs, self.duration, self.dt = inputs, duration, dt
        self._shape = shape(inputs, duration, dt)
        self.rate, self.correlation = as_range("rate", rate, least=0), as_range("correlation", correlation, 0, 1)
        self.variable, self.standardised = variable, standardised
        if standardised and self.rate[0] == 0:
            raise InputError("PoissonInputs: standardised counts need a rate above 0, found 0")
        if variable and self.correlation[1] > 0:
            raise InputError(
                f"PoissonInputs: rates drawn for each entry have no shared part, found variable with correlation "
                f"{self.correlation}; use variable: false, or CoxInputs for rates that vary together"
            )

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)` of counts a step, or standardised."""
        rate, c = draw(self.rate, rng), draw(self.correlation, rng)
        if self.variable:
            counts = rng.poisson(rate * rng.random(self._shape)).astype(np.float64)
            mean, variance = rate / 2, rate / 2 + rate**2 / 12
        else:
            counts = rng.poisson((1 - c) * rate, self._shape).astype(np.float64)
            if c > 0:
                counts += rng.poisson(c * rate, self._shape[1])
            mean = variance = rate
        return (counts - mean) / math.sqrt(variance) if self.standardised else counts


class BernoulliInputs:
    r"""Zeros and ones, independent from step to step.

    A correlation c comes from a shared train that each row copies at random times:

    .. math:: x_{it} = s_{it} y_t + (1 - s_{it}) y_{it}, \qquad s_{it} \sim \mathrm{Bernoulli}(\sqrt c), \quad
        y_t, y_{it} \sim \mathrm{Bernoulli}(p)

    which leaves every row's own law as it is.

    Args:
        inputs: Number of rows K.
        duration: ms.
        dt: Step, ms.
        probability: p of a one.
        correlation: c, in [0, 1].

    Raises:
        InputError: if a range is reversed or out of bounds.
    """

    unit: Unit = "1"
    frozen = False

    def __init__(
        self,
        inputs: int,
        duration: float,
        dt: float = 1.0,
        probability: Range = 0.1,
        correlation: Range = 0.0,
    ) -> None:
        self.inputs, self.duration, self.dt = inputs, duration, dt
        self._shape = shape(inputs, duration, dt)
        self.probability = as_range("probability", probability, 0, 1)
        self.correlation = as_range("correlation", correlation, 0, 1)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)` of zeros and ones."""
        p, c = draw(self.probability, rng), draw(self.correlation, rng)
        ones = rng.random(self._shape) < p
        if c > 0:
            shared = rng.random(self._shape[1]) < p
            ones = np.where(rng.random(self._shape) < math.sqrt(c), shared, ones)
        return ones.astype(np.float64)
