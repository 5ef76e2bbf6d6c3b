"""A waveform given as numbers."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit

FloatArray = NDArray[np.float64]


class Given:
    """The same waveform every time.

    Args:
        values: Rows of equal length :math:`(K, T)`, in `unit`.
        dt: Step, ms.
        unit: Unit of `values`.

    Raises:
        InputError: if the values are not rows of equal length or not finite, or dt is not positive.
    """

    frozen = True

    def __init__(self, values: list[list[float]], dt: float = 1.0, unit: Unit = "1") -> None:
        self.unit: Unit = unit
        self.values, self.dt = values, dt
        try:
            waveform = np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"Given: values must be rows of equal length, found {_lengths(values)}") from error
        if waveform.ndim != 2 or waveform.size == 0:
            raise InputError(f"Given: values must be rows of numbers (K, T), found shape {waveform.shape}")
        if not np.isfinite(waveform).all():
            row, step = np.argwhere(~np.isfinite(waveform))[0]
            raise InputError(
                f"Given: values must be finite, found {waveform[row, step]} in row {row + 1} at step {step}"
            )
        if not (np.isfinite(dt) and dt > 0):
            raise InputError(f"Given: dt must be positive and finite, ms, found {dt}")
        self._waveform = waveform
        self.inputs, self.duration = waveform.shape[0], waveform.shape[1] * dt

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """The waveform :math:`(K, T)`, in `unit`; `rng` is not used."""
        return self._waveform.copy()


def _lengths(values: list[list[float]]) -> str:
    return f"rows of length {[len(row) if isinstance(row, list | tuple) else row for row in values]}"
