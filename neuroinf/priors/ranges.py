"""Unit, edges and scale of one parameter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from neuroinf.errors import InputError

Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Parameter:
    """Range of one parameter, in its unit.

    Args:
        unit: Unit of `low` and `high`.
        low: Lower edge.
        high: Upper edge.
        scale: The parameter's own scale, on which it is uniform: its value or its logarithm.
    """

    unit: str
    low: float
    high: float
    scale: Scale = "linear"


class Range(Protocol):
    """What every kind of parameter has: a unit, two edges in that unit, and its own scale."""

    @property
    def unit(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def scale(self) -> Scale: ...


def check_range(name: str, p: Range) -> None:
    """Refuse a range that is reversed, empty, not finite, or not positive on a log scale."""
    where = f"prior range of {name}"
    if p.scale not in ("linear", "log"):
        raise InputError(f"{where}: scale must be linear or log, found {p.scale!r}")
    if not (math.isfinite(p.low) and math.isfinite(p.high)):
        raise InputError(f"{where} must be finite, found [{p.low}, {p.high}] {p.unit}")
    if p.low >= p.high:
        raise InputError(f"{where}: low must be below high, found low {p.low:g} and high {p.high:g} {p.unit}")
    if p.scale == "log" and p.low <= 0:
        raise InputError(f"{where}: a log scale needs low above 0, found {p.low:g} {p.unit}; use scale: linear")
