"""The stimulus of a simulation as the kernels take it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError


def stimulus_samples(stimulus: ArrayLike, n: int, rows: int, meaning: str) -> NDArray[Any]:
    """The stimulus (n or 1, K, T) as float32 or float64; a repeated single row is not copied n times.

    Args:
        stimulus: As a simulator is given it.
        n: Number of simulations.
        rows: K.
        meaning: What the rows are, for the error.

    Raises:
        InputError: if it has another shape or does not hold real numbers.
    """
    values = np.asarray(stimulus)
    if values.ndim != 3 or values.shape[0] not in (1, n) or values.shape[1] != rows:
        raise InputError(
            f"stimulus: expected shape ({n}, {rows}, T) or (1, {rows}, T), with {meaning}, found {values.shape}"
        )
    if values.dtype.kind not in "fiub":
        raise InputError(f"stimulus: expected real numbers, found dtype {values.dtype}")
    if values.dtype != np.float32:
        values = values.astype(np.float64, copy=False)
    return values[:1] if values.strides[0] == 0 else values
