"""Bases of temporal filters: raised cosines, alpha functions, single bins.

A filter is a weighted sum of its basis' functions, one weight each. Lag l stands for the time t = l dt, and the model
says which bin lag 0 is: the same bin for an input, the bin before for coupling and history.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]

# An alpha function has fallen to 10 exp(-9), a thousandth of its peak, at 10 tau, where Ujfalussy et al. cut it.
ALPHA_SUPPORT = 10.0
# Filters this long, in bins, are a mistake in a unit of time, and would fill the memory.
LONGEST = 1_000_000


@runtime_checkable
class Basis(Protocol):
    """J causal filters on bins: row j (L,) is the response of filter j at lags 0 to L - 1 bins.

    Attributes:
        size: J.
    """

    size: int

    # Any, for the reason given in neuroinf.simulators.protocol: a user's basis shall not have to repeat them
    def kernels(self, dt: Any) -> Any:
        """(J, L), dimensionless, for bins of dt ms."""
        ...


class RaisedCosines:
    r"""Overlapping bumps of a raised cosine, wider the later they are.

    .. math::
        B_j(t) = \tfrac12 + \tfrac12 \cos\left( \frac{\pi}{2}\, \frac{s(t) - \varphi_j}{\Delta} \right)
        \text{ where } |s(t) - \varphi_j| \le 2 \Delta, \text{ else } 0, \qquad s(t) = \log(t + c)

    with the peaks :math:`\varphi_j` evenly spaced by :math:`\Delta` from s(first) to s(last). Each has peak 1 (which
    may lie between two bins), and from the second peak to the last but one all of them add up to 2.

    Args:
        size: Number of functions J, at least 2.
        first: Time of the first peak, ms.
        last: Time of the last peak, ms. The last function ends at :math:`s^{-1}(s(last) + 2 \Delta)`.
        offset: c, ms, positive: the larger, the more evenly the peaks lie. None: evenly, s(t) = t.

    Raises:
        InputError: for a size below 2, a time that is negative or not finite, or first not before last.

    Source:
        Pillow et al. (2008), Nature 454:995, supplementary methods.
    """

    def __init__(self, size: int, first: float, last: float, offset: float | None = 1.0) -> None:
        self.size, self.first, self.last, self.offset = _whole("RaisedCosines size", size, 2), first, last, offset
        if not (_finite(first) and _finite(last) and 0 <= first < last):
            raise InputError(
                f"RaisedCosines: the first peak must not be negative and come before the last, "
                f"found first {first!r}, last {last!r} ms"
            )
        if offset is not None and not (_finite(offset) and offset > 0):
            raise InputError(f"RaisedCosines offset: expected a positive number of ms, or null, found {offset!r}")

    def kernels(self, dt: float) -> FloatArray:
        """:math:`(J, L)`, for bins of dt ms; L covers the last function."""
        _check_step(dt)
        c = self.offset
        first, last = (self.first, self.last) if c is None else (math.log(self.first + c), math.log(self.last + c))
        spacing = (last - first) / (self.size - 1)
        end = last + 2 * spacing if c is None else math.exp(last + 2 * spacing) - c
        t = _times(end, dt, "RaisedCosines")
        s = t if c is None else np.log(t + c)
        peaks = first + spacing * np.arange(self.size)
        phase = np.clip((s - peaks[:, None]) / spacing, -2.0, 2.0)
        return 0.5 + 0.5 * np.cos(0.5 * math.pi * phase)


class AlphaFunctions:
    r"""The time course of a synapse, one for each time constant, of peak 1.

    .. math:: B_j(t) = \frac{t}{\tau_j}\, e^{1 - t / \tau_j}, \qquad 0 \le t \le 10 \tau_j

    Its peak is at :math:`t = \tau_j`, its area :math:`e\, \tau_j`. Ujfalussy et al. write it without the factor e, with
    peak 1/e: a weight here is theirs divided by e. It is 0 at t = 0, so that coupling acts from the second bin on.

    Args:
        taus: Time constants, ms, positive.

    Raises:
        InputError: if there is none, or one is not positive.

    Source:
        Ujfalussy et al. (2018), Neuron 100:579.
    """

    def __init__(self, taus: list[float]) -> None:
        if isinstance(taus, str) or not isinstance(taus, Sequence) or not len(taus):
            raise InputError(f"AlphaFunctions taus: expected a list of time constants in ms, found {taus!r}")
        bad = [tau for tau in taus if not (_finite(tau) and tau > 0)]
        if bad:
            raise InputError(f"AlphaFunctions taus: expected positive numbers of ms, found {bad[0]!r}")
        self.taus, self.size = list(taus), len(taus)

    def kernels(self, dt: float) -> FloatArray:
        """:math:`(J, L)`, for bins of dt ms; L covers the slowest function."""
        _check_step(dt)
        tau = np.asarray(self.taus, np.float64)[:, None]
        t = _times(ALPHA_SUPPORT * float(tau.max()), dt, "AlphaFunctions")
        # the margin keeps a bin at exactly 10 tau in, whatever the rounding of l * dt
        return np.where(t <= ALPHA_SUPPORT * tau + 0.5e-9 * dt, t / tau * np.exp(1.0 - t / tau), 0.0)


class Taps:
    """Single bins: function j is 1 at lag j - 1 and 0 elsewhere, so that the weights are the filter itself.

    Args:
        size: Number of bins J.

    Raises:
        InputError: for a size below 1.
    """

    def __init__(self, size: int) -> None:
        self.size = _whole("Taps size", size, 1)

    def kernels(self, dt: float) -> FloatArray:
        """The identity :math:`(J, J)`, for bins of any length."""
        _check_step(dt)
        return np.eye(self.size)


def _times(end: float, dt: float, name: str) -> FloatArray:
    """The times of the bins from 0 to end, ms."""
    if end / dt > LONGEST:
        raise InputError(f"{name}: filters of {end:g} ms have more than {LONGEST:,} bins of {dt:g} ms; times are in ms")
    return dt * np.arange(math.floor(end / dt + 1e-9) + 1, dtype=np.float64)


def _finite(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, found {value!r}")
    return int(value)


def _check_step(dt: float) -> None:
    if not (_finite(dt) and dt > 0):
        raise InputError(f"dt: expected a positive number of ms, found {dt!r}")


__all__ = ["AlphaFunctions", "Basis", "RaisedCosines", "Taps"]
