"""Weighted Poisson trains: what synapses of known weight carry to each compartment."""

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.protocol import Unit
from neuroinf.stimuli.shape import shape
from neuroinf.stimuli.timing import Range, as_range

FloatArray = NDArray[np.float64]


class WeightedTrains:
    r"""A Poisson train for each input, times its weight.

    .. math:: x_{it} = w_i n_{it}, \qquad n_{it} \sim \mathrm{Poisson}(r_i\, dt)

    with rate and weight drawn log-uniformly for each input of each waveform.

    Args:
        duration: ms.
        weights: Of each input, in `unit`: a value or [low, high].
        rates: Of each input, Hz: a value or [low, high].
        dt: Step, ms.
        unit: Unit of `weights`.

    Raises:
        InputError: if a range is reversed or not positive, or there is not a rate for each weight.
    """

    frozen = False

    def __init__(
        self, duration: float, weights: list[Range], rates: list[Range], dt: float = 1.0, unit: Unit = "1"
    ) -> None:
        self.unit: Unit = unit
        self.duration, self.dt = duration, dt
        if len(weights) != len(rates):
            raise InputError(f"WeightedTrains: expected a rate for each weight, found {len(rates)} for {len(weights)}")
        self._shape = shape(len(weights), duration, dt)
        self.inputs = len(weights)
        self.weights = [as_range("weights", each, least=1e-9) for each in weights]
        self.rates = [as_range("rates", each, least=1e-9) for each in rates]

    def sample(self, rng: np.random.Generator) -> FloatArray:
        """One waveform :math:`(K, T)`, in `unit`."""
        rates, weights = _log_uniform(self.rates, rng), _log_uniform(self.weights, rng)
        return weights[:, None] * rng.poisson(1e-3 * self.dt * rates[:, None], self._shape)


def _log_uniform(ranges: list[tuple[float, float]], rng: np.random.Generator) -> FloatArray:
    low, high = np.log(np.array(ranges)).T
    return np.exp(low + (high - low) * rng.random(len(ranges)))
