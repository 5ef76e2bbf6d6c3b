r"""The closed form for a neuron whose rate is observed: least squares on the link of the rate.

.. math:: f^{-1}(y_t) = b + \sum_i w_i x_{i,t} + w_h h_t

is linear in the observed inputs with the hidden one as its residual. Ordinary least squares is therefore consistent for
w and b as long as hidden and observed inputs are uncorrelated, and the residual is the hidden drive:

.. math:: |w_h| = \frac{\mathrm{sd}(\text{residual})}{\mathrm{sd}(h)}, \qquad
    h_t = \mathrm E[h] + \frac{\text{residual}_t}{w_h}

The sign of the hidden weight is that of the residual's skewness times the law's, where the law is skewed; for a
symmetric one, :math:`(w_h, h) \sim (-w_h, -h)` exactly and nothing tells the two apart. Correlated inputs bias the
weights by :math:`\Sigma_{oo}^{-1} \Sigma_{oh} w_h`, whatever the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]
IDENTIFIED = 1 - 1e-6  # share of a coefficient that the inputs determine, below which it has no standard error
WIDEST = 10  # bins in a window of counts: from then on log odds of counts are nearly unbiased
ENOUGH = 3  # windows for each coefficient


@dataclass(frozen=True)
class Regression:
    """Least squares of B neurons with I inputs over T bins.

    Attributes:
        weights: :math:`(B, I)`.
        bias: :math:`(B,)`, the hidden input's mean taken out with `sign`.
        weights_error: Standard errors :math:`(B, I)`; inf where the inputs do not determine the weight.
        bias_error: Likewise :math:`(B,)`, of the intercept.
        residual: The hidden drive about its mean :math:`(B, T)`; nan where the rate was not observed or saturated.
        hidden_weight: :math:`|w_h|`, :math:`(B,)`, unbiased: by T - I - 1 degrees of freedom.
        hidden: The hidden activity :math:`(B, T)`, if the sign is `sign`.
        sign: Of :math:`w_h` as far as the skewness tells, :math:`(B,)`, 1 or -1.
        sign_z: How many standard errors (of a normal residual's skewness) it rests on, :math:`(B,)`.
    """

    weights: FloatArray
    bias: FloatArray
    weights_error: FloatArray
    bias_error: FloatArray
    residual: FloatArray
    hidden_weight: FloatArray
    hidden: FloatArray
    sign: FloatArray
    sign_z: FloatArray

    @property
    def theta(self) -> FloatArray:
        """Parameters :math:`(B, I + 2)` in the order of `GLM`: weights, bias, signed hidden weight."""
        return np.column_stack((self.weights, self.bias, self.sign * self.hidden_weight))


def regress(
    y: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    nonlinearity: Literal["logistic", "exponential"] = "logistic",
    hidden_mean: float = 0.0,
    hidden_sd: float = 1.0,
) -> Regression:
    """Fits every neuron by itself, all at once.

    Args:
        y: Rates :math:`(B, T)`; nan: not observed. A rate at which f saturates (0, or 1 for the logistic) is left out.
        x: Observed inputs :math:`(B, I, T)`.
        nonlinearity: f: the link is the logit or the logarithm.
        hidden_mean: Mean of the hidden input's law.
        hidden_sd: Its sd.

    Raises:
        InputError: if the shapes do not fit together, or a neuron has fewer than I + 2 usable samples.
    """
    y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
    _check(y, x)
    with np.errstate(invalid="ignore", divide="ignore"):
        drive = logit(y) if nonlinearity == "logistic" else np.log(y)
    used = np.isfinite(drive)
    count, columns = used.sum(1), x.shape[1] + 1
    if (count <= columns).any():
        worst = int(count.argmin())
        raise InputError(
            f"a regression on {columns - 1} inputs needs {columns + 1} or more rates within the nonlinearity's range, "
            f"found {count[worst]} for neuron {worst}"
        )
    coefficient, inverse, residual = _least_squares(np.where(used, drive, 0.0), x, used)
    variance = np.square(residual).sum(1) / (count - columns)
    error = np.sqrt(inverse * variance[:, None])

    size = np.sqrt(variance) / hidden_sd
    skewness = _skewness(residual, used)
    sign = np.where(skewness * _skewness(x.reshape(len(x), -1), np.broadcast_to(True, (len(x), 1))) < 0, -1.0, 1.0)
    signed = np.where(size > 0, sign * size, np.inf)  # without a hidden drive its activity is its mean
    residual = np.where(used, residual, np.nan)
    return Regression(
        weights=coefficient[:, :-1],
        bias=coefficient[:, -1] - sign * size * hidden_mean,
        weights_error=error[:, :-1],
        bias_error=error[:, -1],
        residual=residual,
        hidden_weight=size,
        hidden=hidden_mean + residual / signed[:, None],
        sign=sign,
        sign_z=np.abs(skewness) / np.sqrt(6 / count),
    )


def regress_counts(
    y: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    output: Literal["bernoulli", "poisson"],
    nonlinearity: Literal["logistic", "exponential"],
) -> FloatArray:
    r"""Least squares on binned counts, :math:`(B, I + 1)`, weights and bias: what the closed form becomes with spikes.

    Windows of k bins are taken together, 10 or as many as leave three windows for each coefficient. Their empirical
    drive is regressed on their mean input:

    .. math:: \log \frac{c + 1/2}{k - c + 1/2} \;\text{(logistic)}, \qquad
        \log \frac{c + 1/2}{k + 1/2} \;\text{or, for Bernoulli,}\; \log\log\frac{k + 1}{k - c + 1/2}

    Biased towards zero by the halves and, through the nonlinearity, by all that varies within a window; without a
    hidden input. Inputs that are independent from bin to bin lose a factor of k of what the spikes say about their
    weights: this is a baseline.

    Args:
        y: Counts :math:`(B, T)`.
        x: Observed inputs :math:`(B, I, T)`.
        output: Of the neurons.
        nonlinearity: f.

    Raises:
        InputError: if the shapes do not fit together.

    Source:
        The halves: Haldane 1956, Annals of Human Genetics 20:309; Anscombe 1956, Biometrika 43:461.
    """
    y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
    _check(y, x)
    width = max(1, min(WIDEST, y.shape[1] // (ENOUGH * (x.shape[1] + 1))))
    windows = y.shape[1] // width
    c = y[:, : windows * width].reshape(len(y), windows, width).sum(2)
    mean = x[..., : windows * width].reshape(*x.shape[:2], windows, width).mean(3)
    if nonlinearity == "logistic":
        drive = np.log((c + 0.5) / np.maximum(width - c + 0.5, 0.5))
    elif output == "bernoulli":
        drive = np.log(np.log((width + 1) / (width - c + 0.5)))
    else:
        drive = np.log((c + 0.5) / (width + 0.5))
    return _least_squares(drive, mean, np.ones_like(drive, bool))[0]


def _least_squares(
    drive: FloatArray, x: FloatArray, used: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients (B, I + 1), the diagonal of their (X'X)^-1 (inf: not determined) and residuals (B, T), unused 0."""
    ones = used.astype(np.float64)[:, None]
    full = np.concatenate((x * ones, ones), axis=1)
    gram = full @ full.swapaxes(1, 2)
    inverse = np.linalg.pinv(gram, rcond=1e-12, hermitian=True)
    coefficient = (inverse @ (full @ drive[..., None]))[..., 0]
    residual = (drive - np.einsum("bi,bit->bt", coefficient, full)) * used
    # one correction: the normal equations lose half the digits, their residual brings them back
    more = (inverse @ (full @ residual[..., None]))[..., 0]
    coefficient, residual = coefficient + more, (residual - np.einsum("bi,bit->bt", more, full)) * used
    share = np.einsum("bij,bji->bi", inverse, gram)
    return coefficient, np.where(share > IDENTIFIED, np.einsum("bii->bi", inverse), np.inf), residual


def _skewness(values: FloatArray, used: NDArray[np.bool_]) -> FloatArray:
    """Of each row's used values, (B,); 0 if they do not vary."""
    used = np.broadcast_to(used, values.shape)
    count = used.sum(1)
    apart = np.where(used, values - (np.where(used, values, 0.0).sum(1) / count)[:, None], 0.0)
    variance = np.square(apart).sum(1) / count
    third = (apart**3).sum(1) / count
    return np.divide(third, variance**1.5, out=np.zeros_like(third), where=variance > 0)


def _check(y: FloatArray, x: FloatArray) -> None:
    if y.ndim != 2 or x.ndim != 3 or (len(y), y.shape[1]) != (len(x), x.shape[2]):
        raise InputError(f"expected responses (B, T) and inputs (B, I, T), found shapes {y.shape} and {x.shape}")
