r"""Circuits of homogeneous populations of escape-noise integrate-and-fire neurons: which there are and how they are wired.

Neuron i of population m has the voltage u, in units of its escape noise, reset to 0 at a spike and held there for the
refractory time; the hazard of a spike and the input, the same for all neurons of a population, are

.. math::
    \dot u_i = a_m (\mu_m - u_i) + h_m(t), \qquad \lambda_i = e^{u_i - \vartheta_m} \text{ Hz}, \qquad
    h_m(t) = \sum_k J_k C_{km} I_k(t) + I_{ext,m}(t), \qquad \dot I_k = (A_k - I_k) / \tau_k

with A the population rate, Hz. A spike of one neuron of k adds :math:`J_k C_{km} / N_k` to each voltage of m in total.
The time constant of the membrane is given by its inverse a, in 1/s, as the published study has it; a = 50 is 20 ms.

Source:
    Wang, Schmutz, Bellec and Gerstner 2022, NeurIPS (neuLVM); the winner-take-all circuit is that of Schwalger, Deger and
    Gerstner 2017, PLoS Comput Biol 13(4):e1005507, figure 7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]

UNITS = {"a": "1/s", "J": "1", "mu": "1", "theta": "1"}


@dataclass(frozen=True)
class Couplings:
    """Parameters of n circuits of M populations.

    Attributes:
        a: Inverse membrane time constant :math:`(n, M)`, 1/s.
        weights: J C of source and target :math:`(n, M, M)`.
        mu: Resting voltage :math:`(n, M)`.
        theta: Threshold :math:`(n, M)`.
    """

    a: FloatArray
    weights: FloatArray
    mu: FloatArray
    theta: FloatArray


class Circuit:
    """Populations, their sizes and wiring, and the values of their parameters; some of these are free.

    Args:
        names: Of the M populations.
        sizes: Neurons of each.
        connections: C, a row for each source with a column for each target; negative where the source inhibits.
        a: Inverse of the membrane time constant, 1/s, of each population.
        J: Coupling strength of each source population; its sign is in the connections.
        mu: Resting voltage of each.
        theta: Threshold of each.
        synapse: Synaptic time constant of each source, ms.
        refractory: Refractory time of each, ms.
        free: Names of the free parameters, such as ``J_E1``; None: all 4 M of them.

    Attributes:
        parameters: The free parameters, a of all populations, then J, mu and theta.
        units: Their units.

    Raises:
        InputError: if the numbers of populations differ, or a value is impossible.

    Example:
        >>> Circuit(names=["E"], sizes=[400], connections=[[1]], free=["J_E", "mu_E"]).parameters
        ('J_E', 'mu_E')
    """

    def __init__(
        self,
        names: Sequence[str] = ("E1", "E2", "I"),
        sizes: Sequence[int] = (400, 400, 200),
        connections: Sequence[Sequence[float]] = ((1, 0, 1), (0, 1, 1), (-1, -1, -1)),
        a: float | Sequence[float] = 50.0,
        J: float | Sequence[float] = 9.984,
        mu: float | Sequence[float] = 14.4,
        theta: float | Sequence[float] = 3.697414907005954,
        synapse: float | Sequence[float] = 3.0,
        refractory: float | Sequence[float] = 4.0,
        free: Sequence[str] | None = None,
    ) -> None:
        self.names, self.sizes = tuple(names), tuple(sizes)
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"Circuit names: expected different names, found {list(names)}")
        if len(self.sizes) != len(self.names) or any(
            isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1 for size in self.sizes
        ):
            raise InputError(f"Circuit sizes: expected {len(self.names)} whole numbers from 1, found {list(sizes)}")
        self.connections = tuple(tuple(float(value) for value in row) for row in connections)
        square = (len(self.names),) * 2
        if {len(row) for row in self.connections} != {square[1]} or len(self.connections) != square[0]:
            raise InputError(
                f"Circuit connections: expected a row of {square[1]} for each of {square[0]} populations, found {connections}"
            )
        if not np.isfinite(self.connections).all():
            raise InputError(f"Circuit connections: expected finite numbers, found {connections}")
        self.a, self.J = self._each("a", a, above=0.0), self._each("J", J)
        self.mu, self.theta = self._each("mu", mu), self._each("theta", theta)
        self.synapse = self._each("synapse", synapse, above=0.0)
        self.refractory = self._each("refractory", refractory, least=0.0)
        every = [f"{symbol}_{name}" for symbol in UNITS for name in self.names]
        self.free = None if free is None else tuple(free)
        unknown = sorted(set(self.free or ()) - set(every))
        if unknown or (self.free is not None and not self.free):
            raise InputError(f"Circuit free: expected some of {every}, found {unknown or list(self.free or ())}")
        self.parameters: tuple[str, ...] = tuple(name for name in every if self.free is None or name in self.free)
        self.units: tuple[str, ...] = tuple(UNITS[name.split("_", 1)[0]] for name in self.parameters)
        self._every = every

    def _each(
        self, name: str, given: float | Sequence[float], least: float = -np.inf, above: float = -np.inf
    ) -> tuple[float, ...]:
        values = np.ravel(np.asarray(given, np.float64))
        if values.size == 1:
            values = np.repeat(values, len(self.names))
        if values.size != len(self.names) or not np.isfinite(values).all():
            raise InputError(f"Circuit {name}: expected one finite number or {len(self.names)}, found {given}")
        if (values < least).any() or (values <= above).any():
            bound = f"at least {least:g}" if least > above else f"above {above:g}"
            raise InputError(f"Circuit {name}: expected numbers {bound}, found {given}")
        return tuple(values.tolist())

    @property
    def truth(self) -> FloatArray:
        """The circuit's own values of the free parameters (P,)."""
        values = np.concatenate([self.a, self.J, self.mu, self.theta])
        return values[[self._every.index(name) for name in self.parameters]]

    def check_limits(self, low: Mapping[str, float], inputs: int) -> None:
        """Refuse a prior whose lower edges no circuit can have, or a stimulus of other populations.

        Raises:
            InputError: for a lower edge of an a that is not above 0, or inputs that are not one for each population.
        """
        for name, value in low.items():
            if name.startswith("a_") and math.isfinite(value) and value <= 0:
                raise InputError(f"prior of {name}: expected a lower edge above 0 1/s, found {value:g}")
        if inputs != len(self.names):
            raise InputError(
                f"the stimulus has {inputs} inputs, expected one for each of the populations {', '.join(self.names)}"
            )

    def couplings(self, theta: ArrayLike) -> Couplings:
        """Parameters of each circuit, from values of the free ones :math:`(n, P)`; the others are the circuit's own.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        try:
            given = np.asarray(theta, np.float64)
        except (TypeError, ValueError) as problem:
            raise InputError(f"theta: expected numbers, one row per circuit: {problem}") from None
        if given.ndim != 2 or given.shape[1] != len(self.parameters):
            raise InputError(
                f"theta: expected shape (n, {len(self.parameters)}) with columns {', '.join(self.parameters)}, "
                f"found shape {given.shape}"
            )
        if not np.isfinite(given).all():
            row, column = np.argwhere(~np.isfinite(given))[0]
            raise InputError(f"theta row {row}: {self.parameters[column]} must be finite, found {given[row, column]}")
        own = np.concatenate([self.a, self.J, self.mu, self.theta])
        values = np.repeat(own[None], len(given), 0)
        values[:, [self._every.index(name) for name in self.parameters]] = given
        a, coupling, mu, threshold = np.split(values, 4, axis=1)
        if (a <= 0).any():
            row, column = np.argwhere(a <= 0)[0]
            raise InputError(f"theta row {row}: a_{self.names[column]} must be above 0 1/s, found {a[row, column]}")
        weights = coupling[:, :, None] * np.asarray(self.connections)
        return Couplings(*(np.ascontiguousarray(part) for part in (a, weights, mu, threshold)))
