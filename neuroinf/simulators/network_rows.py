"""What simulations of a circuit have in common, neuron by neuron or population by population: time, input and output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.stimulus_samples import stimulus_samples

# a population that is refractory for more than about half of the time
SATURATION = 0.5


@dataclass(frozen=True)
class Timing:
    """Steps within bins.

    Args:
        step: Of the simulation, ms.
        burn_in: Time before the first bin, ms.

    Raises:
        InputError: if the step is not positive or the burn-in is negative.
    """

    step: float
    burn_in: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step) and self.step > 0):
            raise InputError(f"network step: expected a positive number of ms, found {self.step!r}")
        if not (math.isfinite(self.burn_in) and self.burn_in >= 0):
            raise InputError(f"network burn_in: expected a number of ms that is not negative, found {self.burn_in!r}")

    def of(self, dt: float) -> tuple[int, int]:
        """Steps in a bin of dt ms, and bins of burn-in, at least as long as asked for.

        Raises:
            InputError: if dt is no whole multiple of the step.
        """
        ratio = dt / self.step if isinstance(dt, int | float | np.number) else math.nan
        if not (math.isfinite(ratio) and round(ratio) >= 1 and abs(ratio - round(ratio)) < 1e-6 * ratio):
            raise InputError(f"dt: expected a whole multiple of the network's step of {self.step:g} ms, found {dt!r}")
        return round(ratio), math.ceil(self.burn_in / dt - 1e-9)


def steps_of(time: float, step: float) -> int:
    """The number of steps until a time has passed; a time on the grid is met exactly."""
    return math.ceil(time / step - 1e-6)


def recorded_groups(circuit: Circuit, recorded: int | Sequence[int]) -> NDArray[np.int64]:
    """Population of each recorded neuron (K,).

    Raises:
        InputError: if there are not one or M whole numbers from 0 to the populations' sizes, and one recorded neuron.
    """
    one = isinstance(recorded, int | np.integer)
    numbers = [recorded] * len(circuit.names) if one else list(recorded)
    whole = all(isinstance(number, int | np.integer) and not isinstance(number, bool) for number in numbers)
    if (
        not whole
        or len(numbers) != len(circuit.sizes)
        or any(not 0 <= number <= size for number, size in zip(numbers, circuit.sizes, strict=True))
        or not sum(numbers)
    ):
        raise InputError(
            f"network recorded: expected one whole number or {len(circuit.names)}, at least one neuron in all and of no "
            f"population more than {list(circuit.sizes)}, found {recorded!r}"
        )
    return np.repeat(np.arange(len(numbers)), numbers)


def network_stimulus(stimulus: ArrayLike, n: int, circuit: Circuit) -> tuple[NDArray[np.float64], int]:
    """External input (n or 1, M, T) and its number of bins.

    Raises:
        InputError: if it has another shape, no bin or a sample that is not finite.
    """
    meaning = f"the external input of the populations {', '.join(circuit.names)}"
    x = np.ascontiguousarray(stimulus_samples(stimulus, n, len(circuit.names), meaning), np.float64)
    if not x.shape[2]:
        raise InputError(f"stimulus: expected at least one bin, found shape {x.shape}")
    if not np.isfinite(x).all():
        row, line, t = np.argwhere(~np.isfinite(x))[0]
        raise InputError(f"stimulus row {row}: input {line + 1} must be finite, found {x[row, line, t]} in bin {t}")
    return np.require(x, requirements=("C", "W")), x.shape[2]


def spike_trains(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]], step: float
) -> dict[str, list[NDArray[np.float64]] | list[NDArray[np.int64]]]:
    """Steps and neurons of the spikes of each row as times in ms, in the middle of the step, and neurons."""
    # the middle, so that rounding cannot move a spike into a neighbouring bin
    return {
        "spikes": [step * (steps.astype(np.float64) + 0.5) for steps, _ in found],
        "units": [units for _, units in found],
    }


def saturated(rates: NDArray[np.float64], refractory: NDArray[np.int64], step: float) -> NDArray[np.bool_]:
    """Rows of rates (n, M, T), Hz, with a population whose mean is half of 1 / (refractory time + step) or more."""
    highest = 1000.0 / (step * (refractory + 1))
    return (rates.mean(2) >= SATURATION * highest).any(1)
