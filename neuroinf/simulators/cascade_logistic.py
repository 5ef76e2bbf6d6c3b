r"""The logistic function of a row of numbers in compiled code, in single precision bit for bit as torch computes it.

torch's vectorised ``sigmoid`` is :math:`1 / (1 + e^{-x})` with the exponential function of the SLEEF library, whose
polynomial and order of fused operations are followed here, so that a network trained on either gives the same spikes.

Source:
    Shibata and Petrogalli (2020), IEEE Trans Parallel Distrib Syst 31:1316 (SLEEF, ``expf`` to 1.0 units in the last place).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from neuroinf.simulators.exponential import exponentials

Floats = NDArray[Any]

PER_LOG2 = np.float32(1.442695040888963407359924681001892137426645954152985934135449406931)
LOG2_HIGH, LOG2_LOW = np.float32(0.693145751953125), np.float32(1.428606765330187045e-06)
C1 = np.float32(0.000198527617612853646278381)
C2 = np.float32(0.00139304355252534151077271)
C3 = np.float32(0.00833336077630519866943359)
C4 = np.float32(0.0416664853692054748535156)
C5 = np.float32(0.166666671633720397949219)
C6, ONE = np.float32(0.5), np.float32(1.0)
LEAST, MOST = np.float32(-104.0), np.float32(100.0)
ROUNDING = np.float32(1.5 * 2**23)  # adding it rounds to an integer, which its lowest bits then hold
ROUNDING_BITS = 0x4B400000


def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c with one rounding, single precision."""

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), lower


fused: Any = intrinsic(_fused)  # a compiled function of three numbers: numba gives the context


def logistic(x: Floats, powers: Floats) -> None:
    """Replace each x by 1 / (1 + exp(-x)); `powers` is overwritten. Both contiguous, of one precision."""
    raise NotImplementedError("compiled code only")


@overload(logistic, jit_options={"error_model": "numpy"})
def _logistic(x: Any, powers: Any) -> Any:
    return _single if x.dtype == types.float32 else _double


def _double(x: Any, powers: Any) -> None:
    for r in range(x.size):
        x[r] = -x[r]
    exponentials(x, powers)
    for r in range(x.size):
        x[r] = 1.0 / (1.0 + x[r])


def _single(x: Any, powers: Any) -> None:
    bits = powers.view(np.int32)
    for r in range(x.size):
        y = -x[r]
        y = y if y > LEAST else LEAST
        y = y if y < MOST else MOST
        k = y * PER_LOG2 + ROUNDING
        powers[r] = k
        k -= ROUNDING
        s = fused(k, -LOG2_HIGH, y)
        s = fused(k, -LOG2_LOW, s)
        u = fused(C1, s, C2)
        u = fused(u, s, C3)
        u = fused(u, s, C4)
        u = fused(u, s, C5)
        u = fused(u, s, C6)
        x[r] = ONE + fused(s * s, u, s)
    for r in range(x.size):
        k = bits[r] - ROUNDING_BITS
        bits[r] = ((k >> 1) + 127) << 23
        # the power of two in two halves, as it may be smaller than any normal number
        x[r] *= powers[r]
        bits[r] = ((k - (k >> 1)) + 127) << 23
        x[r] *= powers[r]
    for r in range(x.size):
        x[r] = ONE / (ONE + x[r])


@njit(nogil=True, cache=True)
def logistic_of(x: Floats, powers: Floats) -> None:
    """:func:`logistic`, callable from Python."""
    logistic(x, powers)
