"""Encoders for spike counts under a stimulus that is always the same: its statistics, or sums of bins that are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]


def lagged_design(stimulus: FloatArray, taps: int) -> FloatArray:
    """Design matrix (T, 1 + K J) of a stimulus (K, T): ones, then each input at lags 0 to J - 1, 0 before it begins."""
    inputs, steps = stimulus.shape
    design = np.ones((steps, 1 + inputs * taps))
    for k in range(inputs):
        for lag in range(taps):
            column = design[:, 1 + k * taps + lag]
            column[:lag], column[lag:] = 0.0, stimulus[k, : steps - lag]
    return design


class SpikeStatistics(nn.Module):
    r"""Spike count and spike-triggered sum of a stimulus that is the same in every recording. No weights are learnt.

    With the design matrix X (T, 1 + K J) of ones and the stimulus at lags 0 to J - 1, the statistics and the features are

    .. math:: s = X^\top y, \qquad f = 4 (X^\top X)^{-1} (s - X^\top \tfrac12)

    s, of 1 + K J numbers, is sufficient for a generalized linear neuron with its canonical nonlinearity (Bernoulli and
    logistic, Poisson and exponential) and these taps. f is an invertible, affine function of s: what it costs to know
    s is not lost. Its components are uncorrelated and of order 1 for spikes in half of the bins, while those of s reach
    hundreds and copy each other.

    Args:
        channels: Rows of x: 1, the counts.
        stimulus: The K inputs in T bins.
        taps: J.

    Raises:
        InputError: if more is observed than counts, the stimulus is no table of finite numbers, or its lags are linearly
            dependent.
    """

    solve: Tensor
    centre: Tensor
    design: Tensor

    def __init__(self, channels: int, stimulus: list[list[float]], taps: int) -> None:
        super().__init__()
        self.channels, self.stimulus, self.taps = channels, stimulus, taps
        _check_channels("SpikeStatistics", channels)
        values = _table(stimulus)
        if not 1 <= taps <= values.shape[1]:
            raise InputError(f"encoder.taps: expected 1 to {values.shape[1]}, as many as there are bins, found {taps}")
        design = lagged_design(values, taps)
        if np.linalg.matrix_rank(design) < design.shape[1]:
            raise InputError(
                f"encoder.stimulus: its {taps} lags are linearly dependent in {len(design)} bins; give fewer taps, or a "
                f"stimulus that varies more"
            )
        self.bins, self.features = design.shape
        inverse = np.linalg.inv(design.T @ design)
        for name, array in (("design", design), ("solve", 4 * inverse), ("centre", design.sum(axis=0) / 2)):
            self.register_buffer(name, torch.from_numpy(array), persistent=False)  # follow from the stimulus

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of counts x (B, 1, T)."""
        return self.from_statistics(self.statistics(x))

    def statistics(self, x: Tensor) -> Tensor:
        """Spike count and spike-triggered sums s (B, F), float64, of counts x (B, 1, T)."""
        _check_bins(x, self.bins)
        return x[:, 0].double() @ self.design

    def from_statistics(self, statistics: ArrayLike | Tensor) -> Tensor:
        """Features (B, F) of statistics (B, F), or (F,) of one recording.

        Raises:
            InputError: if there are not F of them, all finite.
        """
        return ((self._checked(statistics) - self.centre) @ self.solve).float()

    def _checked(self, statistics: ArrayLike | Tensor) -> Tensor:
        """Statistics (B, 1 + K J), float64."""
        s = torch.as_tensor(statistics, dtype=torch.float64, device=self.solve.device)
        width = self.design.shape[1]
        if s.ndim not in (1, 2) or s.shape[-1] != width or not s.isfinite().all():
            raise InputError(
                f"statistics: expected {width} finite numbers (the spike count, then the stimulus summed over "
                f"spikes at lags 0 to {self.taps - 1}), found shape {tuple(s.shape)}: {_shown(s)}"
            )
        return s.reshape(-1, width)


class BinEncoder(nn.Module):
    r"""F learnt sums of the counts of T bins: :math:`f = W (2 y - 1) + c`. It knows nothing of the stimulus.

    For whatever is linear in the counts, as statistics of a frozen stimulus are; the density's network makes of it what
    it needs. The bottleneck keeps a hundred bins' noise from being learnt by heart.

    Args:
        channels: Rows of x: 1, the counts.
        bins: T.
        features: F.

    Raises:
        InputError: if more is observed than counts, or a number is below 1.
    """

    def __init__(self, channels: int, bins: int, features: int = 16) -> None:
        super().__init__()
        _check_channels("BinEncoder", channels)
        for name, value in (("bins", bins), ("features", features)):
            if value < 1:
                raise InputError(f"encoder.{name}: expected at least 1, found {value}")
        self.channels, self.bins, self.features = channels, bins, features
        self.sums = nn.Linear(bins, features)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, F) of counts x (B, 1, T)."""
        _check_bins(x, self.bins)
        return self.sums(2 * x[:, 0] - 1)


def _check_channels(name: str, channels: int) -> None:
    if channels != 1:
        raise InputError(
            f"encoder {name} reads counts alone: expected observation.channels [count], found {channels} rows"
        )


def _check_bins(x: Tensor, bins: int) -> None:
    """These encoders have a weight for each bin: no bin may be missing."""
    if x.shape[-1] != bins or not x.isfinite().all():
        found = f"{x.shape[-1]} bins" if x.shape[-1] != bins else "bins without a count (nan)"
        raise InputError(
            f"spikes: expected the counts of all {bins} bins that this network was trained on, found {found}"
        )


def _table(stimulus: Any) -> FloatArray:
    try:
        values = np.array(stimulus, np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(
            f"encoder.stimulus: expected K rows of T finite numbers, found shape {values.shape}: write [[...]] for one row"
        )
    return values


def _shown(values: Tensor) -> Sequence[float]:
    return values.flatten()[:10].tolist()
