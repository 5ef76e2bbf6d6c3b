r"""The posterior of a linear system's latents given counts, as a normal one around its mode (Laplace's approximation).

.. math::
    \hat z = \arg\max_z \; \log p(z) + \sum_{t, k \in o} x_{tk} (b_k + c_k \cdot z_t) - e^{b_k + c_k \cdot z_t}, \qquad
    \mathrm{Cov}^{-1} = -\nabla^2

of the entries o that are observed. The curvature couples neighbouring bins alone: it is a band matrix, whose Cholesky factor
takes time linear in the bins; sequences are put one after the other in one matrix, without coupling. What is needed of the
inverse, its entries within the band, follows from the factor without the rest of it.

Source:
    Paninski et al. (2010), J Comput Neurosci 29:107 (the band); Takahashi, Fagan and Chen (1973), PICA (the inverse's entries).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded
from scipy.special import gammaln

from neuroinf.fits.latent_model import Mask
from neuroinf.fits.latent_readout import LOG_RATE_LIMIT
from neuroinf.fits.linear_dynamics import LinearSystem

FloatArray = NDArray[np.float64]

# Newton's method: at most so many steps, of which none changes a log rate by more; ends at this gain in nats per bin
STEPS, LONGEST, HALVINGS, TOLERANCE = 50, 3.0, 20, 1e-9


@dataclass(frozen=True)
class Smoothed:
    """The posterior of T bins.

    Attributes:
        mean: Mode (T, D).
        covariance: Of each bin's latents (T, D, D).
        lagged: Of each bin's latents with those of the bin before (T - 1, D, D); 0 between sequences.
        log_likelihood: Laplace's approximation of that of the counts, nats.
    """

    mean: FloatArray
    covariance: FloatArray
    lagged: FloatArray
    log_likelihood: float


def laplace_smoothed(
    system: LinearSystem, x: FloatArray, seen: Mask, lengths: Sequence[int], start: FloatArray | None = None
) -> Smoothed:
    """Latents of sequences that stand one after the other.

    Args:
        system: A, Q, the first bin's covariance, C and b.
        x: Counts (T, K).
        seen: Which entries (T, K) are observed.
        lengths: Bins of each sequence, T in all.
        start: Where Newton's method begins (T, D); None: 0.
    """
    c, size = system.loadings, system.loadings.shape[1]
    products = (c[:, :, None] * c[:, None, :]).reshape(len(c), -1)
    diagonal, below = _prior_blocks(system, lengths)
    counts = np.where(seen, x, 0.0)
    constant = float(np.where(seen, gammaln(x + 1), 0.0).sum())

    def cost(z: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        drive = np.minimum(system.offset + z @ c.T, LOG_RATE_LIMIT)
        mu = np.where(seen, np.exp(drive), 0.0)
        pull = _times(diagonal, below, z)
        return float(mu.sum() - (counts * drive).sum() + 0.5 * (z * pull).sum()), mu, pull

    z = np.zeros((len(x), size)) if start is None else start
    value, mu, pull = cost(z)
    for _ in range(STEPS):
        factor = cholesky_banded(_band(diagonal + (mu @ products).reshape(-1, size, size), below), lower=True)
        gradient = (mu - counts) @ c + pull
        step = cho_solve_banded((factor, True), gradient.ravel()).reshape(z.shape)
        gain = 0.5 * float((gradient * step).sum())
        if gain < TOLERANCE * len(x):
            break
        # from rates far too small Newton's step overshoots exponentially
        share = min(1.0, LONGEST / max(float(np.abs(step @ c.T).max()), 1e-12))
        for _ in range(HALVINGS):
            tried = cost(z - share * step)
            if tried[0] < value:
                z, (value, mu, pull) = z - share * step, tried
                break
            share /= 2
        else:
            break  # what is left to gain is rounding
    factor = cholesky_banded(_band(diagonal + (mu @ products).reshape(-1, size, size), below), lower=True)
    covariance, lagged = _blocks(_inverse_band(np.ascontiguousarray(factor.T)), len(x), size)
    # the normal constants of prior and posterior leave the determinants alone
    lost = 2 * float(np.log(factor[0]).sum()) - _prior_log_determinant(system, lengths)
    return Smoothed(z, covariance, lagged, -value - constant - 0.5 * lost)


def _prior_blocks(system: LinearSystem, lengths: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """The prior's precision: blocks on the diagonal (T, D, D), and those of each bin with the one before (T - 1, D, D)."""
    a, inverse = system.transition, np.linalg.inv(system.noise)
    first, pulled, coupled = np.linalg.inv(system.initial), a.T @ inverse @ a, -inverse @ a
    total = sum(lengths)
    diagonal, below = np.empty((total, len(a), len(a))), np.empty((max(total - 1, 0), len(a), len(a)))
    diagonal[:], below[:] = inverse + pulled, coupled
    ends = np.cumsum(lengths)
    starts = ends - np.asarray(lengths)
    diagonal[starts] = first + pulled
    diagonal[ends - 1] -= pulled
    below[ends[:-1] - 1] = 0.0
    return diagonal, below


def _prior_log_determinant(system: LinearSystem, lengths: Sequence[int]) -> float:
    """Of the prior's precision."""
    each = [float(np.linalg.slogdet(matrix)[1]) for matrix in (system.initial, system.noise)]
    return -len(lengths) * each[0] - (sum(lengths) - len(lengths)) * each[1]


def _times(diagonal: FloatArray, below: FloatArray, z: FloatArray) -> FloatArray:
    """The precision's product with z (T, D)."""
    found = np.einsum("tde,te->td", diagonal, z)
    found[1:] += np.einsum("tde,te->td", below, z[:-1])
    found[:-1] += np.einsum("ted,te->td", below, z[1:])
    return found


def _band(diagonal: FloatArray, below: FloatArray) -> FloatArray:
    """The lower band (2 D, T D) of a block-tridiagonal matrix, as LAPACK stores it: row i - j, column j."""
    bins, size, _ = diagonal.shape
    band = np.zeros((2 * size, bins, size))
    for column in range(size):
        for row in range(size):
            if row >= column:
                band[row - column, :, column] = diagonal[:, row, column]
            band[size + row - column, :-1, column] = below[:, row, column]
    return band.reshape(2 * size, bins * size)


def _blocks(inverse: FloatArray, bins: int, size: int) -> tuple[FloatArray, FloatArray]:
    """Blocks on the diagonal (T, D, D), and of each bin with the one before (T - 1, D, D), of columns (T D, 2 D)."""
    columns = inverse.reshape(bins, size, 2 * size)
    diagonal, below = np.empty((bins, size, size)), np.empty((max(bins - 1, 0), size, size))
    for column in range(size):
        for row in range(size):
            if row >= column:
                diagonal[:, row, column] = diagonal[:, column, row] = columns[:, column, row - column]
            below[:, row, column] = columns[:-1, column, size + row - column]
    return diagonal, below


@njit(nogil=True, cache=True)
def _inverse_band(factor: FloatArray) -> FloatArray:
    """Entries of the inverse within the band, columns (n, W), from those of the Cholesky factor."""
    n, width = factor.shape
    found = np.zeros((n, width))
    for j in range(n - 1, -1, -1):
        reach = min(width, n - j)
        for i in range(j + reach - 1, j - 1, -1):
            total = 1.0 / factor[j, 0] if i == j else 0.0
            for k in range(j + 1, j + reach):
                total -= factor[j, k - j] * (found[i, k - i] if k > i else found[k, i - k])
            found[j, i - j] = total / factor[j, 0]
    return found
