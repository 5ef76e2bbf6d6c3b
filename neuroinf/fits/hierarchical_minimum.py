"""Minima of sums of squares: Levenberg-Marquardt, and limited-memory BFGS from the same derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]
Residuals = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
Optimizer = Literal["levenberg-marquardt", "l-bfgs"]

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-12, 1e10


@dataclass(frozen=True)
class Minimum:
    """Attributes: z :math:`(P,)`; value, the sum of squares; evaluations of residuals; whether it had settled."""

    z: FloatArray
    value: float
    evaluations: int
    settled: bool


def least_squares(
    residuals: Residuals,
    start: FloatArray,
    low: FloatArray,
    high: FloatArray,
    optimizer: Optimizer,
    evaluations: int,
    tolerance: float,
    negligible: float,
) -> Minimum:
    """A local minimum of the sum of squared residuals within a box.

    Args:
        residuals: Of z: residuals :math:`(R,)` and derivatives :math:`(P, R)`.
        start: z :math:`(P,)`.
        low, high: Edges of the box :math:`(P,)`.
        optimizer: Levenberg-Marquardt uses the residuals' own derivatives, L-BFGS their sum's gradient alone.
        evaluations: Most evaluations.
        tolerance: Settled when the sum falls by less than this fraction of itself in a step.
        negligible: Settled when the sum is below.
    """
    start = np.clip(start, low, high)
    if optimizer == "l-bfgs":
        return _bfgs(residuals, start, low, high, evaluations, tolerance)
    z = start
    r, J = residuals(z)
    value, damping, count = float(r @ r), FIRST_DAMPING, 1
    curvature, slope = J @ J.T, J @ r
    while count < evaluations and value > negligible:
        # Marquardt's scaling, with a floor for what the residuals do not depend on at all
        diagonal = curvature.diagonal()
        if diagonal.max() == 0.0 or damping > MOST_DAMPING:
            return Minimum(z, value, count, True)
        scale = np.maximum(diagonal, 1e-12 * diagonal.max())
        try:
            step = -cho_solve(cho_factor(curvature + damping * np.diag(scale)), slope)
        except LinAlgError:
            damping = max(10.0 * damping, 1e-10)
            continue
        candidate = np.clip(z + step, low, high)
        moved = candidate - z
        expected = -(2.0 * slope @ moved + moved @ curvature @ moved)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            r, J = residuals(candidate)
            found, count = float(r @ r), count + 1
        if np.isfinite(found) and found < value:
            fell = (value - found) / value
            agreement = (value - found) / expected if expected > 0 else 0.0
            z, value, curvature, slope = candidate, found, J @ J.T, J @ r
            damping = max(damping * (0.1 if agreement > 0.75 else 1.0 if agreement > 0.25 else 4.0), LEAST_DAMPING)
            if fell < tolerance:
                return Minimum(z, value, count, True)
        elif 0 <= expected < tolerance * value:
            return Minimum(z, value, count, True)
        else:
            damping *= 8.0
    return Minimum(z, value, count, value <= negligible)


def _bfgs(
    residuals: Residuals, start: FloatArray, low: FloatArray, high: FloatArray, evaluations: int, tolerance: float
) -> Minimum:
    def value_and_gradient(z: FloatArray) -> tuple[float, FloatArray]:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            r, J = residuals(z)
        value = float(r @ r)
        return (value, 2.0 * (J @ r)) if np.isfinite(value) else (1e300, np.zeros_like(z))

    options = {"maxfun": evaluations, "maxiter": evaluations, "ftol": tolerance, "gtol": 0.0, "maxcor": 20}
    found = minimize(
        value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=np.stack((low, high), axis=1), options=options
    )
    return Minimum(np.asarray(found.x), float(found.fun), int(found.nfev), bool(found.success))
