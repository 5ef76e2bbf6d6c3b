"""Several sweeps of one neuron to one set of features, for any encoder."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from neuroinf.networks.encoders import Encoder


class SweepPooling(nn.Module):
    r"""Encodes each sweep by itself and pools them by attention; number and order of the sweeps do not matter.

    .. math:: h = \sum_s w_s\, g(f_s), \qquad w = \operatorname{softmax}_s\, a(f_s)

    with :math:`f_s` the encoder's features of sweep s, g and a learnt. A sweep of nothing but nan is absent.
    The number of sweeps present, as log(1 + S), is the last feature. A neuron without any sweep has features 0.

    Args:
        encoder: Encoder of one sweep.
        width: Number of pooled features.
    """

    def __init__(self, encoder: Encoder, width: int = 128) -> None:
        super().__init__()
        self.encoder, self.width = encoder, width
        self.value = nn.Sequential(nn.Linear(encoder.features, width), nn.SiLU(), nn.Linear(width, width))
        self.attention = nn.Linear(encoder.features, width)
        self.features = width + 1

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of neurons (B, S, C, T); a single sweep (B, C, T) is a set of one."""
        if x.ndim == 3:
            x = x[:, None]
        present = torch.isfinite(x).any(-1).any(-1)
        encoded = (
            cast(Tensor, self.encoder(x[present])) if bool(present.any()) else x.new_zeros(0, self.encoder.features)
        )
        value = x.new_zeros(*present.shape, self.width)
        weight = x.new_full((*present.shape, self.width), -torch.inf)
        value[present] = self.value(encoded).to(value.dtype)
        weight[present] = self.attention(encoded).to(weight.dtype)
        # a neuron without sweeps would be 0 / 0
        weight = weight.masked_fill(~present.any(1)[:, None, None], 0.0).softmax(1)
        number = present.sum(1, keepdim=True).to(value.dtype).log1p()
        return torch.cat([(value * weight).sum(1), number], 1)
