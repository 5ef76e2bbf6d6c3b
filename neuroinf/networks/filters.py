"""Banks of exponential filters of a recording, computed block by block as matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 50  # samples per block: in-block product and carry between blocks then cost about the same


def exponential_filters(x: Tensor, time_constants: Tensor) -> Tensor:
    r"""Causal exponential averages at several time constants.

    .. math:: y_{k,t} = (1 - e^{-1/\tau_k}) \sum_{u \le t} e^{-(t-u)/\tau_k} x_u

    Args:
        x: Signals (B, C, T).
        time_constants: :math:`\tau` (K,), samples.

    Returns:
        y (B, C, K, T).
    """
    b, c, t = x.shape
    k, blocks = len(time_constants), -(-t // BLOCK)
    x = pad(x, (0, blocks * BLOCK - t)).reshape(b * c * blocks, BLOCK)
    rate = 1 / time_constants.to(x.dtype)
    sample = torch.arange(BLOCK, device=x.device)
    within = _decay(sample[None, :] - sample[:, None], rate)  # (BLOCK from, K, BLOCK to)
    y = (x @ (within * -torch.expm1(-rate)[:, None]).reshape(BLOCK, k * BLOCK)).reshape(b, c, blocks, k, BLOCK)
    # what earlier blocks leave behind is their last value, decayed
    block = torch.arange(blocks, device=x.device)
    later = block[:, None] - block[None, :] - 1
    between = _decay(later, rate.double() * BLOCK).permute(1, 2, 0).contiguous()  # (K, from, to)
    left = y[..., -1].permute(3, 0, 1, 2).reshape(k, b * c, blocks).double()
    carry = (left @ between).to(y.dtype).reshape(k, b, c, blocks).permute(1, 2, 0, 3)
    tail = torch.exp(-(sample + 1) * rate[:, None])
    y = torch.addcmul(y.transpose(2, 3), carry[..., None], tail[:, None])
    return y.reshape(b, c, k, blocks * BLOCK)[..., :t]


def _decay(lag: Tensor, rate: Tensor) -> Tensor:
    """exp(-rate lag) for lag >= 0, else 0: lags (M, N) and rates (K,) to (M, K, N)."""
    lag = lag[:, None, :]
    return torch.where(lag >= 0, torch.exp(-lag.clamp(min=0) * rate[:, None]), 0.0)


def restart(filtered: Tensor, last: Tensor, time_constants: Tensor) -> tuple[Tensor, Tensor]:
    r"""The same filters, each started anew from zero after the last event.

    .. math:: y^*_{k,t} = y_{k,t} - e^{-(t-r_t)/\tau_k} y_{k,r_t}

    Args:
        filtered: y (B, C, K, T), made by exponential_filters.
        last: :math:`r_t` (B, T), index of the last event at or before t; -1 before the first.
        time_constants: :math:`\tau` (K,), samples.

    Returns:
        y* (B, C, K, T), and the decay :math:`e^{-(t-r_t)/\tau_k}` (B, K, T), which is 0 before the first event.
    """
    b, c, k, t = filtered.shape
    known = last.clamp(min=0)
    since = torch.arange(t, device=last.device) - known
    decay = torch.exp(-since[:, None] / time_constants[:, None]) * (last >= 0)[:, None]
    at_event = filtered.gather(3, known[:, None, None].expand(b, c, k, t))
    return torch.addcmul(filtered, decay[:, None], at_event, value=-1), decay


def last_event(events: Tensor) -> Tensor:
    """Index (B, T) of the last event at or before t, -1 before the first; events (B, T) bool."""
    t = torch.arange(events.shape[-1], device=events.device)
    return torch.where(events, t, -1).cummax(-1).values
