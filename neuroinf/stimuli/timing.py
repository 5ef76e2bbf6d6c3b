"""Durations on a stimulus' grid, and values that are fixed or drawn from a range."""

import math

import numpy as np

from neuroinf.errors import InputError

Range = float | tuple[float, float]
"""A fixed value, or [low, high]: uniform in between, drawn anew for each waveform."""


def steps(duration: float, dt: float) -> int:
    """Number of steps T of a waveform.

    Raises:
        InputError: if dt or the duration is not positive and finite, or the duration no whole number of steps.
    """
    if not (math.isfinite(dt) and dt > 0 and math.isfinite(duration) and duration > 0):
        raise InputError(f"a stimulus needs a positive duration and dt in ms, found duration {duration} and dt {dt}")
    n = round(duration / dt)
    if n < 1 or not math.isclose(n * dt, duration, rel_tol=1e-9):
        raise InputError(
            f"a stimulus' duration must be a whole number of steps, found duration {duration} ms, dt {dt} ms"
        )
    return n


def as_range(name: str, value: Range, least: float = -math.inf, most: float = math.inf) -> tuple[float, float]:
    """The two ends of a range, checked; a fixed value is a range of its own.

    Raises:
        InputError: if the range is reversed, not finite, or not within [least, most].
    """
    low, high = (value, value) if isinstance(value, int | float) else value
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"stimulus: {name} must be finite, found [{low}, {high}]")
    if low > high:
        raise InputError(f"stimulus: {name} must be a value or [low, high], found a reversed range [{low:g}, {high:g}]")
    if low < least or high > most:
        raise InputError(f"stimulus: {name} must lie within [{least:g}, {most:g}], found [{low:g}, {high:g}]")
    return float(low), float(high)


def draw(value: tuple[float, float], rng: np.random.Generator) -> float:
    """A number uniform in the range. One uniform is consumed whether or not the range is a single value."""
    return value[0] + (value[1] - value[0]) * rng.random()


def window(start: float, stop: float, dt: float, n: int) -> slice:
    """The samples of [start, stop), ms, edges rounded to the grid; at least one sample unless it lies outside."""
    first, last = round(start / dt), round(stop / dt)
    return slice(min(max(first, 0), n), min(max(last, first + 1, 0), n))
