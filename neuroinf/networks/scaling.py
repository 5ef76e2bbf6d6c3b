"""Each recording brought to its own scale, and that scale as features: amplitudes then need not be learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuroinf.errors import InputError

Role = Literal["response", "events", "input"]
SMALLEST = 1e-3  # of a scale, in the channel's unit: a constant channel is not divided by zero


@dataclass(frozen=True)
class Scaled:
    """Values (B, C, T), 0 where not observed; observed (B, C, T) bool; mean and size (B, C), nan for absent channels.

    features (B, 3 C) are mean, log size and the fraction observed of the samples at which anything was.
    """

    values: Tensor
    observed: Tensor
    mean: Tensor
    size: Tensor
    features: Tensor


def check_roles(roles: Sequence[Role], channels: int) -> list[Role]:
    """The roles as a list.

    Raises:
        InputError: if there is not one known role per channel.
    """
    unknown = [role for role in roles if role not in ("response", "events", "input")]
    if unknown or len(roles) != channels:
        raise InputError(
            f"encoder.roles must name one of response, events, input for each of the {channels} rows of the network's "
            f"input (observation.channels), found {list(roles)}"
        )
    return list(roles)


def scale(x: Tensor, roles: Sequence[Role]) -> Scaled:
    """Scale each row of a recording by its own observed samples.

    A response is centred and divided by its standard deviation, an input divided by its root mean square (its zero has
    a meaning), events are counts and stay as they are.

    Args:
        x: (B, C, T), nan where not observed.
        roles: Role of each channel.

    Returns:
        The scaled recording.
    """
    observed = torch.isfinite(x)
    values = torch.where(observed, x, 0.0).float()
    number = observed.sum(-1, keepdim=True).clamp(min=1)
    # sums in double precision: padding changes their order, and must not change the result
    mean = values.sum(-1, keepdim=True, dtype=torch.float64) / number
    response = torch.tensor([role == "response" for role in roles], device=x.device)[:, None]
    events = torch.tensor([role == "events" for role in roles], device=x.device)[:, None]
    values = torch.where(response & observed, (values - mean).float(), values)
    size = (values.square().sum(-1, keepdim=True, dtype=torch.float64) / number).sqrt().clamp(min=SMALLEST)
    scaled = torch.where(events, values, (values / size).float())
    length = observed.any(1, keepdim=True).sum(-1, keepdim=True).clamp(min=1)
    seen = observed.sum(-1, keepdim=True) / length
    absent = ~observed.any(-1)
    mean, size = (part[..., 0].float().masked_fill(absent, torch.nan) for part in (mean, size))
    features = torch.stack([mean, size.log(), seen[..., 0]], -1).flatten(1)
    return Scaled(scaled, observed, mean, size, features)
