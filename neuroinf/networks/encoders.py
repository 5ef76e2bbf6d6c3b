"""Encoders: from a recording with gaps, of any length, to a fixed number of features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neuroinf.errors import InputError
from neuroinf.networks.response import ResponseStatistics, Standardise
from neuroinf.networks.scaling import Role, Scaled, check_roles, scale

ROLES: tuple[Role, ...] = ("response", "events", "input")
# in samples: at 1 ms, from the fastest membranes to slow adaptation
TIME_CONSTANTS = (3.0, 7.0, 16.0, 36.0, 85.0, 190.0)
MEMORIES = (10.0, 32.0, 100.0, 320.0)


class Encoder(Protocol):
    """What a model asks of an encoder: its number of features, and the features.

    x (B, C, T) is nan where nothing was observed; samples at the end at which every channel is nan are padding, and
    change nothing.
    """

    features: int

    def __call__(self, x: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, C, T)."""
        ...

    def train(self, mode: bool = True) -> nn.Module:
        """As torch.nn.Module: an encoder is one."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As torch.nn.Module."""
        ...


@runtime_checkable
class ReadsStatistics(Protocol):
    """An encoder of fixed statistics of a recording, which may be given instead of it."""

    def from_statistics(self, statistics: Any) -> Tensor:
        """Features (1, F) of one recording's statistics."""
        ...


class BiLSTM(nn.Module):
    """A bidirectional LSTM over every sample, its last states as features.

    Values and where they are missing are the input, scaled per recording (see `scaling.scale`).

    Args:
        channels: C.
        hidden: H, per direction.
        layers: Number of layers.
        roles: Role of each channel: response, events or input.
    """

    def __init__(self, channels: int, hidden: int = 32, layers: int = 1, roles: Sequence[Role] = ROLES) -> None:
        super().__init__()
        self.channels, self.hidden, self.layers = channels, hidden, layers
        self.roles = check_roles(roles, channels)
        self.standardise = Standardise(3 * channels)
        self.core = Recurrence(2 * channels, hidden, layers)
        self.features = 3 * channels + self.core.features

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, C, T)."""
        scaled = scale(x, self.roles)
        states = self.core(with_mask(scaled), lengths(scaled.observed))
        return torch.cat([self.standardise(scaled.features), states], 1)


class ConvBiLSTM(nn.Module):
    r"""A bidirectional LSTM over strided convolutions, and optionally the response statistics beside it.

    The convolutions shorten T samples to T / prod(strides) steps; mean, attention-weighted mean and last states of the
    LSTM are features, and so are the scales taken out of the recording. With `statistics`, for every response channel
    the regressions of `response.ResponseStatistics` are features too: they carry the precise information on linear
    response properties, the LSTM whatever they do not see.

    Args:
        channels: C.
        widths: Channels after each convolution.
        kernels: Their lengths.
        strides: Their strides.
        hidden: H, per direction.
        layers: Layers of the LSTM.
        roles: Role of each channel: response, events or input.
        statistics: Whether to add the response statistics.
        time_constants: Filters of the statistics, samples.
        memories: Filters of past events in the statistics, samples.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (32, 64),
        kernels: Sequence[int] = (15, 8),
        strides: Sequence[int] = (5, 4),
        hidden: int = 48,
        layers: int = 1,
        roles: Sequence[Role] = ROLES,
        statistics: bool = True,
        time_constants: Sequence[float] = TIME_CONSTANTS,
        memories: Sequence[float] = MEMORIES,
    ) -> None:
        super().__init__()
        if not len(widths) == len(kernels) == len(strides) > 0:
            raise InputError(
                f"encoder.widths, kernels and strides must have the same length, one entry per convolution, "
                f"found {list(widths)}, {list(kernels)}, {list(strides)}"
            )
        if any(kernel < stride for kernel, stride in zip(kernels, strides, strict=True)):
            raise InputError(f"encoder.kernels {list(kernels)} must not be shorter than strides {list(strides)}")
        self.channels, self.widths, self.kernels, self.strides = channels, list(widths), list(kernels), list(strides)
        self.hidden, self.layers, self.statistics = hidden, layers, statistics
        self.roles = check_roles(roles, channels)
        self.time_constants, self.memories = list(time_constants), list(memories)
        self.front = Front(2 * channels, self.widths, self.kernels, self.strides)
        self.core = Recurrence(self.widths[-1], hidden, layers)
        number = 3 * channels
        rows = {role: [i for i, found in enumerate(self.roles) if found == role] for role in ROLES}
        self.response: ResponseStatistics | None = None
        if statistics:
            self.response = ResponseStatistics(
                rows["response"], rows["events"], rows["input"], self.time_constants, self.memories
            )
            number += self.response.features
        self.standardise = Standardise(number)
        self.features = number + self.core.features

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of recordings (B, C, T)."""
        scaled = scale(x, self.roles)
        known = scaled.features
        if self.response is not None:
            known = torch.cat([known, self.response(scaled)], 1)
        length = lengths(scaled.observed)
        states = self.core(*self.front(with_mask(scaled), length))
        return torch.cat([self.standardise(known), states.float()], 1)


def with_mask(scaled: Scaled) -> Tensor:
    """Values and 1 where they were observed (B, 2 C, T)."""
    return torch.cat([scaled.values, scaled.observed.to(scaled.values.dtype)], 1)


def lengths(observed: Tensor) -> Tensor:
    """Number of samples (B,) up to the last at which any channel was observed, at least 1; observed (B, C, T)."""
    sample = torch.arange(1, observed.shape[-1] + 1, device=observed.device)
    return (observed.any(1) * sample).amax(1).clamp(min=1)


class Front(nn.Module):
    """Strided convolutions with SiLU, whose steps beyond the end of a recording stay zero.

    Args:
        channels: Rows of the input.
        widths: Channels after each convolution.
        kernels: Their lengths.
        strides: Their strides.
    """

    def __init__(self, channels: int, widths: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        for width, kernel, stride in zip(widths, kernels, strides, strict=True):
            self.convolutions.append(nn.Conv1d(channels, width, kernel, stride, padding=kernel // 2))
            channels = width

    def forward(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, T), zero beyond length (B,), to (B, W, T') and the lengths there."""
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            x = nn.functional.silu(convolution(x))
            length = (length - 1) // convolution.stride[0] + 1
            x = x[:, :, : int(length.max())]
            x = x * (torch.arange(x.shape[-1], device=x.device) < length[:, None])[:, None]
        return x, length


