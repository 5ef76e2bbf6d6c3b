"""Frozen noise: one draw of a random stimulus, the same for every neuron."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Stimulus, Unit

FloatArray = NDArray[np.float64]


class Frozen:
    """The waveform that a stimulus draws from a seed of its own, whoever asks: in training, in tests and on the rig.

    Args:
        component: What is drawn.
        seed: Of the draw.

    Raises:
        InputError: if the seed is negative.
    """

    frozen = True

    def __init__(self, component: Stimulus, seed: int = 0) -> None:
        if seed < 0:
            raise InputError(f"Frozen: seed must not be negative, found {seed}")
        self.unit: Unit = component.unit
        self.component, self.seed = component, seed
        self.dt, self.duration, self.inputs = component.dt, component.duration, component.inputs

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """The waveform :math:`(K, T)`, in `unit`; `rng` is not used."""
        return self.component.sample(np.random.default_rng(self.seed))
