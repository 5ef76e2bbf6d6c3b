r"""The rate of each population in each bin, from spikes of a few of its neurons: a one-dimensional U-Net.

Of N neurons n fire in a bin. With :math:`y = 2 \sqrt{n + 3/8}`, whose variance is 1 if n is a Poisson number (Anscombe 1948,
Biometrika 35:246), the network's answer is

.. math:: y_{mt} \sim \mathcal N(\mu_{mt}, \sigma_{mt}^2)

given the recorded spikes and the circuit's parameters, so that its width shows in units of the finite size's own noise. The
parameters come in as a scale and a shift of every channel (FiLM). As the answer is given for known parameters, it does not
depend on which parameters the network was trained with or how often; where they are not known, it is averaged over their
posterior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from neuroinf.errors import InputError
from neuroinf.networks.population_statistics import pool_units, smoothed

SMOOTHING = (20.0, 80.0, 320.0)  # ms
START = 1  # which of these the answer starts from
UNIT_RATE = 25.0  # Hz, of the network's input
UNIT_INPUT = 20.0  # 1/s
EMBEDDED = 64  # features of the parameters
LOG_SD = (-3.0, 3.0)
DRAWS_AT_ONCE = 4


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
        inferred: Number of parameters P.
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
        inferred: int,
        dt: float,
        widths: Sequence[int] = (24, 48, 96, 128),
        stride: int = 4,
        kernel: int = 5,
    ) -> None:
        super().__init__()
        for name, value, least in (("inferred", inferred, 1), ("stride", stride, 2), ("kernel", kernel, 1)):
            if value < least:
                raise InputError(f"activity.{name}: expected at least {least}, found {value}")
        if kernel % 2 == 0 or not widths:
            raise InputError(f"activity: expected an odd kernel and widths, found {kernel} and {list(widths)}")
        self.sizes, self.inferred, self.dt = list(sizes), inferred, dt
        self.widths, self.stride, self.kernel = list(widths), stride, kernel
        populations = len(self.sizes)
        self.register_buffer("scale", 1000 / (dt * torch.tensor(self.sizes, dtype=torch.float32)), persistent=False)
        # set when it is released, see `widen`
        self.register_buffer("log_width", torch.zeros(populations))
        channels = populations * (2 + len(SMOOTHING)) + populations + 2
        self.embedding = nn.Sequential(
            nn.Linear(inferred, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED), nn.SiLU()
        )
        self.first = nn.Conv1d(channels, self.widths[0], kernel, padding=kernel // 2)
        self.down = nn.ModuleList(
            nn.Conv1d(a, b, stride, stride) for a, b in zip(self.widths[:-1], self.widths[1:], strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose1d(b, a, stride, stride) for a, b in zip(self.widths[:-1], self.widths[1:], strict=True)
        )
        self.descent = nn.ModuleList(Block(width, EMBEDDED, kernel) for width in self.widths)
        self.ascent = nn.ModuleList(Block(width, EMBEDDED, kernel) for width in self.widths[:-1])
        self.last = nn.Conv1d(self.widths[0], 2 * populations, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, units: Tensor, inputs: Tensor, groups: Tensor, theta: Tensor) -> Activity:
        """Activity of B recordings of circuits of known parameters.

        Args:
            units: Counts of recorded neurons (B, K, T), nan where absent.
            inputs: External input of each population (B, M, T), 1/s, nan where not known.
            groups: Population of each recorded neuron (K,).
            theta: Parameters (B, P), each from -1 to 1 over the prior's range.
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
        found = self._net(pad(torch.cat(rows, 1), (0, short)), self.embedding(theta))[..., :bins]
        away, log_sd = found.chunk(2, 1)
        mean = stabilised(smooth[START], self.scale) + away
        return Activity(mean, log_sd.clamp(*LOG_SD).exp(), self.scale)

    def averaged(self, units: Tensor, inputs: Tensor, groups: Tensor, theta: Tensor) -> Activity:
        """Activity of one recording (1, K, T) over draws of its parameters (S, P), as a normal distribution of the same moments,
        as wide as :meth:`widen` says.
        """
        some = theta.split(DRAWS_AT_ONCE)
        parts = [self(*(x.expand(len(part), -1, -1) for x in (units, inputs)), groups, part) for part in some]
        mean, sd = (torch.cat([getattr(part, name) for part in parts]) for name in ("mean", "sd"))
        spread = mean.var(0, correction=0, keepdim=True) + sd.square().mean(0, keepdim=True)
        return Activity(mean.mean(0, keepdim=True), spread.sqrt() * self.log_width.exp()[:, None], self.scale)

    def _net(self, x: Tensor, context: Tensor) -> Tensor:
        x, kept = self.first(x), []
        for i, block in enumerate(self.descent):
            x = block(x if i == 0 else self.down[i - 1](x), context)
            kept.append(x)
        for i in reversed(range(len(self.up))):
            x = self.ascent[i](kept[i] + self.up[i](x), context)
        return self.last(x)

    @torch.no_grad()
    def widen(self, log_factor: Tensor) -> None:
        """Multiply the sd of each population, averaged over parameters, by exp(log_factor) (M,)."""
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
