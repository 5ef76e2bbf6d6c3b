r"""What correlation between observed and hidden inputs does to the weights: bias and width, beside the regression's.

A regression on the observed inputs takes for theirs what the hidden one does through its correlation with them,

.. math:: \mathrm E[\hat w - w] = g\, w_h, \qquad g = \Sigma_{oo}^{-1} \Sigma_{oh}

whatever the number of samples. The bias of any method is therefore read off as the slope of its errors on the hidden weight,

.. math:: \hat g_j = \frac{\sum_i (\hat w_{ij} - w_{ij})\, w_{h,i}}{\sum_i w_{h,i}^2}

over neurons i, in which errors that have nothing to do with the hidden input average out. A posterior that knows the inputs'
law, but not the sign of the hidden input, has the regression's mean, between two modes; its samples are taken as if somebody
had told the sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.calibration import coverage
from neuroinf.evaluation.estimates import Estimates

FloatArray = NDArray[np.float64]


def bias_slope(error: FloatArray, hidden_weight: FloatArray) -> FloatArray:
    """The slope (I,) of errors (n, I) of the weights on the hidden weight (n,); rows with a nan are left out."""
    known = np.isfinite(error).all(axis=1)
    w = hidden_weight[known]
    return (error[known] * w[:, None]).sum(axis=0) / (w**2).sum() if known.any() else np.full(error.shape[1], math.nan)


def given_sign(samples: FloatArray, hidden: int, truth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and sd (n, P) of each posterior's samples (n, S, P) with the true sign (n,) of column `hidden`.

    nan for a neuron with fewer than two of them.
    """
    right = np.sign(samples[:, :, hidden]) == np.sign(truth)[:, None]
    count = right.sum(axis=1)[:, None]
    chosen = np.where(right[:, :, None], samples, 0.0)
    divisor = np.where(count > 1, count, math.nan)
    mean = chosen.sum(axis=1) / divisor
    apart = np.where(right[:, :, None], samples - mean[:, None], 0.0)
    return mean, np.sqrt((apart**2).sum(axis=1) / (divisor - 1))


def confounding(
    truth: FloatArray, answers: Sequence[Estimates], weights: Sequence[int], hidden: int, correlation: float
) -> dict[str, Any]:
    """The entry "confounding" of metrics.json.

    Args:
        truth: True parameters (n, P), signs included.
        answers: Not folded.
        weights: Columns of the observed inputs' weights.
        hidden: Column of the hidden weight.
        correlation: Mean correlation of two inputs, the hidden one included.

    Returns:
        `input_correlation`; and by method `bias`, the norm of :func:`bias_slope` times the root mean square of w_h over that of
        the weights' norm; `bias_over_fit`, relative to that of `per_neuron_fit`; `width`, the mean posterior sd of a weight
        given the true sign; `coverage_90` of the weights, mean; `n`, the neurons.
    """
    columns = list(weights)
    w, w_h = truth[:, columns], truth[:, hidden]
    scale = math.sqrt(np.mean(w_h**2) / np.mean((w**2).sum(axis=1)))
    entries: dict[str, dict[str, float]] = {}
    for answer in answers:
        mean, width, covered = answer.mean[:, columns], math.nan, math.nan
        if answer.samples is not None:
            means, spreads = given_sign(answer.samples, hidden, w_h)
            mean, width = means[:, columns], float(np.nanmean(spreads[:, columns]))
            covered = float(coverage(w, answer.samples[:, :, columns]).mean())
        bias = scale * float(np.linalg.norm(bias_slope(mean - w, w_h)))
        n = int(np.isfinite(mean).all(axis=1).sum())
        entries[answer.method] = {"bias": bias, "width": width, "coverage_90": covered, "n": n}
    reference = entries.get("per_neuron_fit", {}).get("bias", math.nan)
    for entry in entries.values():
        entry["bias_over_fit"] = entry["bias"] / reference if reference > 0 else math.nan
    return {"input_correlation": correlation, "methods": entries}
