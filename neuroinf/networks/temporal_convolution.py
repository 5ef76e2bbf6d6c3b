"""Convolutions over time that begin at zero: corrections to something that is a good start already."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TemporalConvolution(nn.Module):
    """A linear filter over time beside residual convolutions of growing dilation; both begin at zero.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        channels: Of the residual convolutions.
        levels: Their number; dilations 1, 2, 4, ...
        taps: Of the linear filter, odd.
        apart: Whether the linear filter keeps channels apart, each output reading the input of its number; as many as those, then.
    """

    def __init__(
        self, inputs: int, outputs: int, channels: int, levels: int, taps: int = 31, apart: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, channels, 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=2**i, dilation=2**i) for i in range(levels)
        )
        self.last = nn.Conv1d(channels, outputs, 1)
        self.linear = nn.Conv1d(inputs, outputs, taps, padding=taps // 2, groups=inputs if apart else 1)
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
