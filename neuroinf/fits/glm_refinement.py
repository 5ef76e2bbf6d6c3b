r"""From an answer nearby to the exact posterior of a GLM neuron's parameters, its hidden inputs integrated out.

.. math:: p(z \mid y) \propto \mathcal N(z; 0, I) \prod_t p\bigl(y_t \mid \theta(z)\bigr)

in the prior's unconstrained coordinates z, where the prior is standard normal. :func:`refine` climbs to the modes by
damped Newton steps from the start and from its mirror image (all hidden weights negated): for a symmetric law the two
are one answer, for a skewed one the likelihood chooses. Samples that do not rest on Laplace's approximation are
`glm_sampling`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.fits.glm_curvature import Data
from neuroinf.fits.glm_likelihood import AT_ONCE, GLMLikelihood
from neuroinf.priors import Prior

FloatArray = NDArray[np.float64]
STEPS = 60
LONGEST_STEP = 2.0  # in z, where the prior's sd is 1
SETTLED = 1e-8  # promised change of the log posterior
DAMPING = (1e-3, 1e-12, 1e8)  # first, least and most


@dataclass(frozen=True)
class Refined:
    """The posterior's modes of B neurons, from M starts each.

    Attributes:
        z: :math:`(B, M, P)`, unconstrained.
        covariance: :math:`(B, M, P, P)` in z, by the curvature there.
        log_posterior: At the modes, but for a constant, :math:`(B, M)`.
        settled: Whether Newton's steps came to an end, :math:`(B, M)`.
        seconds_per_neuron: Wall time over B.
    """

    z: FloatArray
    covariance: FloatArray
    log_posterior: FloatArray
    settled: NDArray[np.bool_]
    seconds_per_neuron: float

    @property
    def share(self) -> FloatArray:
        """Each mode's part of the posterior by Laplace's approximation, :math:`(B, M)`; one that two starts reached
        is counted twice."""
        log = self.log_posterior + 0.5 * np.linalg.slogdet(self.covariance)[1]
        share = np.exp(log - log.max(1, keepdims=True))
        return share / share.sum(1, keepdims=True)

    def best(self) -> FloatArray:
        """The higher mode of each neuron, :math:`(B, P)` in z."""
        return self.z[np.arange(len(self.z)), self.log_posterior.argmax(1)]

    def sample(self, number: int, rng: np.random.Generator) -> FloatArray:
        """Draws :math:`(B, S, P)` of z from the modes' Laplace approximations."""
        mode = choose(self.share, number, rng)
        each = np.arange(len(self.z))[:, None]
        e = rng.standard_normal((*mode.shape, self.z.shape[2]))
        return self.z[each, mode] + np.einsum("bspq,bsq->bsp", np.linalg.cholesky(self.covariance)[each, mode], e)


