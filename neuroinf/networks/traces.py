"""Fully connected encoder of short responses that all begin at the same event: evoked potentials, pulses, frozen noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.components import PrincipalComponents
from neuroinf.networks.scaling import Role, check_roles

COMPRESSION = 10.0  # asinh is linear up to a tenth of a channel's size: what is small beside a spike stays visible
COMPONENT_COMPRESSION = 4.0
HORIZON = 1000  # batches over which the size of a channel is averaged
SMALLEST = 1e-6
EXTREMES = 5  # of each response


@runtime_checkable
class NeedsRecordings(Protocol):
    """An encoder that looks at recordings of the training distribution before it is trained."""

    @property
    def ready(self) -> bool:
        """Whether it has."""
        ...

    def shown(self, batches: Iterable[Tensor]) -> None:
        """Recordings (B, C, T) or (B, S, C, T), nan where not observed."""
        ...


class TraceEncoder(nn.Module):
    r"""Every sample at its own place after the stimulus, through a residual perceptron.

    A response to one event is smooth and always begins at the same time: what it says lies in its shape, sample by sample,
    for which a fully connected layer needs neither depth nor recurrence. With :math:`s_c` the root mean square of channel
    c over the training distribution, the first layer sees :math:`x_{ct} / s_c`, of responses also
    :math:`\operatorname{asinh}(10\, x_{ct} / s_c)`, their extremes (smallest, largest, its place, largest fall and rise
    between samples: a spike's height does not depend on when it comes), and the fraction of samples at which each channel
    was observed. What was not observed is 0; samples beyond `samples` are left out.

    With `components`, responses and inputs are read as their principal components z over the training distribution, each
    brought to one size, and of responses :math:`\operatorname{asinh}(4 z) / 2` as well. What tells one parameter from another is
    often a hundredth of what all responses have in common, and lies in other components: brought to one size, both are learnt
    equally fast, where sample by sample the small ones take hundreds of epochs.

    Args:
        channels: C.
        samples: T, of the longest response that is read.
        hidden: Width H of all layers, and number of features.
        blocks: Number of residual blocks.
        cut: In training, part of the responses whose end, from a random sample on, is hidden, so that shorter ones can be
            read.
        roles: Role of each channel: response, events or input.
        components: Number K of principal components of each response and input; 0 reads them sample by sample.
        dropout: Part of the hidden units that is left out at each step of training: a network of twenty thousand neurons
            otherwise knows them by heart, and is too sure of new ones.

    Raises:
        InputError: on an impossible value.
    """

    number: Tensor
    square: Tensor

    def __init__(
        self,
        channels: int,
        samples: int,
        hidden: int = 256,
        blocks: int = 2,
        cut: float = 0.0,
        roles: Sequence[Role] = ("response", "input"),
        components: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("samples", samples, 1),
            ("hidden", hidden, 1),
            ("blocks", blocks, 0),
            ("components", components, 0),
        ):
            if value < least:
                raise InputError(f"encoder.{name} must be at least {least}, found {value}")
        if components > samples:
            raise InputError(
                f"encoder.components must be at most the {samples} samples of a response, found {components}"
            )
        for name, part in (("cut", cut), ("dropout", dropout)):
            if not 0 <= part < 1:
                raise InputError(f"encoder.{name} must be a fraction in [0, 1), found {part}")
        self.channels, self.samples, self.hidden, self.blocks, self.cut = channels, samples, hidden, blocks, cut
        self.roles = check_roles(roles, channels)
        self.components, self.dropout = components, dropout
        self._responses, events, inputs = (
            [row for row, role in enumerate(self.roles) if role == kind] for kind in ("response", "events", "input")
        )
        # which rows are read sample by sample, and which as components
        self._sampled, self._projected = (
            (events, self._responses + inputs) if components else (list(range(channels)), [])
        )
        self.projection = PrincipalComponents(len(self._projected), samples, components) if components else None
        self.features = hidden
        self.register_buffer("number", torch.zeros(channels))
        self.register_buffer("square", torch.ones(channels))
        responses = len(self._responses)
        width = (channels + responses) * samples
        if components:
            width = len(events) * samples + (len(self._projected) + responses) * components
        self.first = nn.Linear(width + EXTREMES * responses + channels, hidden)
        self.rest = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden),
                nn.Linear(hidden, hidden),
                nn.SiLU(),
                nn.Linear(hidden, hidden),
                nn.Dropout(dropout),
            )
            for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, H) of responses (B, C, T), nan where not observed."""
        x = x[:, :, : self.samples]
        if self.training and self.cut > 0:
            x = self._shortened(x)
        observed = torch.isfinite(x)
        values = torch.where(observed, x, 0.0).float()
        if self.training:
            self._update(values.detach(), observed)
        values = values / self.square.clamp(min=SMALLEST**2).sqrt()[:, None]
        response, there = values[:, self._responses], observed[:, self._responses]
        sampled = values[:, self._sampled]
        if self.projection is None:
            sampled, z = torch.cat([sampled, (COMPRESSION * response).asinh()], 1), values[:, :0]
        else:
            z = self.projection(x[:, self._projected])
            z = torch.cat([z, (COMPONENT_COMPRESSION * z[:, : len(self._responses)]).asinh() / 2], 1)
        sampled = nn.functional.pad(sampled, (0, self.samples - x.shape[-1]))
        seen = observed.sum(-1) / self.samples
        parts = [sampled.flatten(1), z.flatten(1), self._extremes(response, there), seen]
        h = nn.functional.silu(self.first(torch.cat(parts, 1)))
        for block in self.rest:
            h = h + block(h)
        return h

    @property
    def ready(self) -> bool:
        """See NeedsRecordings."""
        return self.projection is None or self.projection.fitted

    def shown(self, batches: Iterable[Tensor]) -> None:
        """See NeedsRecordings."""
        if self.projection is not None:
            self.projection.fit(x.flatten(0, -3)[:, self._projected] for x in batches)

    def _extremes(self, x: Tensor, observed: Tensor) -> Tensor:
        """Smallest, largest, its place, largest fall and rise (B, 5 R) of x (B, R, T); 0 of a channel that is absent."""
        low = x.masked_fill(~observed, torch.inf).amin(-1)
        high, place = x.masked_fill(~observed, -torch.inf).max(-1)
        step = torch.where(observed[..., 1:] & observed[..., :-1], x.diff(dim=-1), 0.0)
        step = nn.functional.pad(step, (0, 1))  # a response of one sample has no step
        found = torch.stack([low, high, place / self.samples, step.amin(-1), step.amax(-1)], -1)
        return torch.where(observed.any(-1, keepdim=True), found, 0.0).flatten(1)

    def _shortened(self, x: Tensor) -> Tensor:
        """Some of the rows with nothing observed from a random sample on."""
        steps = torch.arange(x.shape[-1], device=x.device)
        last = (x.shape[-1] * torch.rand(len(x), 1, device=x.device)).clamp(min=1)
        hidden = (steps >= last) & (torch.rand(len(x), 1, device=x.device) < self.cut)
        return x.masked_fill(hidden[:, None], torch.nan)

    @torch.no_grad()
    def _update(self, values: Tensor, observed: Tensor) -> None:
        """Move each channel's mean square towards that of a batch; a channel that the batch lacks stays."""
        count = observed.sum((0, 2))
        self.number += count > 0
        weight = torch.where(count > 0, 1 / self.number.clamp(1, HORIZON), 0.0)
        self.square += weight * (values.square().sum((0, 2)) / count.clamp(min=1) - self.square)
