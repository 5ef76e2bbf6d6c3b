"""Signs that no data tell apart: scored as the symmetry they are, and how often they are told scored beside.

A posterior that puts half its mass on either sign of a hidden weight is exact, and yet no interval or mean of the weight says
anything about it. What is scored is the fold of :mod:`neuroinf.symmetry`. Truth, estimates, samples and prior are folded
together: ranks, coverage and densities of an exact posterior stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.comparison import Comparison
from neuroinf.evaluation.estimates import Estimates, prior_mean
from neuroinf.symmetry import SignSymmetry

FloatArray = NDArray[np.float64]
# a probability of the true sign within these says that the sign is not known
UNDECIDED = (0.4, 0.6)
# what always saying one half scores
GUESSING = 0.25
# a posterior with less than this on one side of zero has one side
_SIDE = 0.05


def fold_estimates(symmetry: SignSymmetry, estimates: Estimates) -> Estimates:
    """Answers without the signs; the mean of a fold is that of the folded samples, where there are any.

    Log-densities must be of the fold already: sums over :meth:`SignSymmetry.reflections`.
    """
    if not symmetry.names:
        return estimates
    if estimates.method == "prior_mean":
        return prior_mean(symmetry.folded, len(estimates.mean))
    mean, std, columns = symmetry.fold(estimates.mean), estimates.std, symmetry.columns
    samples = None if estimates.samples is None else symmetry.fold(estimates.samples)
    if samples is not None:
        mean[:, columns] = samples[:, :, columns].mean(axis=1)
        std = samples.std(axis=1)
    return replace(estimates, mean=mean, samples=samples, std=std)


def fold_comparison(symmetry: SignSymmetry, comparison: Comparison) -> Comparison:
    """The same comparison without the signs."""
    if not symmetry.names:
        return comparison
    estimates = {
        condition: {m: None if e is None else fold_estimates(symmetry, e) for m, e in answers.items()}
        for condition, answers in comparison.estimates.items()
    }
    return Comparison(symmetry.fold(comparison.truth), symmetry.folded, comparison.conditions, estimates)


def symmetry_scores(
    symmetry: SignSymmetry, truth: FloatArray, answers: Sequence[Estimates]
) -> dict[str, dict[str, dict[str, float]]]:
    """The entry "symmetries" of metrics.json: for each name, by method with samples, :func:`sign_scores`.

    Args:
        symmetry: Which signs.
        truth: True parameters (n, P), signs included.
        answers: Not folded.
    """
    return {
        name: {e.method: sign_scores(truth[:, j], e.samples[:, :, j]) for e in answers if e.samples is not None}
        for name, j in zip(symmetry.names, symmetry.columns, strict=True)
    }


def sign_scores(truth: FloatArray, samples: FloatArray) -> dict[str, float]:
    """What a posterior knows of one parameter's sign.

    Args:
        truth: (n,).
        samples: (n, S); rows with a nan are left out.

    Returns:
        `probability`, the mean probability given to the true sign; `right`, the fraction of neurons where it is above
        1/2; `undecided`, where it is from 0.4 to 0.6; `brier`, the mean squared distance from 1, beside
        `brier_of_guessing`, 1/4; `bimodal`, the fraction of neurons of :func:`bimodal`; `n`, the neurons.
    """
    known = np.isfinite(samples).all(axis=1) & np.isfinite(truth)
    if not known.any():
        keys = ("probability", "right", "undecided", "brier", "brier_of_guessing", "bimodal")
        return dict.fromkeys(keys, math.nan) | {"n": 0}
    truth, samples = truth[known], samples[known]
    p = (np.sign(samples) == np.sign(truth)[:, None]).mean(axis=1)
    return {
        "probability": float(p.mean()),
        "right": float((p > 0.5).mean()),
        "undecided": float(((p >= UNDECIDED[0]) & (p <= UNDECIDED[1])).mean()),
        "brier": float(((1 - p) ** 2).mean()),
        "brier_of_guessing": GUESSING,
        "bimodal": float(bimodal(samples).mean()),
        "n": len(p),
    }


def bimodal(samples: FloatArray) -> NDArray[np.bool_]:
    """Whether each posterior has a mode on either side of zero: at zero less than half the density of the lower one.

    The density is a kernel's with the width of one mode (Silverman's rule on the folded samples), seen at zero and at the
    median of each side; a side needs 5 % of the samples. A normal or a uniform around zero has one mode; a mixture of two
    normals at +-m of standard deviation s has two from m = 1.7 s on.

    Args:
        samples: (n, S).

    Returns:
        (n,).
    """
    s = samples.shape[1]
    width = 1.06 * np.abs(samples).std(axis=1) * s**-0.2
    width = np.where(width > 0, width, 1e-300)[:, None]
    right, left = samples > 0, samples < 0
    two_sided = np.minimum(right.mean(axis=1), left.mean(axis=1)) >= _SIDE

    def density(at: FloatArray) -> FloatArray:
        return np.exp(-0.5 * np.square((samples - at[:, None]) / width)).mean(axis=1)

    found = np.zeros(len(samples), bool)
    rows = np.flatnonzero(two_sided)
    if len(rows):
        samples, width = samples[rows], width[rows]
        sides = [np.nanmedian(np.where(side[rows], samples, math.nan), axis=1) for side in (left, right)]
        lower = np.minimum(*(density(at) for at in sides))
        found[rows] = density(np.zeros(len(rows))) < 0.5 * lower
    return found
