r"""Static nonlinearities of a cascade's subunits, and the derivative that stands in where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuroinf.errors import InputError
from neuroinf.simulators.cascade_filters import Number, Values

# Steepness of the surrogate derivative 1 / (beta |x - theta| + 1)^2 of a step.
SURROGATE = 10.0


@dataclass(frozen=True)
class Sigmoid:
    r""":math:`f(y) = g / (1 + e^{-(y - \mathrm{loc}) / w})`.

    The published demonstrations call w the "sensitivity", the published networks call its inverse so:
    :math:`g / (1 + e^{-s (y - \mathrm{threshold})})`. See :meth:`from_slope` and :meth:`slope`.

    Args:
        loc: Where f is half of its ceiling.
        width: w.
        gain: g, the ceiling.
    """

    loc: Number
    width: Number
    gain: Number = 1.0

    @classmethod
    def from_slope(cls, threshold: float, slope: float, gain: float = 1.0) -> Sigmoid:
        """The same function from the networks' threshold and slope.

        Raises:
            InputError: if the slope is not positive.
        """
        if not slope > 0:
            raise InputError(f"Sigmoid: slope must be positive, found {slope!r}")
        return cls(loc=threshold, width=1.0 / slope, gain=gain)

    @property
    def slope(self) -> float:
        """1 / w.

        Raises:
            InputError: if the width is a parameter's name.
        """
        if isinstance(self.width, str):
            raise InputError(f"Sigmoid: the width is the parameter {self.width!r}, not a number")
        return 1.0 / self.width

    def coefficients(self, value: Values, dt: float) -> tuple[Any, ...]:
        """loc, 1 / w, g."""
        return value(self.loc), 1.0 / value(self.width), value(self.gain)


@dataclass(frozen=True)
class Step:
    r""":math:`f(y) = h` where y reaches the threshold, else 0.

    Its derivative is taken to be :math:`h / (10 |y - \theta| + 1)^2`.

    Args:
        threshold: theta.
        height: h.
        strict: Whether y must exceed the threshold.
    """

    threshold: Number
    height: Number = 1.0
    strict: bool = False

    def coefficients(self, value: Values, dt: float) -> tuple[Any, ...]:
        """theta, h."""
        return value(self.threshold), value(self.height)


@dataclass(frozen=True)
class Pulse:
    r"""A pulse of height h that begins where y rises above the threshold and lasts for w, whatever y does meanwhile.

    A pulse covers the samples with :math:`0 \le t - t_{up} \le w`; a new crossing begins it anew. Its derivative is that
    of a step at its first sample, :math:`h / (10 |y_{t_{up}} - \theta| + 1)^2`.

    Args:
        threshold: theta.
        width: w, ms.
        height: h.
    """

    threshold: Number
    width: Number
    height: Number = 1.0

    def coefficients(self, value: Values, dt: float) -> tuple[Any, ...]:
        """theta, h, and w in steps."""
        return value(self.threshold), value(self.height), value(self.width) / dt


Nonlinearity = Sigmoid | Step | Pulse
NONLINEARITIES: dict[str, type[Nonlinearity]] = {"sigmoid": Sigmoid, "step": Step, "pulse": Pulse}
TERMS: dict[type, tuple[str, ...]] = {
    Sigmoid: ("loc", "slope", "gain"),
    Step: ("threshold", "height"),
    Pulse: ("threshold", "height", "steps"),
}
