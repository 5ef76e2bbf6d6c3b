r"""A sequential variational autoencoder: latents with learned dynamics, read off a population's evidence in one pass.

.. math::
    z_1 \sim N(0, I), \qquad z_t \sim N(f(z_{t-1}), \mathrm{diag}(q)), \qquad f(z) = A z + \mathrm{MLP}(z), \qquad
    x_t \sim p(x \mid b + C z_t)

The posterior :math:`q(z_t \mid x)` of each bin is normal and independent of the other bins'; its mean is that of the bin's own
evidence (:mod:`neuroinf.networks.evidence`) plus a correction by convolutions over time, forwards and backwards. Nothing runs
over bins one by one.

Source:
    Pandarinath et al. (2018), Nature Methods 15:805 (LFADS); Sedler, Versteeg and Pandarinath (2023), NBDT 3, for the generator.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroinf.errors import InputError
from neuroinf.networks.evidence import Kind, PopulationReadout
from neuroinf.networks.linear_start import linear_start

# of the logarithm of the posterior's standard deviations
LOG_SD = (-6.0, 1.0)


class Latents(NamedTuple):
    """Posterior of each bin's latents: mean and logarithm of the standard deviation (B, T, D)."""

    mean: Tensor
    log_sd: Tensor


class TemporalConvolution(nn.Module):
    """A linear filter over time beside residual convolutions of growing dilation; both begin at zero.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        channels: Of the residual convolutions.
        levels: Their number; dilations 1, 2, 4, ...
        taps: Of the linear filter, odd.
    """

    def __init__(self, inputs: int, outputs: int, channels: int, levels: int, taps: int = 31) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, channels, 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=2**i, dilation=2**i) for i in range(levels)
        )
        self.last = nn.Conv1d(channels, outputs, 1)
        self.linear = nn.Conv1d(inputs, outputs, taps, padding=taps // 2)
        for layer in (self.last, self.linear):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, outputs)."""
        x = x.transpose(1, 2)
        hidden = self.first(x)
        for level in self.levels:
            hidden = hidden + functional.gelu(level(hidden))
        return (self.last(hidden) + self.linear(x)).transpose(1, 2)


class Generator(nn.Module):
    """The latents' dynamics f, and the variances q of their noise.

    Args:
        factors: D.
        hidden: Widths of the perceptron's layers; none: linear dynamics.
    """

    def __init__(self, factors: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.eye(factors))
        self.log_noise = nn.Parameter(torch.zeros(factors))
        widths, layers = (factors, *hidden), []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.SiLU()]
        self.mlp: nn.Sequential | None = None
        if hidden:
            last = nn.Linear(widths[-1], factors)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.mlp = nn.Sequential(*layers, last)

    def forward(self, z: Tensor) -> Tensor:
        """f(z) (..., D)."""
        found = z @ self.linear.T
        return found if self.mlp is None else found + self.mlp(z)

    def roll(self, z: Tensor, steps: int) -> Tensor:
        """The means (..., steps, D) of the bins that follow z (..., D)."""
        found = []
        for _ in range(steps):
            z = self(z)
            found.append(z)
        return torch.stack(found, -2)


class SequentialAutoencoder(nn.Module):
    """Read-out, encoder and generator of one population.

    Args:
        neurons: K.
        kind: counts or trace.
        factors: D, at most K.
        channels: Of the encoder's convolutions.
        levels: Of the encoder's dilated convolutions; it sees 2^levels bins to either side, and 15 at least.
        generator: Widths of the generator's hidden layers; none: linear dynamics.

    Attributes:
        widths: Factors (D,) by which the posterior's standard deviations are multiplied: see
            :func:`neuroinf.models.latent_calibration.calibrate`.

    Raises:
        InputError: if a number is out of its range.
    """

    widths: Tensor

    def __init__(
        self,
        neurons: int,
        kind: Kind,
        factors: int,
        channels: int = 48,
        levels: int = 5,
        generator: tuple[int, ...] = (64, 64),
    ) -> None:
        super().__init__()
        if not 1 <= factors <= neurons:
            raise InputError(f"factors: expected 1 to {neurons}, the number of neurons, found {factors}")
        for name, value in (("channels", channels), ("levels", levels), ("generator", min(generator, default=1))):
            if value < 1:
                raise InputError(f"{name}: expected at least 1, found {value}")
        self.neurons, self.factors = neurons, factors
        self.kind: Kind = kind
        self.readout = PopulationReadout(neurons, factors, kind)
        self.encoder = TemporalConvolution(2 * factors, 2 * factors, channels, levels)
        self.generator = Generator(factors, tuple(generator))
        self.register_buffer("widths", torch.ones(factors))

    @torch.no_grad()
    def start(self, sequences: list[Tensor]) -> None:
        """Begin at the linear solution: factor analysis, and a regression of each bin's latents on the last bin's.

        Args:
            sequences: Training data (T, K), in the neurons' own units.
        """
        found = linear_start(torch.cat(sequences).double().cpu().numpy(), self.kind, self.factors)
        for ours, theirs in (
            (self.readout.mean, found.mean),
            (self.readout.scale, found.scale),
            (self.readout.loadings, found.loadings),
            (self.readout.offset, found.offset),
        ):
            ours.copy_(torch.as_tensor(theirs))
        if self.kind == "trace":
            self.readout.log_noise.copy_(torch.as_tensor(found.noise).log())
        static = [
            self.readout.evidence(x[None], torch.ones_like(x)[None])[0][0]
            for x in map(self.readout.normalised, sequences)
        ]
        before, after = torch.cat([z[:-1] for z in static]), torch.cat([z[1:] for z in static])
        eye = torch.eye(self.factors, device=before.device)
        a = torch.linalg.solve(before.T @ before + 1e-3 * len(before) * eye, before.T @ after)
        self.generator.linear.copy_(a.T)
        # much of the residual is noise of the evidence, not of the dynamics
        self.generator.log_noise.copy_((after - before @ a).var(0).clamp_min(1e-4).log() - 1.0)

    def encode(self, x: Tensor, observed: Tensor) -> Latents:
        """The posterior of normalised activity x (B, T, K), of which entries with observed 0 are not read."""
        static, share = self.readout.evidence(x * observed, observed)
        correction, wider = self.encoder(torch.cat([static, share], -1)).chunk(2, -1)
        # a mean of independent bins is sharper than one bin
        log_sd = 0.5 * (1 - share).clamp_min(1e-4).log() - 1.0 + wider
        return Latents(static + correction, log_sd.clamp(*LOG_SD))

    def divergence(self, posterior: Latents, sample: Tensor) -> Tensor:
        """KL of each sequence's posterior from the generator, given a sample of the latents (B, T, D): mean per bin."""
        mean, log_sd = posterior
        variance, log_q = (2 * log_sd).exp(), self.generator.log_noise
        first = (variance[:, 0] + mean[:, 0].square() - 1 - 2 * log_sd[:, 0]).sum()
        error = variance[:, 1:] + (mean[:, 1:] - self.generator(sample[:, :-1])).square()
        later = (error / log_q.exp() - 1 - 2 * log_sd[:, 1:] + log_q).sum()
        return 0.5 * (first + later) / (mean.shape[0] * mean.shape[1])
