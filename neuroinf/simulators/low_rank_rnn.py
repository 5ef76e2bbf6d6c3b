r"""A recurrent network of low rank as the source of a population's latents."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.glm_draws import normal, start_stream
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
Seeds = NDArray[np.uint64]

# steps of the integration in a time constant, and time constants until the start is forgotten
STEPS_PER_TIMESCALE, APPROACH = 10, 30
# of the run that finds the moments
MOMENT_ROWS, MOMENT_SAMPLES = 256, 50


class LowRankRNN:
    r"""H rate units with recurrent weights of rank R, driven by noise within their own latent space.

    .. math::
        \tau\, d\kappa = \Bigl(-\kappa + \frac{1}{H} N^T \tanh(M \kappa)\Bigr) dt + s \sqrt{2 \tau}\, dW, \qquad x = M \kappa

    which is the network :math:`\tau \dot x = -x + \frac{1}{H} M N^T \tanh(x)` once x lies in the span of M. M is Gaussian
    :math:`(H, R)`, and :math:`N = M G^T` with G the gain g times rotations of :math:`\lfloor R / 2 \rfloor` planes by angles from
    0.2 to 0.6, and for odd R one axis without rotation. With g > 1 rest is unstable and the planes turn in noisy
    limit cycles. The latents are the standardised :math:`\kappa`: of dimension R exactly.

    Args:
        rank: R.
        units: H.
        timescale: :math:`\tau`, ms.
        gain: g.
        noise: s.
        seed: Of M.

    Raises:
        InputError: if a number is out of its range.

    Source:
        Mastrogiuseppe and Ostojic (2018), Neuron 99:609.
    """

    def __init__(
        self,
        rank: int = 2,
        units: int = 200,
        timescale: float = 50.0,
        gain: float = 2.0,
        noise: float = 0.3,
        seed: int = 0,
    ) -> None:
        if rank < 1 or units < 2 * rank or seed < 0:
            raise InputError(
                f"LowRankRNN: expected rank at least 1, units at least twice the rank and seed at least 0, found {rank}, {units} "
                f"and {seed}"
            )
        for name, value in (("timescale", timescale), ("gain", gain), ("noise", noise)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"LowRankRNN: {name} must be positive, found {value}")
        self.rank, self.units, self.timescale, self.gain, self.noise, self.seed = (
            rank,
            units,
            timescale,
            gain,
            noise,
            seed,
        )
        self.dimension = rank
        self._m = np.random.default_rng(seed).standard_normal((units, rank))
        self._n = np.ascontiguousarray(self._m @ _rotations(rank, gain).T / units)

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        seeds = np.arange(MOMENT_ROWS, dtype=np.uint64)
        found = self._run(seeds, MOMENT_SAMPLES, 3 * self.timescale).transpose(1, 0, 2).reshape(self.rank, -1)
        covariance = np.atleast_2d(np.cov(found))
        sd = np.sqrt(np.diag(covariance))
        return found.mean(1), sd, covariance / np.outer(sd, sd)

    @property
    def covariance(self) -> FloatArray:
        """Of the latents in the stationary state (R, R)."""
        return self._moments[2]

    def paths(self, seeds: Seeds, steps: int, dt: float) -> FloatArray:
        """Latents :math:`(n, R, T)`, from the stationary state."""
        mean, sd, _ = self._moments
        return (self._run(seeds, steps, dt) - mean[:, None]) / sd[:, None]

    def _run(self, seeds: Seeds, steps: int, dt: float) -> FloatArray:
        out = np.empty((len(seeds), self.rank, steps))
        every = max(1, math.ceil(dt / self.timescale * STEPS_PER_TIMESCALE - 1e-9))
        h = dt / self.timescale / every
        kick = self.noise * math.sqrt(2 * h)
        approach = APPROACH * max(1, round(1 / h))

        def rows(first: int, last: int) -> None:
            _network_paths(first, last, seeds, self._m, self._n, h, every, kick, approach, out)

        in_threads(rows, len(seeds), len(seeds))
        return out


def _rotations(rank: int, gain: float) -> FloatArray:
    g = np.eye(rank)
    planes = rank // 2
    for k, angle in enumerate(np.linspace(0.2, 0.6, planes) if planes > 1 else [0.4] * planes):
        c, s = math.cos(angle), math.sin(angle)
        g[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[c, -s], [s, c]]
    return gain * g


@njit(nogil=True, cache=True)
def _advance(
    z: FloatArray, new: FloatArray, m: FloatArray, n: FloatArray, h: float, kick: float, stream: Seeds
) -> None:
    rank = len(z)
    for i in range(rank):
        new[i] = (1.0 - h) * z[i] + kick * normal(stream)
    for unit in range(m.shape[0]):
        x = 0.0
        for i in range(rank):
            x += m[unit, i] * z[i]
        f = h * math.tanh(x)
        for i in range(rank):
            new[i] += n[unit, i] * f
    for i in range(rank):
        z[i] = new[i]


@njit(nogil=True, cache=True)
def _network_paths(
    first: int,
    last: int,
    seeds: Seeds,
    m: FloatArray,
    n: FloatArray,
    h: float,
    every: int,
    kick: float,
    approach: int,
    out: FloatArray,
) -> None:
    rank = m.shape[1]
    stream, z, new = np.empty(4, np.uint64), np.empty(rank), np.empty(rank)
    for row in range(first, last):
        start_stream(seeds[row], stream)
        for i in range(rank):
            z[i] = normal(stream)
        for _ in range(approach):
            _advance(z, new, m, n, h, kick, stream)
        for t in range(out.shape[2]):
            for i in range(rank):
                out[row, i, t] = z[i]
            for _ in range(every):
                _advance(z, new, m, n, h, kick, stream)
