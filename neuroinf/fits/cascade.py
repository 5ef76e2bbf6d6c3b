"""Fits of cascade neurons: least squares with a prior, by Levenberg and Marquardt's steps from several starts at once.

Many residuals and few parameters: a step costs two simulations per parameter, and a few lengths of it are tried together.
Nothing moves uphill, so that no answer has a larger loss than its start. `benchmarks/prc_fits.py` measures it beside
gradient descent through the twin.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.fits.cascade_posterior import SMOOTH_STEP, CascadePosterior
from neuroinf.fits.glm_refinement import Refined
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
STEPS = 40
LONGEST_STEP = 2.0  # in z, where the prior's sd is 1
SETTLED = 1e-3  # promised change of the log posterior
LENGTHS = np.array([1e-2, 1.0, 1e2, 1e4])  # of the damping, tried together
DAMPING = (1e-2, 1e-9, 1e9)  # first, least and most
JUMPY_STEP = (1e-3, 0.1)  # in z, least and most of a difference where the model jumps
OF_SD = 0.5  # such a difference as a fraction of the posterior's sd
CANDIDATES = 256  # prior draws of which the starts are chosen
STARTS = 4
STARTS_WITH_JUMPS = 8  # a spike that comes too early or too late is a minimum of its own
FOLLOWED = 2  # of a network's draws and their centre
EDGE = 3.0  # z of a start: in a corner of the box nothing has a gradient


def fit(
    posterior: CascadePosterior, rng: np.random.Generator, starts: int | None = None, candidates: int = CANDIDATES
) -> Refined:
    """The modes found from the likeliest of some prior draws.

    Args:
        posterior: Of B neurons.
        rng: For the draws.
        starts: Number M of modes sought; None: 4 of a smooth model, 8 of one that jumps.
        candidates: Number of draws.
    """
    b, starts = len(posterior.y), starts or (STARTS if posterior.smooth else STARTS_WITH_JUMPS)
    drawn = posterior.prior.sample(b * candidates, rng).reshape(b, candidates, -1)
    return refine(posterior, likeliest(posterior, drawn, starts))


def refine_draws(posterior: CascadePosterior, draws: NDArray[np.floating[Any]], followed: int = FOLLOWED) -> Refined:
    """The modes near the likeliest of a network's draws (B, D, P), natural units, and of their mean in z.

    A spike that comes too early or too late has no gradient to its right time: among draws there is one that has it.
    """
    centre = posterior.prior.to_unconstrained(torch.from_numpy(np.asarray(draws, np.float64))).mean(1, keepdim=True)
    centre = posterior.prior.from_unconstrained(centre).numpy()
    return refine(posterior, likeliest(posterior, np.concatenate((centre, draws), axis=1), followed))


def likeliest(posterior: CascadePosterior, theta: NDArray[np.floating[Any]], most: int) -> FloatArray:
    """Of points (B, D, P), natural units, the `most` of the highest posterior density in z (B, M, P)."""
    z = unconstrained(posterior.prior, theta)
    neuron = np.repeat(np.arange(len(z)), z.shape[1])
    loss = posterior.loss(z.reshape(-1, z.shape[2]), neuron).reshape(z.shape[:2])
    best = np.argsort(loss, axis=1)[:, :most]
    return np.take_along_axis(np.asarray(theta, np.float64), best[..., None], axis=1)


def refine(posterior: CascadePosterior, start: NDArray[np.floating[Any]], steps: int = STEPS) -> Refined:
    """The modes near given starts.

    Args:
        posterior: Of B neurons.
        start: :math:`(B, M, P)`, natural units, in the prior's order.
        steps: At most so many.
    """
    begin = time.perf_counter()
    b, m, p = start.shape
    z = unconstrained(posterior.prior, start).reshape(-1, p)
    neuron = np.repeat(np.arange(b), m)
    loss, settled = posterior.loss(z, neuron), np.zeros(len(z), bool)
    curvature = np.broadcast_to(np.eye(p), (len(z), p, p)).copy()
    damping, width = np.full(len(z), DAMPING[0]), _widths(posterior, None, z.shape)
    for _ in range(steps):
        active = np.flatnonzero(~settled & (damping < DAMPING[2]) & np.isfinite(loss))
        if not len(active):
            break
        at = posterior.expand(z[active], neuron[active], width[active])
        curvature[active] = at.curvature
        width[active] = _widths(posterior, at.curvature, (len(active), p))
        scale = damping[active, None] * LENGTHS
        diagonal = np.diagonal(at.curvature, axis1=1, axis2=2)
        bent = at.curvature[:, None] + scale[..., None, None] * (diagonal[:, None, :, None] * np.eye(p))
        step = -np.linalg.solve(bent, np.broadcast_to(at.gradient[:, None, :, None], (*scale.shape, p, 1)))[..., 0]
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.linalg.norm(step, axis=2, keepdims=True), 1e-300))
        trial = z[active, None] + step
        found = posterior.loss(trial.reshape(-1, p), np.repeat(neuron[active], len(LENGTHS))).reshape(scale.shape)
        best = found.argmin(1)
        row = np.arange(len(active))
        lowest, better = found[row, best], found[row, best] < loss[active]
        promised = np.einsum("rp,rp->r", at.gradient, np.linalg.solve(at.curvature, at.gradient[..., None])[..., 0]) / 2
        gained = np.where(better, loss[active] - lowest, 0.0)
        damping[active] = np.where(better, scale[row, best], damping[active] * 1e3).clip(min=DAMPING[1])
        z[active[better]], loss[active[better]] = trial[row, best][better], lowest[better]
        settled[active] = (promised < SETTLED) | (better & (gained < SETTLED) & (best == 0))
    covariance = np.linalg.inv(curvature)
    covariance = 0.5 * (covariance + covariance.transpose(0, 2, 1))
    shape = (b, m)
    return Refined(
        z.reshape(*shape, p),
        covariance.reshape(*shape, p, p),
        -loss.reshape(shape),
        settled.reshape(shape),
        (time.perf_counter() - begin) / max(b, 1),
    )


def _widths(posterior: CascadePosterior, curvature: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    """Of differences in z: of a model that jumps, about as wide as the posterior, which is what a jump is felt over."""
    if posterior.smooth:
        return np.full(shape, SMOOTH_STEP)
    if curvature is None:
        return np.full(shape, JUMPY_STEP[1])
    sd = np.sqrt(np.diagonal(np.linalg.inv(curvature), axis1=1, axis2=2))
    return np.clip(OF_SD * sd, *JUMPY_STEP)


def unconstrained(prior: Prior, theta: NDArray[np.floating[Any]]) -> FloatArray:
    """z of a start (..., P) in natural units, away from the prior's edges."""
    z = prior.to_unconstrained(torch.from_numpy(np.asarray(theta, np.float64))).numpy()
    return np.clip(z, -EDGE, EDGE)
