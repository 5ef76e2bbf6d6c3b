"""Sizes of a waveform: a fixed value, a range, or a list of values to draw from."""

import math

import numpy as np

from neuroinf.errors import InputError
from neuroinf.stimuli.timing import as_range, draw

Amplitude = float | tuple[float, float] | dict[str, list[float]]
"""A value; [low, high], uniform in between; or {values: [...]}, each as likely. Drawn anew for each waveform."""


def as_amplitude(name: str, value: Amplitude) -> tuple[float, float] | dict[str, list[float]]:
    """The amplitude, checked; a fixed value is a range of its own.

    Raises:
        InputError: if a range is reversed, a list empty, or something not finite.
    """
    if not isinstance(value, dict):
        return as_range(name, value)
    if list(value) != ["values"] or not value["values"]:
        raise InputError(f"stimulus: {name} must be a value, [low, high] or {{values: [...]}}, found {value}")
    values = [float(each) for each in value["values"]]
    if not all(math.isfinite(each) for each in values):
        raise InputError(f"stimulus: {name} must be finite, found {values}")
    return {"values": values}


def draw_amplitude(value: tuple[float, float] | dict[str, list[float]], rng: np.random.Generator) -> float:
    """A number of the range or of the list. One uniform is consumed in any case."""
    if isinstance(value, dict):
        values = value["values"]
        return values[int(rng.random() * len(values))]
    return draw(value, rng)


def is_fixed(value: tuple[float, float] | dict[str, list[float]]) -> bool:
    """Whether all draws are the same."""
    return len(set(value["values"] if isinstance(value, dict) else value)) == 1
