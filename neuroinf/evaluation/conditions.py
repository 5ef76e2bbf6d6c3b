"""Under which noise, without which channels and for how long test neurons are observed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.held_out import HeldOut

# noise levels of the comparison, mV; the first is the one that metrics.json reports
NOISE = (0.5, 0.0, 0.1, 2.0)
# and of channels in other units, relative to the noise in training
RELATIVE_NOISE = (1.0, 0.0, 4.0)
# longest over shortest duration in training, from which on they are conditions of their own
WIDE = 10


def conditions_of(test: HeldOut, noise: Sequence[float] | None) -> list[Condition]:
    """Every noise level, at the first one each channel missing in turn; each of them again for the other durations.

    A network that was trained on stretches of very different duration is compared at the shortest, at the longest and, first,
    at the one between them on a logarithmic scale.
    """
    channel = next(iter(test.observation.noise), None)
    if channel is None:
        levels = [Condition("as trained", {})]
    else:
        unit = test.file.channels.get(channel, "")
        if noise is None and unit != "mV":
            levels = _relative_noise(test)
        else:
            levels = [Condition(f"{level:g} {unit} noise", {channel: level}) for level in dict.fromkeys(noise or NOISE)]
    first = levels[0]
    absent = [c for c in test.observation.missing if c in test.observation.channels]
    levels += [Condition(f"{first.name}, no {c}", first.noise, (c,)) for c in absent]
    stretches = _durations(test)
    if not stretches:
        return levels
    middle, *others = (
        [dataclasses.replace(c, name=f"{c.name}, {duration:g} ms", duration=duration) for c in levels]
        for duration in stretches
    )
    return middle + [conditions[0] for conditions in others]


def _relative_noise(test: HeldOut) -> list[Condition]:
    """Multiples of the noise in training, the middle of a range on a logarithmic scale, in all channels that had any."""
    trained = {
        name: math.exp(np.log(np.maximum(level, 1e-300)).mean()) for name, level in test.observation.noise.items()
    }
    return [
        Condition(f"{factor:g} times the training noise", {name: factor * level for name, level in trained.items()})
        for factor in RELATIVE_NOISE
    ]


def _durations(test: HeldOut) -> list[float]:
    """Middle, shortest and longest duration, ms; none if the network was trained on one, or on much the same."""
    if test.observation.duration is None:
        return []
    dt = test.observation.dt
    low, high = (min(duration, test.duration) for duration in test.observation.duration)
    if high < WIDE * low:
        return []
    return [dt * round(duration / dt) for duration in (math.sqrt(low * high), low, high)]
