r"""What the latents of a population do in time: the interface, and a linear system with known moments.

Every latent has mean 0 and variance 1 in the stationary state, so that a population's signal-to-noise ratio is the same
whatever drives it.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.glm_draws import normal, start_stream
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
Seeds = NDArray[np.uint64]


@runtime_checkable
class Dynamics(Protocol):
    """A stationary process of D latents, each of mean 0 and variance 1.

    Attributes:
        dimension: D.
        covariance: :math:`(D, D)` in the stationary state, its diagonal 1.
    """

    dimension: int
    covariance: Any

    def paths(self, seeds: Any, steps: Any, dt: Any) -> Any:
        """Latents :math:`(n, D, T)` at T = steps times, dt ms apart; a path depends on its own seed alone."""
        ...


class LinearDynamics:
    r"""Damped rotations in D dimensions, driven by noise.

    .. math::
        z_{t+1} = A z_t + w_t, \qquad w_t \sim N(0, I - A A^T), \qquad A = Q\,\mathrm{diag}(e^{-dt/\tau} R(\omega_k dt))\,Q^T

    with rotations R of :math:`\lfloor D/2 \rfloor` planes, for odd D one axis that only decays, and a random rotation Q of
    them all. A is normal, and so the stationary covariance is exactly I at every step dt.

    Args:
        dimension: D.
        timescale: :math:`\tau`, ms.
        periods: Longest and shortest period of the planes, ms; those in between are spaced geometrically.
        seed: Of Q.

    Raises:
        InputError: if a number is not positive.
    """

    def __init__(
        self,
        dimension: int = 5,
        timescale: float = 300.0,
        periods: tuple[float, float] = (1000.0, 300.0),
        seed: int = 0,
    ) -> None:
        if dimension < 1 or seed < 0:
            raise InputError(
                f"LinearDynamics: expected dimension at least 1 and seed at least 0, found {dimension} and {seed}"
            )
        if not all(math.isfinite(value) and value > 0 for value in (timescale, *periods)):
            raise InputError(
                f"LinearDynamics: timescale and periods must be positive, ms, found {timescale} and {list(periods)}"
            )
        self.dimension, self.timescale, self.periods, self.seed = dimension, timescale, periods, seed
        self.covariance: FloatArray = np.eye(dimension)
        gaussian = np.random.default_rng(seed).standard_normal((dimension, dimension))
        q, r = np.linalg.qr(gaussian)
        self._turn: FloatArray = q * np.sign(np.diag(r))

    def transition(self, dt: float) -> FloatArray:
        """A :math:`(D, D)` of a step of dt ms."""
        planes = self.dimension // 2
        blocks = np.eye(self.dimension)
        for k, period in enumerate(np.geomspace(*self.periods, planes) if planes else []):
            angle = 2 * math.pi * dt / period
            c, s = math.cos(angle), math.sin(angle)
            blocks[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[c, -s], [s, c]]
        return math.exp(-dt / self.timescale) * self._turn @ blocks @ self._turn.T

    def paths(self, seeds: Seeds, steps: int, dt: float) -> FloatArray:
        """Latents :math:`(n, D, T)`, from the stationary state."""
        out = np.empty((len(seeds), self.dimension, steps))
        # I - A A^T is a multiple of I, since A is a decay times a rotation
        noise = math.sqrt(-math.expm1(-2 * dt / self.timescale))
        a = np.ascontiguousarray(self.transition(dt))
        in_threads(lambda first, last: _linear_paths(first, last, seeds, a, noise, out), len(seeds), len(seeds))
        return out


@njit(nogil=True, cache=True)
def _linear_paths(first: int, last: int, seeds: Seeds, a: FloatArray, noise: float, out: FloatArray) -> None:
    dimension, steps = out.shape[1], out.shape[2]
    stream, z, new = np.empty(4, np.uint64), np.empty(dimension), np.empty(dimension)
    for row in range(first, last):
        start_stream(seeds[row], stream)
        for i in range(dimension):
            z[i] = normal(stream)
        for t in range(steps):
            for i in range(dimension):
                out[row, i, t] = z[i]
                new[i] = noise * normal(stream)
                for j in range(dimension):
                    new[i] += a[i, j] * z[j]
            z[:] = new
