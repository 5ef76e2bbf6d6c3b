"""Which of several models a held-out voltage favours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]

BLOCK = 500.0  # ms: several of the longest time constants, so that the errors of two blocks are nearly independent


@dataclass(frozen=True)
class Selection:
    """Attributes: errors, mean squared held-out error of each model, mV^2; best, the index of the smallest; chosen, that
    of the simplest model that is not worse than the best by more than one standard error."""

    errors: FloatArray
    best: int
    chosen: int


def select(voltage: FloatArray, predictions: Sequence[FloatArray], dt: float) -> Selection:
    r"""Compares models, the simplest first, on a voltage that none was fitted to.

    The standard error is that of the mean difference in squared error between a model and the best, over blocks of
    500 ms.

    Args:
        voltage: Held-out :math:`(T,)`, mV; nan where it does not count.
        predictions: Of each model :math:`(T,)`, mV.
        dt: Step, ms.

    Raises:
        InputError: for fewer than two whole blocks.
    """
    per_block = round(BLOCK / dt)
    blocks = len(voltage) // per_block
    if blocks < 2:
        raise InputError(f"held-out voltage: expected at least {2 * BLOCK:g} ms, found {len(voltage) * dt:g} ms")
    squared = np.stack([(voltage - p) ** 2 for p in predictions])[:, : blocks * per_block]
    mean = np.nanmean(squared.reshape(len(squared), blocks, per_block), axis=2)
    errors = np.nanmean(mean, axis=1)
    best = int(np.argmin(errors))
    worse = mean - mean[best]
    standard = np.nanstd(worse, axis=1, ddof=1) / np.sqrt(np.isfinite(worse).sum(axis=1))
    chosen = int(np.argmax(np.nanmean(worse, axis=1) <= standard))
    return Selection(errors, best, chosen)
