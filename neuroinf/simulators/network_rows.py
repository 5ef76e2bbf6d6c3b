"""What simulations of a circuit have in common, neuron by neuron or population by population: time, input and output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.glm_draws import start_stream
from neuroinf.simulators.seeds import row_seeds
from neuroinf.simulators.stimulus_samples import stimulus_samples
from neuroinf.simulators.threads import in_threads

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# what both kernels take first: a, weights, mu, theta, synapse; refractory, sizes, recorded; stimulus, lead, per_bin, step
Given = tuple[Floats, Floats, Floats, Floats, Floats, Integers, Integers, Integers, Floats, int, int, float]

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


def recorded_groups(circuit: Circuit, recorded: int | Sequence[int]) -> Integers:
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


def network_stimulus(stimulus: ArrayLike, n: int, circuit: Circuit) -> tuple[Floats, int]:
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


def spike_trains(found: list[tuple[Integers, Integers]], step: float) -> dict[str, list[Floats] | list[Integers]]:
    """Steps and neurons of the spikes of each row as times in ms, in the middle of the step, and neurons."""
    # the middle, so that rounding cannot move a spike into a neighbouring bin
    return {
        "spikes": [step * (steps.astype(np.float64) + 0.5) for steps, _ in found],
        "units": [units for _, units in found],
    }


class NetworkRows:
    """What the kernels of a batch of circuits are given, row by row.

    Args:
        circuit: Populations, wiring and parameters.
        groups: Population of each recorded neuron (K,).
        timing: Steps within bins.
        theta: Free parameters :math:`(n, P)`.
        stimulus: External input of each population :math:`(n, M, T)` or :math:`(1, M, T)`, voltage per s.
        dt: Length of a bin, ms.
        seed: n numbers below 2^64, or one, from which row i's is made.

    Attributes:
        shape: Of what is known in each bin of each population, (n, M, T).
        sizes: Neurons of each population (M,).

    Raises:
        InputError: for a wrong shape or an impossible value.
    """

    def __init__(
        self,
        circuit: Circuit,
        groups: Integers,
        timing: Timing,
        theta: ArrayLike,
        stimulus: ArrayLike,
        dt: float,
        seed: int | Sequence[int],
    ) -> None:
        self._couplings = circuit.couplings(theta)
        n, populations = len(self._couplings.a), len(circuit.names)
        self._stimulus, bins = network_stimulus(stimulus, n, circuit)
        self.shape = n, populations, bins
        self._per_bin, self._lead = timing.of(dt)
        self._seeds = row_seeds(seed, n)
        self._step = timing.step
        self.sizes: Integers = np.asarray(circuit.sizes, np.int64)
        self._refractory = np.array([steps_of(time, timing.step) for time in circuit.refractory])
        self._synapse = np.asarray(circuit.synapse) / 1000.0
        self._recorded = np.bincount(groups, minlength=populations).astype(np.int64)

    def simulate(
        self, kernel: Callable[[int, Given, NDArray[np.uint64], Integers, Integers], int]
    ) -> dict[str, list[Floats] | list[Integers]]:
        """Spikes of every row; rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            kernel: Called with a row's number; the first arguments of the kernels; its stream of random numbers; and space for
                the step and the neuron of each recorded spike. Returns their number, and keeps what else it finds.

        Returns:
            ``"spikes"`` and ``"units"``, see :func:`spike_trains`.
        """
        n, _, bins = self.shape
        # no neuron spikes more often than once in a refractory time and a step
        room = int((self._recorded * (bins * self._per_bin // (self._refractory + 1) + 1)).sum())

        def simulate_rows(first: int, last: int) -> list[tuple[Integers, Integers]]:
            found, stream = [], np.empty(4, np.uint64)
            when, which = np.empty(room, np.int64), np.empty(room, np.int64)
            for row in range(first, last):
                start_stream(self._seeds[row], stream)
                spikes = kernel(row, self._given(row), stream, when, which)
                found.append((when[:spikes].copy(), which[:spikes].copy()))
            return found

        pieces = in_threads(simulate_rows, n, n)
        return spike_trains([row for piece in pieces for row in piece], self._step)

    def saturated(self, rates: Floats) -> NDArray[np.bool_]:
        """Rows of rates (n, M, T), Hz, with a population whose mean is half of 1 / (refractory time + step) or more."""
        highest = 1000.0 / (self._step * (self._refractory + 1))
        return (rates.mean(2) >= SATURATION * highest).any(1)

    def _given(self, row: int) -> Given:
        couplings = self._couplings
        return (
            couplings.a[row],
            couplings.weights[row],
            couplings.mu[row],
            couplings.theta[row],
            self._synapse,
            self._refractory,
            self.sizes,
            self._recorded,
            self._stimulus[row if len(self._stimulus) > 1 else 0],
            self._lead,
            self._per_bin,
            self._step / 1000.0,
        )
