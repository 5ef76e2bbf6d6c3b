r"""A sequential variational autoencoder: latents with learned dynamics, read off a population's evidence in one pass.

.. math::
    z_1 \sim N(0, I), \qquad z_t \sim N(f(z_{t-1}) + B u_t, \mathrm{diag}(q)), \qquad f(z) = A z + \mathrm{MLP}(z), \qquad
    x_t \sim p(x \mid b + C z_t)

The posterior :math:`q(z_t \mid x)` of each bin is normal and independent of the other bins'; its mean is that of the bin's own
evidence (:mod:`neuroinf.networks.evidence`) plus a correction by convolutions over time, forwards and backwards. Nothing runs
over bins one by one. Inputs u are optional (:mod:`neuroinf.networks.inferred_inputs`).

Sessions of different neurons share generator and encoder; each has its own read-out, C, b and noise, and so its own evidence.

Source:
    Pandarinath et al. (2018), Nature Methods 15:805 (LFADS); Sedler, Versteeg and Pandarinath (2023), NBDT 3, for the generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuroinf.errors import expect
from neuroinf.networks.evidence import EXACT, Kind, PopulationReadout
from neuroinf.networks.inferred_inputs import InferredInputs, Inputs
from neuroinf.networks.linear_start import linear_start
from neuroinf.networks.session_alignment import aligned
from neuroinf.networks.temporal_convolution import TemporalConvolution

# of the logarithm of the posterior's standard deviations
LOG_SD = (-6.0, 1.0)


class Latents(NamedTuple):
    """Posterior of each bin's latents: mean and logarithm of the standard deviation (B, T, D)."""

    mean: Tensor
    log_sd: Tensor


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

    def roll(self, z: Tensor, steps: int, push: Tensor | None = None) -> Tensor:
        """The means (..., steps, D) of the bins that follow z (..., D), pushed by B u (..., steps, D) if there are inputs."""
        found = []
        for step in range(steps):
            z = self(z) if push is None else self(z) + push[..., step, :]
            found.append(z)
        return torch.stack(found, -2)


