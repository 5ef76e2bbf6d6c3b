"""Correlated Poisson trains that copy, at random and with jitter, the spikes of common sources."""

import math

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.clipped_rates import WINDOW, window_bins
from neuroinf.stimuli.covariance import design, equicorrelation
from neuroinf.stimuli.cox_inputs import each
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.source_fit import fit_sources

FloatArray = NDArray[np.float64]

TOLERANCE = 0.01  # of a correlation in the design; beyond it is refused
BEFORE = 10.0  # correlation times before the waveform's beginning from which spikes may still arrive


class SourceMixture:
    r"""Spikes a bin of K trains, each exactly Poisson, that share sources.

    M independent Poisson sources have the rates :math:`\nu_m`. Train i keeps each spike of source m with probability
    :math:`P_{im}` and delays it by an exponential time of mean :math:`\tau`. Hence

    .. math:: r_i = \sum_m P_{im} \nu_m, \qquad
        c_{ij}(s) = \sum_m P_{im} P_{jm} \nu_m \, \frac{e^{-|s| / \tau}}{2 \tau}, \qquad
        \rho_{ij} = \frac{\sum_m P_{im} P_{jm} \nu_m}{\sqrt{r_i r_j}}
        \Bigl(1 - \frac{\tau}{W} \bigl(1 - e^{-W / \tau}\bigr)\Bigr)

    with the cross-covariance density c and the correlation :math:`\rho` of counts in W = 20 ms. P and :math:`\nu` are found
    for the wanted rates and correlation by :func:`neuroinf.stimuli.source_fit.fit_sources`, with one private source for
    each train. Correlations cannot be negative, nor above the bracket's value (0.57 for 10 ms).

    Args:
        inputs: Number of trains K.
        duration: ms.
        dt: Bin, ms.
        rates: Hz: one for all, or a list of K.
        correlation: Of the counts in 20 ms: a coefficient for all pairs, or a matrix :math:`(K, K)`.
        tau: Mean delay, ms; 0: shared spikes are simultaneous.
        sources: M, shared ones; None: twice the number of trains.
        nearest: Whether a correlation that is not positive semidefinite, or that no such sources give, becomes the nearest
            found.

    Attributes:
        design: Correlation of the counts in 20 ms :math:`(K, K)`, from P and :math:`\nu` as found.
        probabilities: P :math:`(K, M)`.
        source_rates: :math:`\nu` (M,), Hz.
        private_rates: Of each train's own source :math:`(K,)`, Hz.

    Raises:
        InputError: if a value is out of bounds, or no sources were found that give the correlation to within 0.01.

    Source:
        Brette 2009, Neural Comput 21:188.
    """

    unit: Unit = "1"
    frozen = False

    def __init__(
        self,
        inputs: int,
        duration: float,
        dt: float = 1.0,
        rates: float | list[float] = 20.0,
        correlation: float | list[list[float]] = 0.0,
        tau: float = 10.0,
        sources: int | None = None,
        nearest: bool = False,
    ) -> None:
        self.inputs, self.duration, self.dt = inputs, duration, dt
        self._shape = shape(inputs, duration, dt)
        self.rates, self.correlation, self.tau, self.sources, self.nearest = rates, correlation, tau, sources, nearest
        self._rates = each("rates", inputs, rates)
        if not (np.isfinite(self._rates).all() and self._rates.min() > 0):
            raise InputError(f"SourceMixture: rates must be above 0 Hz, found {rates}")
        if not (math.isfinite(tau) and tau >= 0):
            raise InputError(f"SourceMixture: tau must be 0 ms or more, found {tau}")
        number = 2 * inputs if sources is None else sources
        if number < 1:
            raise InputError(f"SourceMixture needs at least one source, found {number}")
        window_bins("SourceMixture", dt)
        checked = design("SourceMixture", inputs, correlation, nearest)
        if isinstance(checked, tuple) and checked[0] != checked[1]:
            raise InputError(
                f"SourceMixture: sources are found once, for one correlation, found a range {checked}; use a Mixture of several"
            )
        wanted = equicorrelation(inputs, checked[0]) if isinstance(checked, tuple) else checked
        within = 1 - tau / WINDOW * -math.expm1(-WINDOW / tau) if tau else 1.0
        pairs = ~np.eye(inputs, dtype=bool)
        possible = np.clip(wanted, 0, within)
        if not nearest and (wanted != possible)[pairs].any():
            i, j = np.argwhere((wanted != possible) & pairs)[0]
            raise InputError(
                f"SourceMixture: correlations of counts in {WINDOW:g} ms must lie within [0, {within:.3g}] for tau {tau:g} ms, "
                f"found {wanted[i, j]:.3g} for inputs {i + 1}, {j + 1}; use CoxInputs for negative ones, a smaller tau for "
                f"larger ones, or nearest: true"
            )
        self.probabilities, self.source_rates = fit_sources(self._rates, possible / within, number)
        heard = self.probabilities * self.source_rates
        self.private_rates = np.maximum(self._rates - heard.sum(1), 0)
        self.design = within * (heard @ self.probabilities.T) / np.sqrt(np.outer(self._rates, self._rates))
        np.fill_diagonal(self.design, 1.0)
        errors = np.abs(self.design - wanted) * pairs
        if not nearest and errors.max() > TOLERANCE:
            i, j = np.unravel_index(errors.argmax(), errors.shape)
            raise InputError(
                f"SourceMixture: no sources were found that give the correlation: at best {self.design[i, j]:.3g} instead of "
                f"{wanted[i, j]:.3g} for inputs {i + 1}, {j + 1} (rates {self._rates[i]:g} and {self._rates[j]:g} Hz); make it "
                f"smaller, tau smaller or the rates more alike, or use nearest: true"
            )

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)` of spikes a bin."""
        rows, steps = self._shape
        first = -BEFORE * self.tau
        numbers = rng.poisson(self.source_rates * (self.duration - first) / 1000)
        source = np.repeat(np.arange(len(numbers)), numbers)
        times = rng.uniform(first, self.duration, len(source))
        train, spike = np.nonzero(rng.random((rows, len(source))) < self.probabilities[:, source])
        arrivals = times[spike] + self.tau * rng.standard_exponential(len(spike))
        private = rng.poisson(self.private_rates * self.duration / 1000)
        arrivals = np.concatenate([arrivals, rng.uniform(0, self.duration, int(private.sum()))])
        train = np.concatenate([train, np.repeat(np.arange(rows), private)])
        bins = np.floor(arrivals / self.dt).astype(np.int64)
        inside = (bins >= 0) & (bins < steps)
        return (
            np.bincount((train * steps + bins)[inside], minlength=rows * steps).reshape(rows, steps).astype(np.float64)
        )
