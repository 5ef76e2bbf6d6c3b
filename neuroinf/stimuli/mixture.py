"""Stimuli made of others: one of several, or several at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Stimulus, Unit

FloatArray = NDArray[np.float64]


class Mixture:
    """Each waveform comes from one of the components, drawn by weight.

    Args:
        components: Stimuli of the same unit, dt, duration and number of inputs.
        weights: Relative frequency of each; None: all alike.

    Raises:
        InputError: if the components differ in one of these, or the weights are not one positive number for each.
    """

    def __init__(self, components: list[Stimulus], weights: list[float] | None = None) -> None:
        first = _first("Mixture", components)
        self.unit: Unit = first.unit
        self.dt, self.duration, self.inputs = first.dt, first.duration, first.inputs
        chosen = [1.0] * len(components) if weights is None else list(weights)
        if len(chosen) != len(components) or not (np.isfinite(chosen).all() and min(chosen) > 0):
            raise InputError(
                f"Mixture needs a positive weight for each of {len(components)} components, found {chosen}"
            )
        self.frozen = len(components) == 1 and components[0].frozen
        self.components, self.weights = list(components), chosen
        self._edges = np.cumsum(chosen) / np.sum(chosen)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, in `unit`."""
        index = int(np.searchsorted(self._edges[:-1], rng.random(), side="right"))
        return self.components[index].sample(rng)


class Sum:
    """Each waveform is the sum of one from every component, e.g. a test pulse before a noise.

    Args:
        components: Stimuli of the same unit, dt, duration and number of inputs.

    Raises:
        InputError: if the components differ in one of these.
    """

    def __init__(self, components: list[Stimulus]) -> None:
        first = _first("Sum", components)
        self.unit: Unit = first.unit
        self.dt, self.duration, self.inputs = first.dt, first.duration, first.inputs
        self.frozen = all(c.frozen for c in components)
        self.components = list(components)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, in `unit`."""
        return np.sum([c.sample(rng) for c in self.components], axis=0)


def _first(what: str, components: Sequence[Stimulus]) -> Stimulus:
    """The first component, after making sure that the others agree with it."""
    if not components:
        raise InputError(f"{what} needs at least one component, found none")
    for name in ("unit", "dt", "duration", "inputs"):
        values = [getattr(c, name) for c in components]
        if len(set(values)) > 1:
            raise InputError(f"{what}: all components must have the same {name}, found {values}")
    return components[0]