class SequentialAutoencoder(nn.Module):
    """Read-out of each session, encoder and generator.

    Args:
        neurons: K, or those of each session.
        kind: counts or trace.
        factors: D, at most K.
        channels: Of the encoder's convolutions.
        levels: Of the encoder's dilated convolutions; it sees 2^levels bins to either side, and 15 at least.
        generator: Widths of the generator's hidden layers; none: linear dynamics.
        inputs: Number of inferred inputs; 0: none.

    Attributes:
        widths: Factors (sessions, D) by which the posterior's standard deviations are multiplied, and `input_widths` (sessions,
            inputs): see :func:`neuroinf.models.latent_calibration.calibrate`.

    Raises:
        InputError: if a number is out of its range.
    """

    widths: Tensor
    input_widths: Tensor

    def __init__(
        self,
        neurons: int | Sequence[int],
        kind: Kind,
        factors: int,
        channels: int = 48,
        levels: int = 5,
        generator: tuple[int, ...] = (64, 64),
        inputs: int = 0,
    ) -> None:
        super().__init__()
        sessions = [neurons] if isinstance(neurons, int) else list(neurons)
        at_least_1 = [(name, n, n >= 1, "at least 1") for name, n in (("channels", channels), ("levels", levels))]
        expect(
            "",
            ("factors", factors, 1 <= factors <= min(sessions), f"1 to {min(sessions)}, the number of neurons"),
            *at_least_1,
            ("generator", list(generator), all(width >= 1 for width in generator), "widths of at least 1"),
            ("inputs", inputs, 0 <= inputs <= factors, f"0 to {factors}, the number of latents"),
        )
        self.factors = factors
        self.kind: Kind = kind
        self.readouts = nn.ModuleList(PopulationReadout(number, factors, kind) for number in sessions)
        # of many latents the filters between all pairs would be most of the weights, and of a step's time
        self.encoder = TemporalConvolution(2 * factors, 2 * factors, channels, levels, apart=factors > EXACT)
        self.generator = Generator(factors, tuple(generator))
        self.inputs = InferredInputs(factors, inputs) if inputs else None
        self.register_buffer("widths", torch.ones(len(sessions), factors))
        self.register_buffer("input_widths", torch.ones(len(sessions), inputs))

    def readout(self, session: int = 0) -> PopulationReadout:
        """Of one session."""
        found = self.readouts[session]
        assert isinstance(found, PopulationReadout)
        return found

    @torch.no_grad()
    def start(self, sessions: Sequence[Sequence[Tensor]], sparse: bool = False) -> None:
        """Begin at the linear solution: factor analysis of each session, turned into the first one's coordinates, and a regression
        of each bin's latents on the last bin's.

        Args:
            sessions: Training data, sequences (T, K) of each session, in the neurons' own units.
            sparse: Whether counts are too few for the moments of their log rates.
        """
        static = [self._start_readout(session, sequences, sparse) for session, sequences in enumerate(sessions)]
        for session in range(1, len(static)):
            turn = aligned(static[0], static[session])
            loadings = self.readout(session).loadings
            loadings.copy_(loadings @ turn.to(loadings))
            static[session] = [z @ turn.to(z) for z in static[session]]
        sequences = [z for session in static for z in session]
        before, after = torch.cat([z[:-1] for z in sequences]), torch.cat([z[1:] for z in sequences])
        eye = torch.eye(self.factors, device=before.device)
        a = torch.linalg.solve(before.T @ before + 1e-3 * len(before) * eye, before.T @ after)
        self.generator.linear.copy_(a.T)
        rest = after - before @ a
        if self.inputs is not None:
            self.inputs.start(rest)
        # much of the residual is noise of the evidence, not of the dynamics
        self.generator.log_noise.copy_(rest.var(0).clamp_min(1e-4).log() - 1.0)

    def _start_readout(self, session: int, sequences: Sequence[Tensor], sparse: bool) -> list[Tensor]:
        """The evidence's latents (T, D) of each sequence, once the read-out is that of factor analysis."""
        readout = self.readout(session)
        found = linear_start(torch.cat(list(sequences)).double().cpu().numpy(), self.kind, self.factors, sparse)
        for ours, theirs in (
            (readout.mean, found.mean),
            (readout.scale, found.scale),
            (readout.loadings, found.loadings),
            (readout.offset, found.offset),
        ):
            ours.copy_(torch.as_tensor(theirs))
        if self.kind == "trace":
            readout.log_noise.copy_(torch.as_tensor(found.noise).log())
        return [readout.evidence(x[None], torch.ones_like(x)[None])[0][0] for x in map(readout.normalised, sequences)]

    def encode(self, x: Tensor, observed: Tensor, session: int = 0) -> Latents:
        """The posterior of a session's normalised activity x (B, T, K), of which entries with observed 0 are not read."""
        static, share = self.readout(session).evidence(x * observed, observed)
        correction, wider = self.encoder(torch.cat([static, share], -1)).chunk(2, -1)
        # a mean of independent bins is sharper than one bin
        log_sd = 0.5 * (1 - share).clamp_min(1e-4).log() - 1.0 + wider
        return Latents(static + correction, log_sd.clamp(*LOG_SD))

    def departures(self, mean: Tensor) -> Tensor:
        """Of latents (B, T, D) from what the generator makes of the last bin's; 0 in the first bin."""
        return torch.cat([torch.zeros_like(mean[:, :1]), mean[:, 1:] - self.generator(mean[:, :-1])], 1)

    def encode_inputs(self, posterior: Latents) -> Inputs | None:
        """The inputs' posterior, given that of the latents; None without inputs. In a first bin there is nothing to infer."""
        return None if self.inputs is None else self.inputs(self.departures(posterior.mean))

    def divergence(self, posterior: Latents, sample: Tensor, push: Tensor | None = None) -> Tensor:
        """KL of each sequence's posterior from the generator, given a sample of the latents (B, T, D), and of B u if there are
        inputs: mean per bin.
        """
        mean, log_sd = posterior
        variance, log_q = (2 * log_sd).exp(), self.generator.log_noise
        first = (variance[:, 0] + mean[:, 0].square() - 1 - 2 * log_sd[:, 0]).sum()
        ahead = self.generator(sample[:, :-1])
        if push is not None:
            ahead = ahead + push[:, 1:]
        error = variance[:, 1:] + (mean[:, 1:] - ahead).square()
        later = (error / log_q.exp() - 1 - 2 * log_sd[:, 1:] + log_q).sum()
        return 0.5 * (first + later) / (mean.shape[0] * mean.shape[1])
