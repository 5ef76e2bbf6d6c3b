r"""Rates that are Ornstein-Uhlenbeck processes clipped at zero, and the correlation of the spike counts they give.

Each rate is :math:`X_i(t) = s_i \max(0, c_i + Y_i(t))`, Y Gaussian with
:math:`\langle Y_i(t) Y_j(t') \rangle = R_{ij} e^{-|t - t'| / \tau}`. In normalised Hermite polynomials of Y the clipped
line has the coefficients

.. math:: b_0 = c \, \Phi(c) + \varphi(c), \quad b_1 = \Phi(c), \quad
    b_k = \varphi(c) \, \mathrm{He}_{k-2}(-c) / \sqrt{k!} \; (k \ge 2)

so that what clipping does to mean, variance and covariance is exact:

.. math:: \langle X_i \rangle = s_i b_{i0}, \qquad
    \mathrm{Cov}\bigl(X_i(t), X_j(t')\bigr) = s_i s_j \sum_{k \ge 1} b_{ik} b_{jk} R_{ij}^k \, e^{-k |t - t'| / \tau}

Spikes are drawn bin by bin with mean :math:`X_i dt`. The counts of two inputs in a window of n bins have the covariance

.. math:: dt^2 s_i s_j \sum_{k \ge 1} b_{ik} b_{jk} R_{ij}^k \, g_k, \qquad
    g_k = n + 2 \sum_{l=1}^{n-1} (n - l) \, e^{-k \, l \, dt / \tau}

and a count's own variance is this with R = 1, plus :math:`n \mu_i` (:math:`\mu_i` = mean spikes a bin) if the spikes are
Poisson; if they are Bernoulli, plus :math:`n \mu_i (1 - \mu_i)` and with :math:`g_k - n` in the place of :math:`g_k`.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.special import ndtr

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]
Spikes = Literal["bernoulli", "poisson"]

WINDOW = 20.0  # ms: designs are correlations of counts in windows of this length
ORDER = 150  # of the Hermite series, whose terms fall like k^-2.5 even for R = 1
HALVINGS = 40
# beyond this variation a rate is zero nearly always, and its mean rests on rare bursts
MOST_VARIABLE = 4.0
CLIPPED_ABOVE = 1e-4


class ClippedRates:
    """The law of K rates, up to the correlation R of their Gaussian processes, which is passed.

    Args:
        what: Who asks, for the errors.
        rates: Mean rates after clipping :math:`(K,)`, Hz.
        cv: Coefficients of variation of the rates after clipping :math:`(K,)`.
        tau: Correlation time of the Gaussian processes, ms.
        dt: Bin, ms.
        spikes: Law of the spikes in a bin.

    Raises:
        InputError: if a rate, cv or tau is not positive, a cv is above 4, the 20 ms window is no whole number of bins, or
            Bernoulli spikes would need probabilities above 1.
    """

    def __init__(self, what: str, rates: FloatArray, cv: FloatArray, tau: float, dt: float, spikes: Spikes) -> None:
        if not (np.isfinite(rates).all() and rates.min() > 0):
            raise InputError(f"{what}: rates must be above 0 Hz, found {rates.tolist()}")
        if not (np.isfinite(cv).all() and cv.min() > 0 and cv.max() <= MOST_VARIABLE):
            raise InputError(f"{what}: cv must be above 0 and at most {MOST_VARIABLE:g}, found {cv.tolist()}")
        if not (math.isfinite(tau) and tau > 0):
            raise InputError(f"{what}: tau must be above 0 ms, found {tau}")
        self.what, self.tau, self.dt, self.spikes = what, tau, dt, spikes
        self.bins = window_bins(what, dt)
        self.level = np.array([_level(float(v)) for v in cv])
        coefficients = hermite(self.level)
        self._scale = 1e-3 * dt * rates / coefficients[0]  # s dt: spikes a bin
        self._mean = self._scale * coefficients[0]
        self._a = self._scale * coefficients[1:]
        if spikes == "bernoulli":
            above = ndtr(self.level - 1 / self._scale)
            if above.max() > CLIPPED_ABOVE:
                i = int(above.argmax())
                raise InputError(
                    f"{what}: bins of {dt:g} ms hold more than one spike in {above[i]:.2g} of the time at {rates[i]:g} Hz and "
                    f"cv {cv[i]:g} (input {i + 1}); use smaller dt, rates or cv, or poisson spikes"
                )
        orders = np.arange(1, ORDER + 1)
        self._window = _window_sums(self.bins, np.exp(-orders * dt / tau))
        total = (self._a**2 * self._window[:, None]).sum(0)
        if spikes == "poisson":
            self._count_sd = np.sqrt(self.bins * self._mean + total)
        else:
            within = self.bins * (self._a**2).sum(0)
            self._count_sd = np.sqrt(self.bins * self._mean * (1 - self._mean) + total - within)

    def count_correlation(self, latent: FloatArray) -> FloatArray:
        """Correlation of 20 ms counts :math:`(..., K, K)` for a correlation R of the Gaussian processes."""
        return _unit_diagonal(self._series(latent, self._count_terms()))

    def rate_correlation(self, latent: FloatArray) -> FloatArray:
        """Correlation of the clipped rates at one time :math:`(..., K, K)`."""
        return _unit_diagonal(self._series(latent, self._rate_terms()))

    def latent(self, target: FloatArray, of: Literal["counts", "rates"]) -> FloatArray:
        """R :math:`(..., K, K)`, not necessarily positive semidefinite, whose counts or rates have the target correlation.

        Raises:
            InputError: if R would have to leave [-1, 1].
        """
        terms = self._count_terms() if of == "counts" else self._rate_terms()
        ones = np.ones(terms.shape[1:])
        least, most = self._series(-ones, terms), self._series(ones, terms)
        beyond = np.maximum(target - most, least - target)
        beyond[..., np.eye(len(ones), dtype=bool)] = 0
        if beyond.max() > 1e-9:
            index = np.unravel_index(beyond.argmax(), beyond.shape)
            i, j = index[-2:]
            remedy = "raise cv, rates or tau" if of == "counts" else "make the inputs' cv more alike"
            raise InputError(
                f"{self.what}: inputs {i + 1} and {j + 1} can have correlations of {of} from {least[i, j]:.3g} to "
                f"{most[i, j]:.3g}, found {target[index]:.3g}; {remedy}, or ask for less correlation"
            )
        low, high = np.full(target.shape, -1.0), np.ones(target.shape)
        for _ in range(HALVINGS):  # the series increases in R: the covariance of increasing functions of Gaussians does
            middle = (low + high) / 2
            below = self._series(middle, terms) < target
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return _unit_diagonal((low + high) / 2)

    def sample(self, root: FloatArray, steps: int, gain: float, rng: np.random.Generator) -> FloatArray:
        """Spikes a bin :math:`(K, T)`, for R = `root` `root`' with root :math:`(K, M)` and all rates times `gain`."""
        expected = root @ ornstein_uhlenbeck(root.shape[1], steps, self.tau, self.dt, rng)
        expected += self.level[:, None]
        np.maximum(expected, 0, out=expected)
        expected *= gain * self._scale[:, None]
        if self.spikes == "bernoulli":
            return (rng.random(expected.shape) < expected).astype(np.float64)
        return rng.poisson(expected).astype(np.float64)

    def _count_terms(self) -> FloatArray:
        a = self._a / self._count_sd
        return a[:, :, None] * a[:, None, :] * self._window[:, None, None]

    def _rate_terms(self) -> FloatArray:
        a = self._a / np.sqrt((self._a**2).sum(0))
        return a[:, :, None] * a[:, None, :]

    @staticmethod
    def _series(latent: FloatArray, terms: FloatArray) -> FloatArray:
        total = np.zeros(np.broadcast_shapes(latent.shape, terms.shape[1:]))
        for term in terms[::-1]:
            total += term
            total *= latent
        return total


