"""Fits of cascade neurons by the gradient of the loss through the twin: quasi-Newton steps, many neurons and starts at once.

`fits/cascade.py` needs the derivative of every sample in every parameter, two simulations each; here a loss and all its
derivatives take one simulation forth and back, and the curvature is learnt on the way (Broyden, Fletcher, Goldfarb, Shanno).
Nothing moves uphill. Where the model is smooth both are as good. At a spike the derivative is the twin's surrogate, which does not
say how the error changes when the spike moves, and most descents end early: `benchmarks/prc_fits.py` measures both.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.fits.cascade import CANDIDATES, STARTS, likeliest, unconstrained
from neuroinf.fits.cascade_posterior import CascadePosterior
from neuroinf.simulators.cascade_twin import CascadeTwin

FloatArray = NDArray[np.float64]
STEPS = 200  # losses with their gradients
FIRST_STEP = 0.1  # in z, where the prior's sd is 1
LONGEST_STEP = 2.0
SHORTEST = 1e-6  # fraction of a step, below which the direction is given up
SUFFICIENT = 1e-4  # part of the decrease that the slope promises
SETTLED = 1e-3  # promised decrease of the log posterior
AT_ONCE = 2**24  # samples whose way back is kept


def fit(
    posterior: CascadePosterior,
    rng: np.random.Generator,
    starts: int = STARTS,
    candidates: int = CANDIDATES,
    steps: int = STEPS,
) -> FloatArray:
    """The lowest points (B, P), z, that the likeliest of some prior draws lead to.

    Args:
        posterior: Of B neurons.
        rng: For the draws.
        starts: Number of descents of each neuron.
        candidates: Number of draws.
        steps: As for :func:`descend`.
    """
    b = len(posterior.y)
    drawn = posterior.prior.sample(b * candidates, rng).reshape(b, candidates, -1)
    z, loss = descend(posterior, likeliest(posterior, drawn, starts), steps)
    return z[np.arange(b), loss.argmin(1)]


def descend(posterior: CascadePosterior, start: FloatArray, steps: int = STEPS) -> tuple[FloatArray, FloatArray]:
    """Where the gradient leads, z (B, M, P), and the loss there (B, M).

    Args:
        posterior: Of B neurons.
        start: :math:`(B, M, P)`, natural units, in the prior's order.
        steps: So many losses and gradients at most.
    """
    b, m, p = start.shape
    z = unconstrained(posterior.prior, start).reshape(-1, p)
    neuron = np.repeat(np.arange(b), m)
    loss, gradient = loss_and_gradient(posterior, z, neuron)
    inverse = _scaled(gradient)
    length, fresh = np.ones(len(z)), np.ones(len(z), bool)
    moving = np.isfinite(loss)
    for _ in range(steps - 1):
        row = np.flatnonzero(moving)
        if not len(row):
            break
        step = -np.einsum("rpq,rq->rp", inverse[row], gradient[row])
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-300))
        slope = np.einsum("rp,rp->r", gradient[row], step)
        move = length[row, None] * step
        new, after = loss_and_gradient(posterior, z[row] + move, neuron[row])
        better = new <= loss[row] + SUFFICIENT * length[row] * slope
        _learn(inverse, fresh, row[better], move[better], (after - gradient[row])[better])
        z[row[better]] += move[better]
        settled = better & ((loss[row] - new < SETTLED) | (-slope < SETTLED)) & ~fresh[row]
        loss[row[better]], gradient[row[better]] = new[better], after[better]
        # the lowest point of the parabola through both losses and the slope, at least a tenth and at most half as far
        bend = np.where(np.isfinite(new), new - loss[row] - length[row] * slope, np.inf)
        shorter = np.clip(-0.5 * length[row] * slope / np.maximum(bend, 1e-300), 0.1, 0.5)
        length[row] = np.where(better, 1.0, length[row] * shorter)
        lost = length[row] < SHORTEST
        again = row[lost & ~fresh[row]]
        inverse[again], length[again], fresh[again] = _scaled(gradient[again]), 1.0, True
        moving[row] = ~settled & (length[row] >= SHORTEST)
    return z.reshape(b, m, p), loss.reshape(b, m)


def loss_and_gradient(
    posterior: CascadePosterior, z: FloatArray, neuron: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """The negative log posterior (R,) of points z (R, P), and its derivatives (R, P) through the twin.

    Inf and 0 where the model diverges.
    """
    sweeps, channels, samples = posterior.y.shape[1:]
    at_once = max(1, AT_ONCE // (sweeps * posterior.stimulus.shape[-1]))
    parts = np.split(np.arange(len(z)), range(at_once, len(z), at_once))
    twin, every = CascadeTwin(posterior.simulator), posterior.every
    losses, gradients = np.empty(len(z)), np.empty_like(z)
    for part in parts:
        who = neuron[part]
        at = torch.tensor(z[part], requires_grad=True)
        theta = posterior.prior.from_unconstrained(at)[:, posterior.order].repeat_interleave(sweeps, 0)
        stimulus = torch.from_numpy(posterior.stimulus[who]).flatten(0, 1)
        response = twin.response(theta, stimulus, posterior.dt)
        lines = torch.stack([response[name][:, every - 1 :: every] for name in posterior.simulator.record], dim=1)
        residual = torch.from_numpy(posterior.y[who]) - lines.reshape(len(part), sweeps, channels, samples)
        squares = (residual * torch.from_numpy(posterior.seen[who])).square().sum(dim=(1, 3))
        count = torch.from_numpy(posterior.count[who].astype(np.float64))
        mean = squares / count.clamp(min=1.0) + torch.from_numpy(posterior.floor[who])
        loss = (0.5 * count * mean.log()).sum(1) + 0.5 * at.square().sum(1)
        (slope,) = torch.autograd.grad(loss.sum(), at)
        losses[part], gradients[part] = loss.detach().numpy(), slope.numpy()
    wrong = ~(np.isfinite(losses) & np.isfinite(gradients).all(1))
    return np.where(wrong, np.inf, losses), np.where(wrong[:, None], 0.0, gradients)


def _scaled(gradient: FloatArray) -> FloatArray:
    """Inverse curvatures (R, P, P) with which a first step is 0.1 long."""
    norm = np.linalg.norm(gradient, axis=1)
    return FIRST_STEP / np.maximum(norm, FIRST_STEP)[:, None, None] * np.eye(gradient.shape[1])


def _learn(
    inverse: FloatArray, fresh: NDArray[np.bool_], row: NDArray[np.int64], move: FloatArray, change: FloatArray
) -> None:
    """What a step and the gradient's change say of the inverse curvature of some rows, in place; nothing where it is negative."""
    bend = np.einsum("rp,rp->r", move, change)
    curved = bend > 1e-10 * np.linalg.norm(move, axis=1) * np.linalg.norm(change, axis=1)
    row, s, y, bend = row[curved], move[curved], change[curved], bend[curved]
    first, eye = fresh[row], np.eye(move.shape[1])
    inverse[row[first]] = (bend / np.square(y).sum(1))[first, None, None] * eye
    left = eye - s[:, :, None] * y[:, None, :] / bend[:, None, None]
    inverse[row] = left @ inverse[row] @ left.transpose(0, 2, 1) + s[:, :, None] * s[:, None, :] / bend[:, None, None]
    fresh[row] = False