class Recurrence(nn.Module):
    """Bidirectional LSTM over (B, C, T) of given lengths; mean, attention-weighted mean and last states (B, 6 H).

    The backward direction reads each row reversed within its own length, so that padding comes last for both directions
    and no state of a recording sees it (packed sequences do the same at twice the time on a CPU).

    Args:
        channels: C.
        hidden: H, per direction.
        layers: Number of layers.
    """

    def __init__(self, channels: int, hidden: int, layers: int) -> None:
        super().__init__()
        sizes = [channels] + [2 * hidden] * (layers - 1)
        self.onward = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.homeward = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in sizes)
        self.attention = nn.Linear(2 * hidden, 1)
        self.features = 6 * hidden

    def forward(self, x: Tensor, length: Tensor) -> Tensor:
        """x (B, C, T) and lengths (B,) to (B, 6 H)."""
        x = x.transpose(1, 2)
        step = torch.arange(x.shape[1], device=x.device)
        valid = step < length[:, None]
        reverse = torch.where(valid, length[:, None] - 1 - step, step)
        end = (length - 1)[:, None]
        last: list[Tensor] = []
        for onward, homeward in zip(self.onward, self.homeward, strict=True):
            ahead, back = onward(x)[0], homeward(_take(x, reverse))[0]
            last = [_take(ahead, end)[:, 0], _take(back, end)[:, 0]]
            x = torch.cat([ahead, _take(back, reverse)], 2)
        weight = self.attention(x)[..., 0].float().masked_fill(~valid, -torch.inf).softmax(1)
        pooled = torch.stack([valid / length[:, None], weight], 1).to(x.dtype) @ x
        return torch.cat([pooled.flatten(1), *last], 1)


def _take(x: Tensor, step: Tensor) -> Tensor:
    """Row-wise x[step]: x (B, T, C) and step (B, N) to (B, N, C)."""
    return x.gather(1, step[..., None].expand(-1, -1, x.shape[2]))
