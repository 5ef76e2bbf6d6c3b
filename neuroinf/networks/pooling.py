"""Several sweeps of one neuron to one set of features, for any encoder."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from neuroinf.networks.encoders import Encoder


class SweepPooling(nn.Module):
    r"""Encodes each sweep by itself and pools them by attention; number and order of the sweeps do not matter.

    .. math:: h = \Big( \tfrac{1}{S} \sum_s f_s,\; \sum_s w_s\, g(f_s),\; \log \sum_s e^{a(f_s)},\; \log(1 + S) \Big),
        \qquad w_s = \operatorname{softmax}_s a(f_s)

    with :math:`f_s` the encoder's features of sweep s, g and a learnt. This is how independent measurements
    :math:`g_s` of one thing are put together where :math:`e^{a_s}` are their precisions: the precise ones count more,
    and the precisions add. The mean passes on, of a single sweep, all that the encoder says of it.

    A sweep of nothing but nan is absent. A neuron without any sweep has features 0.

    Args:
        encoder: Encoder of one sweep.
        width: Number of features that are pooled by attention.
    """

    def __init__(self, encoder: nn.Module, width: int = 128) -> None:
        super().__init__()
        self.encoder, self.width = encoder, width
        self.inputs = cast(Encoder, encoder).features
        self.value = nn.Sequential(nn.Linear(self.inputs, width), nn.SiLU(), nn.Linear(width, width))
        self.attention = nn.Linear(self.inputs, width)
        self.features = self.inputs + 2 * width + 1

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of neurons (B, S, C, T); a single sweep (B, C, T) is a set of one."""
        if x.ndim == 3:
            x = x[:, None]
        present = torch.isfinite(x).any(-1).any(-1)
        if not bool(present.any()):
            return x.new_zeros(len(x), self.features)
        return self.pool(_spread(cast(Tensor, self.encoder(x[present])).float(), present), present)

    @property
    def readout(self) -> nn.ModuleList:
        """What is learnt beside the encoder."""
        return nn.ModuleList([self.value, self.attention])

    def pool(self, encoded: Tensor, present: Tensor) -> Tensor:
        """Features (B, F) from those of each sweep (B, S, F'), 0 where it is absent, and whether it is present (B, S)."""
        number = present.sum(1, keepdim=True)
        mean = encoded.sum(1) / number.clamp(min=1)
        # the logarithm of nothing at all would be infinite
        precision = self.attention(encoded).masked_fill(~present[..., None], -torch.inf)
        precision = precision.masked_fill(number[..., None] == 0, 0.0)
        pooled = (self.value(encoded) * precision.softmax(1)).sum(1)
        features = torch.cat([mean, pooled, precision.logsumexp(1), number.to(mean.dtype).log1p()], 1)
        return torch.where(number > 0, features, 0.0)


def _spread(values: Tensor, present: Tensor) -> Tensor:
    """Rows (n, F) of the n sweeps that are present (B, S) put in their places (B, S, F), 0 elsewhere."""
    places = values.new_zeros(*present.shape, values.shape[-1])
    places[present] = values
    return places
