r"""The rate of each population in each bin, from spikes of a few of its neurons: a one-dimensional U-Net.

Of N neurons n fire in a bin. With :math:`y = 2 \sqrt{n + 3/8}`, whose variance is 1 if n is a Poisson number (Anscombe 1948,
Biometrika 35:246), the network's answer is

.. math:: y_{mt} \sim \mathcal N(\mu_{mt}, \sigma_{mt}^2)

so that its width shows in units of the finite size's own noise. What the whole recording says, such as between which rates its
populations switch, comes in as a scale and a shift of every channel (FiLM).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from neuroinf.errors import InputError
from neuroinf.networks.population_statistics import EVERY, Pooled, levels, pool_units, smoothed
from neuroinf.networks.response import Standardise

SMOOTHING = (20.0, 80.0, 320.0)  # ms
START = 1  # which of these the answer starts from
UNIT_RATE = 25.0  # Hz, of the network's input
UNIT_INPUT = 20.0  # 1/s
EMBEDDED = 64  # features of the whole recording
LOG_SD = (-3.0, 3.0)
DEEP = 2  # further blocks of the coarsest level


@dataclass(frozen=True)
class Activity:
    """Distribution of the rates of M populations in T bins.

    Attributes:
        mean: Of y (B, M, T).
        sd: Of y (B, M, T).
        scale: Hz of one neuron firing in a bin (M,).
    """

    mean: Tensor
    sd: Tensor
    scale: Tensor

    @property
    def rate(self) -> Tensor:
        """Posterior mean (B, M, T), Hz."""
        return ((self.mean.square() + self.sd.square()) / 4 - 3 / 8).clamp(min=0) * self.scale[:, None]

    def quantile(self, level: float) -> Tensor:
        """Rate (B, M, T), Hz, that the population stays below with this probability."""
        y = (self.mean + self.sd * math.sqrt(2) * torch.erfinv(torch.tensor(2 * level - 1))).clamp(min=0)
        return (y.square() / 4 - 3 / 8).clamp(min=0) * self.scale[:, None]

    def residual(self, rates: Tensor) -> Tensor:
        """Distance of y of the true rates (B, M, T), Hz, from its mean in standard deviations."""
        return (stabilised(rates, self.scale) - self.mean) / self.sd

    def loss(self, rates: Tensor) -> Tensor:
        """Negative log density (B, M, T) of y of the true rates (B, M, T), Hz."""
        return 0.5 * self.residual(rates).square() + self.sd.log() + 0.5 * math.log(2 * math.pi)


def stabilised(rates: Tensor, scale: Tensor) -> Tensor:
    """y of rates (B, M, T), Hz."""
    return 2 * (rates / scale[:, None] + 3 / 8).sqrt()


class ActivityNetwork(nn.Module):
    """Spikes in bins to the activity of their populations.

    Args:
        sizes: Neurons of each of M populations.
        dt: Bin, ms.
        widths: Channels of each level, the first in single bins.
        stride: Bins of a level in one of the next.
        kernel: Bins of a convolution.

    Raises:
        InputError: on an impossible value.
    """

    scale: Tensor
    log_width: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        dt: float,
        widths: Sequence[int] = (24, 48, 96, 128),
        stride: int = 4,
        kernel: int = 5,
    ) -> None:
        super().__init__()
        for name, value, least in (("stride", stride, 2), ("kernel", kernel, 1)):
            if value < least:
                raise InputError(f"activity.{name}: expected at least {least}, found {value}")
        if kernel % 2 == 0 or not widths:
            raise InputError(f"activity: expected an odd kernel and widths, found {kernel} and {list(widths)}")
        self.sizes, self.dt = list(sizes), dt
        self.widths, self.stride, self.kernel = list(widths), stride, kernel
        populations = len(self.sizes)
        self.register_buffer("scale", 1000 / (dt * torch.tensor(self.sizes, dtype=torch.float32)), persistent=False)
        # set when it is released, see `widen`
        self.register_buffer("log_width", torch.zeros(populations))
        channels = populations * (2 + len(SMOOTHING)) + populations + 2
        one = torch.zeros(1, populations, 2)
        told = levels(one, one[:, 0] > -1).shape[1] + 2 * populations
        self.standardise = Standardise(told)
        self.embedding = nn.Sequential(nn.Linear(told, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED), nn.SiLU())
        self.first = nn.Conv1d(channels, self.widths[0], kernel, padding=kernel // 2)
        self.down = nn.ModuleList(
            nn.Conv1d(a, b, stride, stride) for a, b in zip(self.widths[:-1], self.widths[1:], strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(b, a, stride, stride) for a, b in zip(self.widths[:-1], self.widths[1:], strict=True)
        )
        self.descent = nn.ModuleList(Block(width, EMBEDDED, kernel) for width in self.widths)
        # of the coarsest level, in which a convolution spans a second
        self.deep = nn.ModuleList(Block(self.widths[-1], EMBEDDED, kernel) for _ in range(DEEP))
        self.ascent = nn.ModuleList(Block(width, EMBEDDED, kernel) for width in self.widths[:-1])
        self.last = nn.Conv1d(self.widths[0], 2 * populations, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, units: Tensor, inputs: Tensor, groups: Tensor) -> Activity:
        """Activity of B recordings.

        Args:
            units: Counts of recorded neurons (B, K, T), nan where absent.
            inputs: External input of each population (B, M, T), 1/s, nan where not known.
            groups: Population of each recorded neuron (K,).
        """
        data = pool_units(units, groups, len(self.sizes), self.dt)
        bins, number = data.counts.shape[-1], data.number.clamp(min=1)[..., None]
        smooth = [smoothed(data, width / self.dt) for width in SMOOTHING]
        known = torch.isfinite(inputs)
        constant = torch.cat([1 / (1 + data.number), known.any(-1).all(-1, keepdim=True).to(number.dtype)], 1)
        rows = [
            data.pooled / number,
            *[(rate / UNIT_RATE).sqrt() for rate in smooth],
            torch.where(known, inputs / UNIT_INPUT, 0.0).asinh(),
            data.seen[:, None].to(number.dtype),
            constant[..., None].expand(-1, -1, bins),
        ]
        short = -bins % self.stride ** (len(self.widths) - 1)
        found = self._net(pad(torch.cat(rows, 1), (0, short)), self._context(data, smooth[-1]))[..., :bins]
        away, log_sd = found.chunk(2, 1)
        mean = stabilised(smooth[START], self.scale) + away
        return Activity(mean, (log_sd + self.log_width[:, None]).clamp(*LOG_SD).exp(), self.scale)

    def _context(self, data: Pooled, rates: Tensor) -> Tensor:
        """Features (B, F) of the whole recording, from its smoothed rates and the numbers of neurons."""
        told = levels(rates[..., ::EVERY], data.seen[:, ::EVERY])
        return self.embedding(self.standardise(torch.cat([told, data.number, data.rate.sqrt()], 1)))

    def _net(self, x: Tensor, context: Tensor) -> Tensor:
        x, kept = self.first(x), []
        for i, block in enumerate(self.descent):
            x = block(x if i == 0 else self.down[i - 1](x), context)
            kept.append(x)
        for block in self.deep:
            x = block(x, context)
        for i in reversed(range(len(self.up))):
            x = self.ascent[i](kept[i] + self.up[i](x), context)
        return self.last(x)

    @torch.no_grad()
    def widen(self, log_factor: Tensor) -> None:
        """Multiply the sd of each population by exp(log_factor) (M,)."""
        self.log_width += log_factor


class Block(nn.Module):
    """A convolution within channels and one between them, added to what comes in, scaled and shifted by the context.

    Args:
        width: Channels.
        context: Features of the context.
        kernel: Bins of the convolution.
    """

    def __init__(self, width: int, context: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.film = nn.Linear(context, 2 * width)
        self.mix = nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, W, T) to (B, W, T)."""
        scale, shift = self.film(context)[..., None].chunk(2, 1)
        return x + self.mix(silu(self.conv(x) * (1 + scale) + shift))
