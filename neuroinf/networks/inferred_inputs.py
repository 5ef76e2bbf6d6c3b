r"""Inputs to the latents that nobody recorded: what the generator does not foresee, where it is too large for its noise.

.. math::
    z_t = f(z_{t-1}) + B u_t + \epsilon_t, \qquad u_{ti} \sim \mathrm{Laplace}, \; \mathrm{Var}(u_{ti}) = 1

The prior has heavier tails than the noise, by which alone the two are told apart: inputs are mostly near 0, some are large. The
posterior of each input is normal, from the departures :math:`\hat z_t - f(\hat z_{t-1})` of the inferred latents at t and nearby.

Source:
    Pandarinath et al. (2018), Nature Methods 15:805, for inputs that are inferred; Hyvarinen (1999), IEEE Trans Neural Networks
    10:626 (FastICA), for the directions that training begins at.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.decomposition import FastICA
from torch import Tensor, nn

from neuroinf.networks.temporal_convolution import TemporalConvolution

# of the Laplace distribution of variance 1, and its excess kurtosis
SCALE, KURTOSIS = 2**-0.5, 3.0
# share of a direction's variance that is given to its input at first
SHARE = (0.05, 0.9)
# of the logarithm of the posterior's standard deviations
LOG_SD = (-5.0, 1.0)


class Inputs(NamedTuple):
    """Posterior of each bin's inputs: mean and logarithm of the standard deviation (B, T, n)."""

    mean: Tensor
    log_sd: Tensor


class InferredInputs(nn.Module):
    """Their weights B (D, n), and their encoder.

    Args:
        factors: D.
        inputs: n, from 1 to D.
        channels: Of the encoder.
    """

    size: Tensor

    def __init__(self, factors: int, inputs: int, channels: int = 16) -> None:
        super().__init__()
        self.inputs = inputs
        self.weights = nn.Parameter(torch.zeros(factors, inputs))
        self.encoder = TemporalConvolution(factors, 2 * inputs, channels, 2, taps=5)
        # of the departures, each latent's
        self.register_buffer("size", torch.ones(factors))

    @torch.no_grad()
    def start(self, departures: Tensor) -> None:
        r"""Begin at the least normal independent components of departures (T, D).

        A sum of a Laplace variable's share s of the variance and a normal one has an excess kurtosis of :math:`3 s^2`.
        """
        e = departures.double().cpu().numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what has not converged is good enough to begin with
            found = FastICA(whiten="unit-variance", random_state=0, max_iter=200).fit(e)
        sources = found.transform(e)
        kurtosis = (sources**4).mean(0) - 3
        kept = np.argsort(-kurtosis)[: self.inputs]
        root = np.sqrt(np.clip(np.sqrt(np.maximum(kurtosis[kept], 0) / KURTOSIS), *SHARE))
        self.size.copy_(torch.as_tensor(e.std(0)))
        self.weights.copy_(torch.as_tensor(np.asarray(found.mixing_)[:, kept] * root))
        filters = self.encoder.linear.weight
        read = torch.as_tensor(np.asarray(found.components_)[kept] * root[:, None]).to(filters)
        filters[: self.inputs, :, filters.shape[-1] // 2] = read * self.size

    def forward(self, departures: Tensor) -> Inputs:
        """Their posterior, from departures (B, T, D)."""
        mean, log_sd = self.encoder(departures / self.size).chunk(2, -1)
        return Inputs(mean, (log_sd - 0.5).clamp(*LOG_SD))

    def divergence(self, posterior: Inputs) -> Tensor:
        r"""KL from the prior, summed over all entries.

        .. math:: E|u| = s \sqrt{2 / \pi}\, e^{-m^2 / 2 s^2} + m\, \mathrm{erf}(m / s \sqrt 2)
        """
        mean, log_sd = posterior
        sd = log_sd.exp()
        size = sd * math.sqrt(2 / math.pi) * torch.exp(-0.5 * (mean / sd).square()) + mean * torch.erf(
            mean / (sd * math.sqrt(2))
        )
        return (size / SCALE + math.log(2 * SCALE) - log_sd - 0.5 * math.log(2 * math.pi * math.e)).sum()

    def draw(self, count: int, draws: torch.Generator) -> Tensor:
        """Of the prior (count, n)."""
        uniform = torch.rand((count, self.inputs), generator=draws).clamp(1e-6, 1 - 1e-6) - 0.5
        return -SCALE * uniform.sign() * torch.log1p(-2 * uniform.abs())
