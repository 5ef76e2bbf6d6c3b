r"""The read-out from latents to neurons, and the evidence on the latents that follows from it for any set of observed neurons.

With :math:`m_{tk}` 1 where an entry is observed, a trace's evidence is that of the Gaussian read-out, and exact:

.. math::
    x_{tk} \sim N(b_k + c_k \cdot z_t,\, r_k), \qquad
    h_t = \sum_k m_{tk} \frac{x_{tk} - b_k}{r_k} c_k, \qquad J_t = \sum_k \frac{m_{tk}}{r_k} c_k c_k^T, \qquad
    \bar z_t = (I + J_t)^{-1} h_t

Counts are :math:`x_{tk} \sim \mathrm{Poisson}(\exp(b_k + c_k \cdot z_t))`, for which Newton steps give the mode, and the
curvature there. What an encoder reads of a population is this evidence: a neuron that is not observed is simply absent from the
sums, and no input is tied to one neuron.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["counts", "trace"]

# after a first one, from the counts themselves; none changes a log rate by more than so much
NEWTON_STEPS, LONGEST_STEP = 2, 1.0
# log rates beyond these do not occur; the lower one keeps the curvature positive
LOG_RATES = (-12.0, 8.0)
# of more latents than this the bin's own precision matrix is approximated by that of all neurons, times a number
EXACT = 16


class PopulationReadout(nn.Module):
    """Loadings C (K, D), offsets b (K,) and noise r (K,) of one population.

    Traces are given to it and come from it in units of their own: each neuron's mean and standard deviation are buffers.

    Args:
        neurons: K.
        factors: D.
        kind: counts or trace.
    """

    mean: Tensor
    scale: Tensor
    rate_loadings: Tensor
    rate_offset: Tensor
    rate_limit: Tensor

    def __init__(self, neurons: int, factors: int, kind: Kind) -> None:
        super().__init__()
        self.neurons, self.factors, self.kind = neurons, factors, kind
        self.loadings = nn.Parameter(torch.zeros(neurons, factors))
        self.offset = nn.Parameter(torch.zeros(neurons))
        if kind == "trace":
            self.log_noise = nn.Parameter(torch.zeros(neurons))
        # of each neuron's activity; of counts the scale is 1
        self.register_buffer("mean", torch.zeros(neurons))
        self.register_buffer("scale", torch.ones(neurons))
        if kind == "counts":
            self.register_buffer("rate_loadings", torch.zeros(neurons, factors))
            self.register_buffer("rate_offset", torch.zeros(neurons))
            self.register_buffer("rate_limit", torch.full((neurons,), LOG_RATES[1]))

    def normalised(self, x: Tensor) -> Tensor:
        """Traces as standard scores; counts as they are."""
        return (x - self.mean) / self.scale if self.kind == "trace" else x

    def evidence(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Static posterior mean (B, T, D) of the latents, and the share (B, T, D), in [0, 1), of each one's prior precision that
        the evidence adds, of which 0 is none.

        Args:
            x: Normalised activity (B, T, K); finite everywhere.
            observed: 1 where an entry may be read, else 0 (B, T, K).
        """
        c = self.loadings
        if self.kind == "trace":
            weight = observed * torch.exp(-self.log_noise)
            return self._solved(weight, (weight * (x - self.offset)) @ c)
        # between the neuron's mean and the count itself: steps from either alone overshoot, for large counts or for small rates
        rate = (x + self.mean.clamp_min(1e-3)) / 2
        drive = rate.log()
        weight = observed * rate
        mean, share = self._solved(weight, (observed * (x - rate) + weight * (drive - self.offset)) @ c)
        for _ in range(NEWTON_STEPS):
            drive = (self.offset + mean @ c.T).clamp(*LOG_RATES)
            rate = drive.exp()
            weight = observed * rate
            target, share = self._solved(weight, (observed * (x - rate) + weight * (drive - self.offset)) @ c)
            # from rates far too small Newton's step overshoots exponentially
            step = target - mean
            mean = mean + step * (LONGEST_STEP / (step @ c.T).abs().amax(-1, keepdim=True).clamp_min(LONGEST_STEP))
        return mean, share

    def _solved(self, weight: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`(I + J)^{-1} h` and diag J / (1 + diag J), for J of the weights (B, T, K)."""
        c = self.loadings
        diagonal = weight @ c.square()
        share = diagonal / (1 + diagonal)
        if self.factors <= EXACT:
            products = (c[:, :, None] * c[:, None, :]).flatten(1)
            precision = (weight @ products).unflatten(-1, (self.factors, self.factors))
            eye = torch.eye(self.factors, dtype=h.dtype, device=h.device)
            return torch.linalg.solve(eye + precision, h), share
        whole = weight.mean((0, 1))
        values, vectors = torch.linalg.eigh(((c * whole[:, None]).T @ c).detach())
        part = diagonal.sum(-1, keepdim=True) / values.sum().clamp_min(1e-12)
        return ((h @ vectors) / (1 + part * values)) @ vectors.T, share

    def drive(self, factors: Tensor) -> Tensor:
        """b + C z (..., K)."""
        return self.offset + factors @ self.loadings.T

    def log_likelihood(self, x: Tensor, drive: Tensor, spread: Tensor | None = None) -> Tensor:
        """Of each entry (..., K) of normalised activity, whose drive has a variance `spread` (..., K) besides."""
        if self.kind == "counts":
            drive = drive.clamp(*LOG_RATES)
            expected = drive.exp() if spread is None else (drive + spread / 2).clamp(max=LOG_RATES[1]).exp()
            return x * expected.log() - expected - torch.lgamma(x + 1)
        variance = self.log_noise.exp() + (0.0 if spread is None else spread)
        return -0.5 * ((x - drive).square() / variance + variance.log() + math.log(2 * math.pi))

    def rates(self, mean: Tensor, variance: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Expected activity (..., K), in the neurons' own units, of latents of this mean (..., D), and its standard deviation.

        Args:
            mean: Of the latents.
            variance: Of each latent (..., D); none: they are known.
        """
        loadings, offset = (
            (self.loadings, self.offset) if self.kind == "trace" else (self.rate_loadings, self.rate_offset)
        )
        drive = offset + mean @ loadings.T
        spread = torch.zeros_like(drive) if variance is None else variance @ loadings.T.square()
        if self.kind == "trace":
            return self.mean + self.scale * drive, self.scale * spread.sqrt()
        # the log-normal's moments
        rate = (drive + spread / 2).clamp(min=LOG_RATES[0]).minimum(self.rate_limit).exp()
        return rate, rate * spread.clamp(max=-LOG_RATES[0]).expm1().sqrt()

    def draw(self, factors: Tensor, draws: torch.Generator) -> Tensor:
        """Normalised activity (..., K) of latents (..., D)."""
        drive = self.drive(factors)
        if self.kind == "counts":
            return torch.poisson(drive.clamp(*LOG_RATES).exp(), generator=draws)
        noise = torch.randn(drive.shape, generator=draws, dtype=drive.dtype)
        return drive + (0.5 * self.log_noise).exp() * noise
