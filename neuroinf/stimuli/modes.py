"""Spike counts whose rates follow a few common modes, from each input its own mode to all modes in every input."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from neuroinf.errors import InputError
from neuroinf.stimuli.clipped_rates import ClippedRates
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.timing import Range, as_range, draw

FloatArray = NDArray[np.float64]


class Modes:
    r"""Poisson counts a bin of rates that mix M Gaussian modes.

    .. math:: X_i(t) = s \max\Bigl(0, c + \sum_m \sqrt{p_{im}} \, z_m(t)\Bigr), \qquad \sum_m p_{im} = 1, \quad
        -\sum_m p_{im} \ln p_{im} = e \ln M

    :math:`p_{im}` is the share of input i's variance that comes from mode m. Input i has mode i modulo M as its own, with
    the share that gives the evenness e, and the same of every other mode. At e = 0 the rates of inputs with different
    modes are independent, at e = 1 all rates are one. The modes z are independent Ornstein-Uhlenbeck processes of unit
    variance. Clipping at 0 is taken into account, see :mod:`neuroinf.stimuli.clipped_rates`.

    Args:
        inputs: Number of inputs K.
        duration: ms.
        dt: Bin, ms.
        modes: M; None: as many as inputs.
        evenness: e, in [0, 1].
        rate: Mean rate after clipping, Hz.
        cv: Coefficient of variation of the rate after clipping.
        tau: Correlation time of the modes, ms.

    Attributes:
        design: Correlation of the rates :math:`(K, K)`; for a range of evenness, at its upper end. Judge it on the rates: the
            counts' own noise makes their correlations smaller.
        count_design: That of the counts in 20 ms, at the upper end of the rates too.

    Raises:
        InputError: if a range is reversed or out of bounds, or there are fewer than two modes.
    """

    unit: Unit = "1"
    frozen = False

    def __init__(
        self,
        inputs: int,
        duration: float,
        dt: float = 1.0,
        modes: int | None = None,
        evenness: Range = (0.0, 1.0),
        rate: Range = 20.0,
        cv: float = 1.0,
        tau: float = 10.0,
    ) -> None:
        self.inputs, self.duration, self.dt, self.modes = inputs, duration, dt, modes
        self._shape = shape(inputs, duration, dt)
        self._modes = inputs if modes is None else modes
        if self._modes < 2:
            raise InputError(f"Modes: evenness needs at least 2 modes, found {self._modes}")
        self.evenness, self.rate = as_range("evenness", evenness, 0, 1), as_range("rate", rate, least=0)
        self.cv, self.tau = cv, tau
        high = np.full(inputs, self.rate[1])
        self._law = ClippedRates("Modes", high, np.full(inputs, float(cv)), tau, dt, "poisson")
        self.design = self.design_at(self.evenness[1])
        root = np.sqrt(self.mixing(self.evenness[1]))
        self.count_design = self._law.count_correlation(root @ root.T)

    def mixing(self, evenness: float) -> FloatArray:
        """The shares p :math:`(K, M)` at an evenness; rows sum to 1 and have the entropy e ln M."""
        own = own_share(evenness, self._modes)
        p = np.full((self.inputs, self._modes), (1 - own) / (self._modes - 1))
        p[np.arange(self.inputs), np.arange(self.inputs) % self._modes] = own
        return p

    def design_at(self, evenness: float) -> FloatArray:
        """Correlation of the rates :math:`(K, K)` at an evenness."""
        root = np.sqrt(self.mixing(evenness))
        return self._law.rate_correlation(root @ root.T)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)` of counts a bin."""
        evenness, rate = draw(self.evenness, rng), draw(self.rate, rng)
        return self._law.sample(np.sqrt(self.mixing(evenness)), self._shape[1], rate / self.rate[1], rng)


def own_share(evenness: float, modes: int) -> float:
    r"""The share a of one mode, the others alike, at which the entropy is :math:`e \ln M`; from 1 at e = 0 to 1 / M at e = 1."""
    if evenness <= 0:
        return 1.0
    if evenness >= 1:
        return 1 / modes

    def excess(a: float) -> float:
        return -a * math.log(a) - (1 - a) * math.log((1 - a) / (modes - 1)) - evenness * math.log(modes)

    return float(brentq(excess, 1 / modes, 1 - 1e-15))  # pyright: ignore[reportArgumentType]
