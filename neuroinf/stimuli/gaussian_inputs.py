"""Gaussian inputs, independent in time, with a given correlation between them."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.stimuli.covariance import Correlation, design, equicorrelate, factor
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.timing import Range, as_range, draw

FloatArray = NDArray[np.float64]


class GaussianInputs:
    r"""Normal variates of mean 0, independent from step to step.

    .. math:: x_t = s \, A z_t, \qquad A A^T = C, \quad z_t \sim N(0, 1)^K

    Args:
        inputs: Number of rows K.
        duration: ms.
        dt: Step, ms.
        sd: Standard deviation s.
        correlation: C: a coefficient for all pairs, its range, or a matrix :math:`(K, K)`.
        nearest: Whether a correlation that is not positive semidefinite becomes the nearest one that is.

    Raises:
        InputError: if a range is reversed or out of bounds, or the correlation is not possible.
    """

    unit: Unit = "1"
    frozen = False

    def __init__(
        self,
        inputs: int,
        duration: float,
        dt: float = 1.0,
        sd: Range = 1.0,
        correlation: Correlation = 0.0,
        nearest: bool = False,
    ) -> None:
        self.inputs, self.duration, self.dt, self.nearest = inputs, duration, dt, nearest
        self._shape = shape(inputs, duration, dt)
        self.sd = as_range("sd", sd, least=0)
        self.correlation = correlation
        checked = design("GaussianInputs", inputs, correlation, nearest)
        self._coefficient = checked if isinstance(checked, tuple) else None
        self._root = None if isinstance(checked, tuple) else factor(checked)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`."""
        sd = draw(self.sd, rng)
        c = 0.0 if self._coefficient is None else draw(self._coefficient, rng)
        z = rng.standard_normal(self._shape)
        z *= sd
        if self._root is not None:
            return self._root @ z
        return z if c == 0 else equicorrelate(z, c)
