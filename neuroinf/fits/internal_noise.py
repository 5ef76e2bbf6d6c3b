"""The last published step: the factor on a threshold that makes the recorded spikes likeliest under internal noise."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]
SPIKE_BIN = 5.0  # ms, as published
OUTER_RESTARTS, INNER_RESTARTS, OUTER_SIGMA, INNER_SIGMA, TOLERANCE = 3, 3, 0.3, 0.01, 1e-5  # as published


def threshold_multiplier(
    distance_at: Callable[[float], FloatArray],
    spikes: FloatArray,
    steps: int,
    dt: float,
    scale: float,
    correlation_time: float,
    rng: np.random.Generator,
) -> float:
    r"""The factor on the threshold that makes the recorded spikes likeliest (published step 8).

    The model is made to spike when the neuron did; its voltage carries internal noise with a Laplace density of the
    given scale (published: sd / sqrt 2 of a subthreshold square). A bin of 5 ms that ends with a spike contributes
    :math:`\log P(\text{noise} > \min(\theta - V))`, each other bin, one autocorrelation time long, :math:`\log
    P(\text{noise} < \min(\theta - V))`. Nelder-Mead with 3 outer and 3 inner restarts.

    Args:
        distance_at: multiplier -> voltage above threshold :math:`(T,)` of the forced model, mV, nan during cuts.
        spikes: Recorded spikes, ms.
        steps: T.
        dt: ms.
        scale: mV.
        correlation_time: ms.
        rng: For the restarts.
    """
    spike_step = np.minimum(np.floor(spikes / dt + 1e-6).astype(int), steps - 1)
    first = np.maximum(spike_step - max(1, round(SPIKE_BIN / dt)) + 1, 0)
    near = np.zeros(steps + 1, int)
    np.add.at(near, first, 1)
    np.add.at(near, spike_step + 1, -1)
    far = np.cumsum(near[:-1]) == 0
    length = max(1, round(correlation_time / dt))
    bins = np.arange(0, steps, length)

    def objective(multiplier: NDArray[np.float64]) -> float:
        distance = distance_at(float(multiplier[0]))
        filled = np.where(np.isnan(distance), -np.inf, distance)
        silent = np.maximum.reduceat(np.where(far, filled, -np.inf), bins)
        spiking = np.array([filled[a : b + 1].max() for a, b in zip(first, spike_step, strict=True)])
        loss = (
            -_log_laplace(spiking[np.isfinite(spiking)] / scale).sum()
            - _log_laplace(-silent[np.isfinite(silent)] / scale).sum()
        )
        return float(loss)

    options = {"xatol": TOLERANCE, "fatol": TOLERANCE}
    best_x, best = np.ones(1), math.inf
    for _ in range(OUTER_RESTARTS):
        x = np.ones(1) * (1 + OUTER_SIGMA * rng.uniform(-1, 1))
        for _ in range(INNER_RESTARTS):
            found = minimize(
                objective, x * (1 + INNER_SIGMA * rng.uniform(-1, 1)), method="Nelder-Mead", options=options
            )
            x = found.x
            if found.fun < best:
                best_x, best = found.x, float(found.fun)
    return float(best_x[0])


def correlation_time(residual: FloatArray, dt: float) -> float:
    """Lag at which the autocorrelation first falls below 1/e, ms; at least one step."""
    centred = residual - residual.mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centred)]
    below = np.flatnonzero(correlation < correlation[0] / math.e)
    return float(below[0] if len(below) else len(centred)) * dt


def _log_laplace(x: FloatArray) -> FloatArray:
    """Log of the standard Laplace distribution function."""
    return np.where(x < 0, x - math.log(2), np.log1p(-0.5 * np.exp(-np.abs(x))))
