r"""Lorenz' and Roessler's attractors as latents: Runge-Kutta of fourth order, then standardised."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.glm_draws import normal, start_stream, uniform
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
Seeds = NDArray[np.uint64]
Constants = tuple[float, float, float]

LORENZ, ROESSLER = 0, 1
# largest step, in the flow's own time: against scipy's DOP853 the error after one turn is below 1e-5 of the attractor's size
STEP = (0.005, 0.02)
# until a start near the attractor's middle has come onto it, in the flow's own time
APPROACH = (20.0, 150.0)
# rows and samples of the run that finds the moments, and its samples' distance in the flow's own time: about 80,000 turns
MOMENT_ROWS, MOMENT_SAMPLES, MOMENT_STEP = 256, 400, (0.6, 4.0)


class _Flow:
    """A flow of three latents; `period` ms last as long as `turn` of the flow's own time."""

    dimension = 3
    kind: int
    turn: float

    def __init__(self, period: float, constants: Constants) -> None:
        name = type(self).__name__
        if not (math.isfinite(period) and period > 0):
            raise InputError(f"{name}: period must be positive, ms, found {period}")
        if not all(math.isfinite(value) and value > 0 for value in constants):
            raise InputError(f"{name}: the flow's constants must be positive, found {list(constants)}")
        self.period, self._constants = period, constants
        self.mean, self.sd, self.covariance = _moments(self.kind, constants)
        if not (np.isfinite(self.covariance).all() and (self.sd > 1e-2).all()):
            raise InputError(f"{name}: with the constants {list(constants)} the flow comes to rest or runs away")

    def paths(self, seeds: Seeds, steps: int, dt: float) -> FloatArray:
        """Latents :math:`(n, 3, T)`, each path from a start of its own on the attractor."""
        out = _run(self.kind, self._constants, seeds, steps, dt / self.period * self.turn, self.turn)
        out -= self.mean[:, None]
        out /= self.sd[:, None]
        return out


class Lorenz(_Flow):
    r"""Lorenz' attractor, its three variables standardised.

    .. math:: \dot x = \sigma (y - x), \qquad \dot y = x (\rho - z) - y, \qquad \dot z = x y - \beta z

    Args:
        period: How many ms 1.5008 of the flow's own time last: the period that Gilpin's collection gives, two turns around
            a wing. The Lyapunov time is 0.736 periods.
        sigma, rho, beta: The flow's constants.

    Raises:
        InputError: if a number is not positive, or the flow comes to rest or runs away.

    Source:
        Lorenz (1963), J Atmos Sci 20:130; Gilpin (2021), Chaos as an interpretable benchmark, arXiv:2110.05266.
    """

    kind = LORENZ
    turn = 1.5008

    def __init__(self, period: float = 1000.0, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3) -> None:
        self.sigma, self.rho, self.beta = sigma, rho, beta
        super().__init__(period, (sigma, rho, beta))


class Roessler(_Flow):
    r"""Roessler's attractor, its three variables standardised.

    .. math:: \dot x = -y - z, \qquad \dot y = x + a y, \qquad \dot z = b + z (x - c)

    Args:
        period: Mean duration of a turn, ms.
        a, b, c: The flow's constants.

    Raises:
        InputError: if a number is not positive, or the flow comes to rest or runs away.

    Source:
        Roessler (1976), Phys Lett A 57:397.
    """

    kind = ROESSLER
    turn = 5.881

    def __init__(self, period: float = 1000.0, a: float = 0.2, b: float = 0.2, c: float = 5.7) -> None:
        self.a, self.b, self.c = a, b, c
        super().__init__(period, (a, b, c))


def _run(kind: int, constants: Constants, seeds: Seeds, steps: int, interval: float, turn: float) -> FloatArray:
    """Paths (n, 3, T), `interval` of the flow's own time apart, not standardised."""
    out = np.empty((len(seeds), 3, steps))
    every = max(1, math.ceil(interval / STEP[kind] - 1e-9))
    values = np.array(constants)

    def rows(first: int, last: int) -> None:
        _flow_paths(first, last, seeds, kind, values, interval / every, every, STEP[kind], APPROACH[kind], turn, out)

    in_threads(rows, len(seeds), len(seeds))
    return out


@lru_cache(maxsize=32)
def _moments(kind: int, constants: Constants) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean (3,), standard deviation (3,) and correlation (3, 3) on the attractor."""
    seeds = np.arange(MOMENT_ROWS, dtype=np.uint64)
    with np.errstate(all="ignore"):
        found = _run(kind, constants, seeds, MOMENT_SAMPLES, MOMENT_STEP[kind], 1.0).transpose(1, 0, 2).reshape(3, -1)
        return found.mean(1), found.std(1), np.corrcoef(found)


@njit(nogil=True, cache=True)
def _slope(kind: int, c: FloatArray, u: FloatArray, du: FloatArray) -> None:
    if kind == LORENZ:
        du[0] = c[0] * (u[1] - u[0])
        du[1] = u[0] * (c[1] - u[2]) - u[1]
        du[2] = u[0] * u[1] - c[2] * u[2]
    else:
        du[0] = -u[1] - u[2]
        du[1] = u[0] + c[0] * u[1]
        du[2] = c[1] + u[2] * (u[0] - c[2])


@njit(nogil=True, cache=True)
def runge_kutta(kind: int, c: FloatArray, u: FloatArray, h: float, times: int, k: FloatArray) -> None:
    """Take `times` steps of h from the state u (3,), in place; k (5, 3) is room to work in."""
    for _ in range(times):
        _slope(kind, c, u, k[0])
        for i in range(3):
            k[4, i] = u[i] + 0.5 * h * k[0, i]
        _slope(kind, c, k[4], k[1])
        for i in range(3):
            k[4, i] = u[i] + 0.5 * h * k[1, i]
        _slope(kind, c, k[4], k[2])
        for i in range(3):
            k[4, i] = u[i] + h * k[2, i]
        _slope(kind, c, k[4], k[3])
        for i in range(3):
            u[i] += h / 6.0 * (k[0, i] + 2.0 * k[1, i] + 2.0 * k[2, i] + k[3, i])


@njit(nogil=True, cache=True)
def _flow_paths(
    first: int,
    last: int,
    seeds: Seeds,
    kind: int,
    c: FloatArray,
    h: float,
    every: int,
    step: float,
    approach: float,
    turn: float,
    out: FloatArray,
) -> None:
    stream, u, k = np.empty(4, np.uint64), np.empty(3), np.empty((5, 3))
    for row in range(first, last):
        start_stream(seeds[row], stream)
        for i in range(3):
            u[i] = 1.0 + 0.5 * normal(stream)
        # Roessler's phase hardly diffuses: the duration of the approach makes it uniform
        runge_kutta(kind, c, u, step, int((approach + turn * uniform(stream)) / step), k)
        for t in range(out.shape[2]):
            for i in range(3):
                out[row, i, t] = u[i]
            runge_kutta(kind, c, u, h, every, k)
