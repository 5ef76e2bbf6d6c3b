r"""Filters of a cascade's subunits: first-order recursions, exact at the steps.

.. math:: y_t = a\, y_{t-1} + b_0 x_t + b_1 x_{t-1} - b_N x_{t-N}

A truncated exponential is one too: the last term takes out what leaves the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from neuroinf.errors import InputError

Number = float | str
"""A value, or the name of a parameter (with a leading minus: its negative)."""
Values = Callable[[Number], Any]
"""Gives the value of a number: an array or tensor of shape () or (n,)."""
Exp = Callable[[Any], Any]
Normalise = Literal["whole", "before", "after"]
# a, b_0, b_1, b_N
TAPS = ("a", "b0", "b1", "bN")


@dataclass(frozen=True)
class Exponential:
    r"""An exponential kernel :math:`k_j = e^{-j\,dt/\tau} / \sum_i e^{-i\,dt/\tau}`, j from 0 to N - 1.

    Args:
        tau: ms.
        length: N dt, ms; None: without end.
        normalise: ``whole``: as above; ``before``: then :math:`k_0 := 0`, so that the sum is below 1; ``after``:
            :math:`k_0 := 0` first, so that it is 1.
        scale: Factor of the kernel.
        first: What :math:`k_0` is set to at last, scale included; None: it stays.
    """

    tau: Number
    length: float | None = None
    normalise: Normalise = "whole"
    scale: Number = 1.0
    first: Number | None = None

    def check(self, where: str) -> None:
        """Raise an InputError if the kernel is impossible."""
        if self.normalise not in get_args(Normalise):
            raise InputError(
                f"{where}: normalise must be one of {', '.join(get_args(Normalise))}, found {self.normalise!r}"
            )
        if self.length is not None and not (_is_number(self.length) and 0 < self.length < math.inf):
            raise InputError(f"{where}: length must be a positive number of ms or null, found {self.length!r}")

    def taps(self, dt: float) -> int:
        """N; 0 if the kernel has no end."""
        if self.length is None:
            return 0
        number = round(self.length / dt)
        if number < 2:
            raise InputError(
                f"a kernel of {self.length:g} ms has less than two steps of {dt:g} ms: use a longer kernel, or a smaller dt"
            )
        return number

    def coefficients(self, value: Values, dt: float, exp: Exp) -> tuple[Any, Any, Any, Any]:
        """a, b_0, b_1 and b_N; None for a term that is not there."""
        a, taps = exp(-dt / value(self.tau)), self.taps(dt)
        total = (1 - a**taps if taps else 1) / (1 - a)  # of all exponentials, the first of which is 1
        unit = value(self.scale) / (total - 1 if self.normalise == "after" else total)
        end = unit * a**taps if taps else None
        if self.first is None:
            return (a, unit, None, end) if self.normalise == "whole" else (a, None, unit * a, end)
        first = value(self.first)
        return a, first, a * (unit - first), end


@dataclass(frozen=True)
class Held:
    r"""A membrane whose input is held during each step: :math:`y_t = a y_{t-1} + (1 - a) x_{t-1}`, :math:`a = e^{-dt/\tau}`.

    Args:
        tau: ms.
    """

    tau: Number

    def check(self, where: str) -> None:
        """Nothing but the time constant can be wrong."""

    def taps(self, dt: float) -> int:
        """0: the kernel has no end."""
        return 0

    def coefficients(self, value: Values, dt: float, exp: Exp) -> tuple[Any, Any, Any, Any]:
        """a and b_1."""
        a = exp(-dt / value(self.tau))
        return a, None, 1 - a, None


@dataclass(frozen=True)
class Leak:
    r"""A leaky sum that is not normalised: :math:`y_t = a y_{t-1} + x_t`.

    What the subunit itself feeds back (a reset) is added after the rest of its drive.

    Args:
        tau: ms.
    """

    tau: Number

    def check(self, where: str) -> None:
        """Nothing but the time constant can be wrong."""

    def taps(self, dt: float) -> int:
        """0: the kernel has no end."""
        return 0

    def coefficients(self, value: Values, dt: float, exp: Exp) -> tuple[Any, Any, Any, Any]:
        """a alone."""
        return exp(-dt / value(self.tau)), None, None, None


Filter = Exponential | Held | Leak
FILTERS: dict[str, type[Filter]] = {"exponential": Exponential, "held": Held, "leak": Leak}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
