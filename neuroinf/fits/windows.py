"""How the observation's windows and the simulation's steps fit together, for every fit of GLIF neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]


def steps_per_window(
    x: NDArray[np.floating[Any]], spikes: Sequence[FloatArray | None], observation_dt: float, dt: float
) -> int:
    """Number of simulation steps in one sample of the observations.

    Args:
        x: Observations :math:`(B, 3, W)`.
        spikes: The spike times of each neuron, ms; None: not known.
        observation_dt: Step of x, ms.
        dt: Step of the simulation, ms.

    Raises:
        InputError: if shapes or steps do not fit together.
    """
    if x.ndim != 3 or x.shape[1] != 3 or x.shape[0] != len(spikes):
        raise InputError(
            f"expected observations (B, 3, T) and B spike trains, found shape {x.shape} and {len(spikes)} trains"
        )
    k = round(observation_dt / dt)
    if k < 1 or abs(k * dt - observation_dt) > 1e-9 * observation_dt:
        raise InputError(
            f"the observation's step must be a multiple of the simulation's, found {observation_dt} and {dt} ms"
        )
    return k
