"""Doubly stochastic spike trains: rates that fluctuate together, and spikes drawn from them."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.clipped_rates import ClippedRates, Spikes
from neuroinf.stimuli.covariance import Correlation, design, equicorrelation, factor, possible
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.timing import draw

FloatArray = NDArray[np.float64]

# a range of coefficients is laid out at so many; between two of them the latent correlations are interpolated, which
# keeps them positive semidefinite
GRID = 17


class CoxInputs:
    r"""Spikes a bin drawn from rates that are Ornstein-Uhlenbeck processes, clipped at 0.

    .. math:: X_i(t) = s_i \max\bigl(0, c_i + (L Y)_i(t)\bigr), \qquad L L^T = R, \quad
        \langle Y_k(t) Y_l(t') \rangle = \delta_{kl} \, e^{-|t - t'| / \tau}

    The design is the mean and coefficient of variation of each rate after clipping, which fix :math:`s_i` and :math:`c_i`,
    and the correlation of the counts in 20 ms (or of the rates), from which R follows; the formulae, exact with clipping
    and bins, are those of :mod:`neuroinf.stimuli.clipped_rates`. With little clipping they come to

    .. math:: \rho_{ij} \approx \frac{C_{ij} \, g}{\sqrt{(r_i W + C_{ii} g) (r_j W + C_{jj} g)}}, \qquad
        g = 2 \tau^2 (W / \tau - 1 + e^{-W / \tau})

    with the covariance C of the rates, :math:`C_{ii} = (cv_i \, r_i)^2`, and W = 20 ms. So slow or sparse trains that vary
    little cannot be much correlated; a design beyond what is possible is refused with the largest value that is.

    Args:
        inputs: Number of trains K.
        duration: ms.
        dt: Bin, ms.
        rates: Mean rate after clipping, Hz: one for all, or a list of K.
        cv: Coefficient of variation of the rate after clipping: one for all, or a list of K.
        correlation: A coefficient for all pairs, its range (drawn for each waveform), or a matrix :math:`(K, K)`.
        of: Whether this is the correlation of the counts in 20 ms or of the rates.
        tau: Correlation time, ms.
        spikes: "bernoulli", at most one spike in a bin, or "poisson".
        nearest: Whether a correlation, of the design or of the processes below it, that is not positive semidefinite
            becomes the nearest one that is.

    Attributes:
        design: Correlation of the counts in 20 ms :math:`(K, K)`; for a range, at its upper end.

    Raises:
        InputError: if a value is out of bounds, or no such rates exist.

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
        cv: float | list[float] = 1.0,
        correlation: Correlation = 0.0,
        of: Literal["counts", "rates"] = "counts",
        tau: float = 10.0,
        spikes: Spikes = "bernoulli",
        nearest: bool = False,
    ) -> None:
        self.inputs, self.duration, self.dt = inputs, duration, dt
        self._shape = shape(inputs, duration, dt)
        self.rates, self.cv, self.correlation, self.of = rates, cv, correlation, of
        self.tau, self.spikes, self.nearest = tau, spikes, nearest
        law = ClippedRates("CoxInputs", each("rates", inputs, rates), each("cv", inputs, cv), tau, dt, spikes)
        self._law = law
        checked = design("CoxInputs", inputs, correlation, nearest)
        self._coefficients = checked if isinstance(checked, tuple) else (0.0, 0.0)
        if isinstance(checked, tuple):
            grid = np.unique(np.linspace(checked[0], checked[1], GRID))
            targets = [equicorrelation(inputs, float(c)) for c in grid]
        else:
            targets = [checked]
        latent = [
            possible("CoxInputs (processes below the rates)", r, nearest) for r in law.latent(np.array(targets), of)
        ]
        self._latent = np.array(latent)
        self._root = factor(latent[0]) if len(latent) == 1 else None
        self.design = law.count_correlation(self._latent[-1])

    def design_at(self, coefficient: float) -> FloatArray:
        """Correlation of the counts in 20 ms :math:`(K, K)` at a coefficient of the range.

        Raises:
            InputError: if it lies outside.
        """
        low, high = self._coefficients
        if not low <= coefficient <= high:
            raise InputError(f"CoxInputs: the coefficient must lie within [{low:g}, {high:g}], found {coefficient:g}")
        return self._law.count_correlation(self._latent_at(coefficient))

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)` of spikes a bin."""
        coefficient = draw(self._coefficients, rng)
        root = factor(self._latent_at(coefficient)) if self._root is None else self._root
        return self._law.sample(root, self._shape[1], 1.0, rng)

    def _latent_at(self, coefficient: float) -> FloatArray:
        if len(self._latent) == 1:
            return self._latent[0]
        low, high = self._coefficients
        place = (coefficient - low) / (high - low) * (len(self._latent) - 1)
        k = min(int(place), len(self._latent) - 2)
        return (k + 1 - place) * self._latent[k] + (place - k) * self._latent[k + 1]


def each(name: str, inputs: int, value: float | list[float]) -> FloatArray:
    """One value for each input :math:`(K,)`.

    Raises:
        InputError: if a list has another length.
    """
    if isinstance(value, int | float):
        return np.full(inputs, float(value))
    if len(value) != inputs:
        raise InputError(f"stimulus: {name} must be one number or a list of {inputs}, found {len(value)}")
    return np.array(value, dtype=np.float64)