def hermite(level: FloatArray) -> FloatArray:
    """Coefficients b of max(0, level + Y) in normalised Hermite polynomials :math:`(ORDER + 1, K)`."""
    density = np.exp(-(level**2) / 2) / math.sqrt(2 * math.pi)
    b = np.empty((ORDER + 1, *level.shape))
    b[0], b[1] = level * ndtr(level) + density, ndtr(level)
    before, here = np.zeros_like(level), np.ones_like(level)  # He_k(-level) / sqrt(k!)
    for k in range(ORDER - 1):
        b[k + 2] = density * here / math.sqrt((k + 1) * (k + 2))
        before, here = here, (-level * here - math.sqrt(k) * before) / math.sqrt(k + 1)
    return b


def ornstein_uhlenbeck(rows: int, steps: int, tau: float, dt: float, rng: np.random.Generator) -> FloatArray:
    """Independent stationary processes of unit variance :math:`(K, T)`, exact at the steps."""
    rho = math.exp(-dt / tau)
    xi = rng.standard_normal((rows, steps))
    xi[:, 1:] *= math.sqrt(1 - rho**2)
    return np.asarray(lfilter([1.0], [1.0, -rho], xi, axis=1))


def window_bins(what: str, dt: float) -> int:
    """Bins of dt in the 20 ms window.

    Raises:
        InputError: if they are not a whole number.
    """
    n = round(WINDOW / dt)
    if n < 1 or not math.isclose(n * dt, WINDOW, rel_tol=1e-9):
        raise InputError(
            f"{what}: designs are correlations of counts in {WINDOW:g} ms, which must be a whole number of bins; found "
            f"dt {dt:g} ms"
        )
    return n


def _window_sums(bins: int, rho: FloatArray) -> FloatArray:
    lags = np.arange(1, bins)
    return bins + 2 * ((bins - lags) * rho[:, None] ** lags).sum(1)


def _level(cv: float) -> float:
    """c at which max(0, c + Y) has this coefficient of variation."""

    def excess(c: float) -> float:
        density = math.exp(-c * c / 2) / math.sqrt(2 * math.pi)
        mean = c * float(ndtr(c)) + density
        return math.sqrt(max(0.0, (c * c + 1) * float(ndtr(c)) + c * density - mean**2)) / mean - cv

    return float(brentq(excess, -4.0, 2 / cv + 2))  # pyright: ignore[reportArgumentType]


def _unit_diagonal(matrix: FloatArray) -> FloatArray:
    diagonal = np.arange(matrix.shape[-1])
    matrix[..., diagonal, diagonal] = 1.0
    return matrix
