r"""Signs that no data tell apart: scored as the symmetry they are, and how often they are told scored beside.

A hidden input's weight w and activity h enter as their product, so that (w, h) and (-w, -h) give the same response. A
posterior that puts half its mass on either is exact, and yet no interval or mean of w says anything about it. What is scored
is the fold :math:`|w|`, which the symmetry leaves alone, with the density

.. math:: q_{|w|}(a) = q_w(a) + q_w(-a), \qquad a \ge 0

Truth, estimates, samples and prior are folded together: ranks, coverage and densities of an exact posterior stay exact.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.evaluation.comparison import Comparison
from neuroinf.evaluation.estimates import Estimates, prior_mean
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators.protocol import SignSymmetric, Simulator

FloatArray = NDArray[np.float64]
# a probability of the true sign within these says that the sign is not known
UNDECIDED = (0.4, 0.6)
# what always saying one half scores
GUESSING = 0.25
# a posterior with less than this on one side of zero has one side
_SIDE = 0.05


@dataclass(frozen=True)
class SignSymmetry:
    """Parameters whose sign means nothing, and the fold that takes it away.

    Args:
        prior: Of all parameters, signs included.
        names: The parameters to be folded; each uniform on [-high, high].
    """

    prior: Prior
    names: tuple[str, ...]

    @staticmethod
    def of(simulator: Simulator | None, prior: Prior) -> SignSymmetry:
        """That of a simulator; none where the prior itself prefers a sign, which then can be known."""
        named = simulator.sign_symmetric if isinstance(simulator, SignSymmetric) else ()
        names = [name for name in prior.names if name in named]
        if type(prior) is not Prior:
            return SignSymmetry(prior, ())
        even = [prior.parameters[name].low == -prior.parameters[name].high for name in names]
        return SignSymmetry(prior, tuple(name for name, yes in zip(names, even, strict=True) if yes))

    @cached_property
    def columns(self) -> list[int]:
        """Columns of the parameters to be folded."""
        return [self.prior.names.index(name) for name in self.names]

    @cached_property
    def folded(self) -> Prior:
        """The prior of the folded parameters, `|name|` in place of `name`, on [0, high]."""
        if not self.names:
            return self.prior
        ranges: dict[str, Any] = {}
        for name, p in self.prior.parameters.items():
            ranges |= {f"|{name}|": Parameter(p.unit, 0.0, p.high)} if name in self.names else {name: p}
        return Prior(ranges)

    def published(self, name: str) -> str:
        """Under which name a parameter is scored."""
        return f"|{name}|" if name in self.names else name

    def fold(self, theta: FloatArray) -> FloatArray:
        """Parameters (..., P) without the signs."""
        if not self.names:
            return theta
        theta = theta.copy()
        theta[..., self.columns] = np.abs(theta[..., self.columns])
        return theta

    def reflections(self, theta: Tensor) -> Iterator[Tensor]:
        """The points (..., P) that are one after folding, theta itself first."""
        for signs in itertools.product((1.0, -1.0), repeat=len(self.names)):
            point = theta.clone()
            point[..., self.columns] *= torch.tensor(signs, dtype=theta.dtype)
            yield point

    def fold_estimates(self, estimates: Estimates) -> Estimates:
        """Answers without the signs; the mean of a fold is that of the folded samples, where there are any.

        Log-densities must be of the fold already: sums over :meth:`reflections`.
        """
        if not self.names:
            return estimates
        if estimates.method == "prior_mean":
            return prior_mean(self.folded, len(estimates.mean))
        mean, std = self.fold(estimates.mean), estimates.std
        samples = None if estimates.samples is None else self.fold(estimates.samples)
        if samples is not None:
            mean[:, self.columns] = samples[:, :, self.columns].mean(axis=1)
            std = samples.std(axis=1)
        return replace(estimates, mean=mean, samples=samples, std=std)

    def fold_comparison(self, comparison: Comparison) -> Comparison:
        """The same comparison without the signs."""
        if not self.names:
            return comparison
        estimates = {
            condition: {m: None if e is None else self.fold_estimates(e) for m, e in answers.items()}
            for condition, answers in comparison.estimates.items()
        }
        return Comparison(self.fold(comparison.truth), self.folded, comparison.conditions, estimates)

    def scores(self, truth: FloatArray, answers: Sequence[Estimates]) -> dict[str, dict[str, dict[str, float]]]:
        """The entry "symmetries" of metrics.json: for each name, by method with samples, :func:`sign_scores`.

        Args:
            truth: True parameters (n, P), signs included.
            answers: Not folded.
        """
        return {
            name: {e.method: sign_scores(truth[:, j], e.samples[:, :, j]) for e in answers if e.samples is not None}
            for name, j in zip(self.names, self.columns, strict=True)
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