class Posterior:
    """What is known of B neurons: their data, and the prior of their parameters.

    Args:
        likelihood: Of all of them.
        prior: One that is standard normal in z.
        parameters: The simulator's, in its order, the hidden weights last.
        hidden: Number K of those.
        design: :math:`(B, D, T)`, see `glm_design.design`.
        y: :math:`(B, T)`; nan: not observed.

    Raises:
        InputError: if parameters and design do not fit together.
    """

    def __init__(
        self,
        likelihood: GLMLikelihood,
        prior: Prior,
        parameters: Sequence[str],
        hidden: int,
        design: NDArray[np.floating[Any]],
        y: NDArray[np.floating[Any]],
    ) -> None:
        if set(parameters) != set(prior.names) or len(parameters) != design.shape[1] + hidden:
            raise InputError(
                f"expected a prior over the simulator's {design.shape[1] + hidden} parameters {tuple(parameters)}, "
                f"found {prior.names}"
            )
        self.prior, self.hidden = prior, hidden
        self.order = [prior.names.index(name) for name in parameters]
        self.data = Data(likelihood, torch.from_numpy(np.asarray(design, np.float64)), double(y), hidden)

    def theta(self, z: Tensor) -> Tensor:
        """Natural units in the simulator's order, :math:`(..., P)`, from z in the prior's."""
        return self.prior.from_unconstrained(z)[..., self.order]

    def mirrored(self, z: Tensor) -> Tensor:
        """With all hidden weights negated, as far as the prior allows it."""
        theta = self.prior.from_unconstrained(z)
        theta[..., self.order[len(self.order) - self.hidden :]] *= -1
        return self.prior.to_unconstrained(theta)

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """:math:`(B, S)` of parameters :math:`(B, S, P)` in the prior's order, natural units."""
        at_once = max(1, AT_ONCE // max(1, self.data.y.numel()))
        return torch.cat([self.data.value(part[..., self.order]) for part in theta.split(at_once, dim=1)], dim=1)

    def expand(self, z: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        """Negative log posterior (R,), gradient (R, P) and Hessian (R, P, P) in z."""
        at = data.expand(self.theta(z))
        slope = torch.func.vmap(torch.func.jacfwd(self.theta))(z)
        bend = torch.func.vmap(torch.func.hessian(lambda z, g: self.theta(z) @ g))(z, at.gradient)
        gradient = (slope.mT @ at.gradient[..., None])[..., 0]
        hessian = slope.mT @ at.hessian @ slope + bend
        loss = 0.5 * z.square().sum(1) - at.value
        return loss, z - gradient, torch.eye(z.shape[1], dtype=z.dtype) - hessian


def refine(posterior: Posterior, start: NDArray[np.floating[Any]], mirror: bool = True) -> Refined:
    """The modes near given starts.

    Args:
        posterior: Of B neurons.
        start: :math:`(B, M, P)`, natural units, in the prior's order.
        mirror: Whether each start's mirror image is one too; M doubles.

    Raises:
        InputError: if there is not a finite start for each neuron.
    """
    begin = time.perf_counter()
    b = len(posterior.data.y)
    if start.ndim != 3 or (len(start), start.shape[2]) != (b, len(posterior.order)) or not np.isfinite(start).all():
        raise InputError(f"expected finite starts ({b}, M, {len(posterior.order)}), found shape {start.shape}")
    z = posterior.prior.to_unconstrained(double(start))
    if mirror and posterior.hidden:
        z = torch.cat((z, posterior.mirrored(z)), dim=1)
    m = z.shape[1]
    # a start in a corner of the box would take many steps to leave it, and hidden weights of 0 none at all
    z = z.clamp(-3.0, 3.0).flatten(0, 1)
    neuron = torch.arange(b).repeat_interleave(m)
    loss, hessian, settled = _descend(posterior, z, neuron)
    covariance = torch.linalg.inv(_positive(hessian))
    covariance = 0.5 * (covariance + covariance.mT)
    return Refined(
        z.view(b, m, -1).numpy(),
        covariance.view(b, m, *covariance.shape[1:]).numpy(),
        -loss.view(b, m).numpy(),
        settled.view(b, m).numpy(),
        (time.perf_counter() - begin) / max(b, 1),
    )


def _descend(posterior: Posterior, z: Tensor, neuron: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Damped Newton steps of every row of z (R, P), which is changed; its loss, Hessian and whether it settled."""
    loss, gradient, hessian = posterior.expand(z, posterior.data.rows(neuron))
    damping = torch.full_like(loss, DAMPING[0])
    settled = torch.zeros_like(loss, dtype=torch.bool)
    for _ in range(STEPS):
        moving = (~settled & (damping < DAMPING[2])).nonzero()[:, 0]
        if not len(moving):
            break
        bent = _positive(hessian[moving])
        scale = torch.diagonal(bent, dim1=1, dim2=2) * damping[moving, None]
        step = -torch.linalg.solve(bent + torch.diag_embed(scale), gradient[moving])
        promised = -(step * gradient[moving]).sum(1)
        step *= (LONGEST_STEP / step.norm(dim=1, keepdim=True)).clamp(max=1.0)
        trial = z[moving] + step
        found = posterior.expand(trial, posterior.data.rows(neuron[moving]))
        # rounding of the sums decides about the last digits: a step that promises nothing need not keep it
        better = found[0] <= loss[moving]
        settled[moving] = promised < SETTLED * (1 + loss[moving].abs() * 1e-3)
        damping[moving] = torch.where(better, damping[moving] / 10, damping[moving] * 10).clamp(min=DAMPING[1])
        kept = moving[better]
        z[kept], loss[kept], gradient[kept], hessian[kept] = trial[better], *(part[better] for part in found)
    return loss, hessian, settled


def _positive(hessian: Tensor) -> Tensor:
    """The same with its eigenvalues' signs dropped, at least that of a posterior as wide as ten priors."""
    values, vectors = torch.linalg.eigh(0.5 * (hessian + hessian.mT))
    return (vectors * values.abs().clamp(min=0.01)[:, None]) @ vectors.mT


def choose(share: FloatArray, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Modes (B, S), drawn with these probabilities (B, M)."""
    return (rng.random((len(share), number, 1)) > np.cumsum(share, axis=1)[:, None, :-1]).sum(2)


def double(values: NDArray[np.floating[Any]]) -> Tensor:
    """As a tensor, float64."""
    return torch.from_numpy(np.asarray(values, np.float64))
