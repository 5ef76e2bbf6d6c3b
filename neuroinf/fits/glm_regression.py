r"""Maximum-likelihood GLM of one neuron at a time, by statsmodels: without the hidden input, or given it (an oracle).

statsmodels and not NeMoS: a neuron's spikes are one regression of a few dozen coefficients, for which iteratively
reweighted least squares are exact in a handful of steps; statsmodels has them for every pair of output and nonlinearity used here,
with standard errors, offsets and an over-dispersed (negative binomial) family to compare with, on numpy alone. NeMoS
would bring JAX as a second array library beside torch, and a solver by gradient steps, to give the same maximum.

Source:
    Seabold & Perktold 2010, Statsmodels: econometric and statistical modeling with Python, Proc. 9th Python in Science
    Conference.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from statsmodels.genmod.families.links import CLogLog, Logit
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]
STEPS = 50
LARGEST = 20.0  # of a coefficient times its input's sd: beyond, the counts are separated and the maximum is at infinity


@dataclass(frozen=True)
class GLMRegression:
    """Fits of B neurons.

    Attributes:
        coefficients: In the design's order, and with the hidden input its weights last, :math:`(B, D)` or
            :math:`(B, D + K)`; nan where there is no finite maximum.
        covariance: Of them, by the expected information, :math:`(B, D, D)`.
        log_likelihood: At the maximum, natural logarithm, :math:`(B,)`.
        converged: Whether the steps came to an end at a finite maximum, :math:`(B,)`.
        seconds_per_neuron: Wall time over B.
    """

    coefficients: FloatArray
    covariance: FloatArray
    log_likelihood: FloatArray
    converged: NDArray[np.bool_]
    seconds_per_neuron: float

    @property
    def standard_errors(self) -> FloatArray:
        """Of the coefficients."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))


def fit(
    y: NDArray[np.floating[Any]],
    design: NDArray[np.floating[Any]],
    output: Literal["bernoulli", "poisson"],
    nonlinearity: Literal["logistic", "exponential"],
    hidden: NDArray[np.floating[Any]] | None = None,
) -> GLMRegression:
    """Fits each neuron by itself.

    Args:
        y: Counts :math:`(B, T)`; nan: not observed.
        design: :math:`(B, D, T)`, with its column of ones, see `glm_design.design`.
        output: Of the neurons.
        nonlinearity: f.
        hidden: The hidden inputs :math:`(B, K, T)`, for a fit that is told what nobody knows; None: without them.

    Raises:
        InputError: if the shapes do not fit together.
    """
    begin = time.perf_counter()
    if y.ndim != 2 or design.ndim != 3 or (len(design), design.shape[2]) != y.shape:
        raise InputError(f"expected counts (B, T) and designs (B, D, T), found shapes {y.shape} and {design.shape}")
    columns = np.asarray(design, np.float64)
    if hidden is not None:
        if hidden.ndim != 3 or (len(hidden), hidden.shape[2]) != y.shape:
            raise InputError(f"expected hidden inputs (B, K, T) of counts {y.shape}, found shape {hidden.shape}")
        columns = np.concatenate((columns, np.asarray(hidden, np.float64)), axis=1)
    b, d, _ = columns.shape
    coefficients, covariance = np.full((b, d), np.nan), np.full((b, d, d), np.nan)
    log_likelihood, converged = np.full(b, np.nan), np.zeros(b, bool)
    for i in range(b):
        used = np.isfinite(y[i])
        found = _fit_one(np.asarray(y[i, used], np.float64), columns[i][:, used].T, _family(output, nonlinearity))
        if found is not None:
            coefficients[i], covariance[i], log_likelihood[i] = found.params, found.cov_params(), found.llf
            converged[i] = True
    return GLMRegression(coefficients, covariance, log_likelihood, converged, (time.perf_counter() - begin) / max(b, 1))


def _fit_one(y: FloatArray, x: FloatArray, family: Any) -> Any | None:
    """statsmodels' result; None without a finite maximum."""
    if not y.any():
        return None  # the likeliest rate of a silent neuron is 0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # a link that is not the family's own, rates at its edge, and separation, which is looked for below
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", PerfectSeparationWarning)
        try:
            # from a rate of one half: the default, half way to the counts, may lie beyond a logistic rate
            start = np.zeros(x.shape[1]) if isinstance(family.link, Logit) else None
            found = sm.GLM(y, x, family=family).fit(start_params=start, maxiter=STEPS, tol=1e-10)
        except (PerfectSeparationError, PerfectSeparationWarning, np.linalg.LinAlgError, ValueError):
            return None
    spread = np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1.0)
    finite = np.isfinite(found.params).all() and (np.abs(found.params) * spread).max() < LARGEST
    return found if found.converged and finite else None


def _family(output: str, nonlinearity: str) -> Any:
    """The distribution with f as inverse link; 1 - exp(-exp(eta)) is the complementary log-log."""
    if output == "bernoulli":
        return sm.families.Binomial(Logit() if nonlinearity == "logistic" else CLogLog())
    return sm.families.Poisson(Logit(), check_link=False) if nonlinearity == "logistic" else sm.families.Poisson()
