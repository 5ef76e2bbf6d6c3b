"""Several stimuli at once, as rows of one waveform: observed inputs above hidden ones."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Stimulus, Unit

FloatArray = NDArray[np.float64]


class Stack:
    """The rows of all components, one component below the other.

    Args:
        components: Stimuli of the same unit, dt and duration.

    Raises:
        InputError: if there is none, or they differ in one of these.
    """

    def __init__(self, components: list[Stimulus]) -> None:
        if not components:
            raise InputError("Stack needs at least one component, found none")
        for name in ("unit", "dt", "duration"):
            values = [getattr(c, name) for c in components]
            if len(set(values)) > 1:
                raise InputError(f"Stack: all components must have the same {name}, found {values}")
        self.unit: Unit = components[0].unit
        self.dt, self.duration = components[0].dt, components[0].duration
        self.inputs = sum(c.inputs for c in components)
        self.frozen = all(c.frozen for c in components)
        self.components = list(components)

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, K the sum of the components' rows, in `unit`."""
        return np.concatenate([c.sample(rng) for c in self.components])
