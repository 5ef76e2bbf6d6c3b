r"""The same circuits with a number of spikes for each population instead of its neurons; see :mod:`neuroinf.simulators.circuit`.

In bin t a fraction Z of a population spikes. Cohort a, those whose last spike was a + 1 bins ago, has the voltage V, of its
neurons the fraction S has not spiked since, and

.. math::
    I_k &\leftarrow e^{-dt/\tau_k} I_k + (1 - e^{-dt/\tau_k}) Z_k / dt \\
    V(a) &\leftarrow (1 - l) V(a - 1) + l (\mu + h / a_m), \qquad V(a) = 0 \text{ while refractory}, \qquad
    l = a_m dt \text{ or } 1 - e^{-a_m dt} \\
    P(a) &= 1 - e^{-\lambda(a) dt}, \qquad m(a) = S(a) Z(t - 1 - a) \\
    \bar Z &= \sum_a m P + \Lambda \Bigl(1 - \sum_a m\Bigr), \qquad
    \Lambda = \frac{\sum_a (1 - S) m P}{\sum_a (1 - S) m}

and Z is drawn around :math:`\bar Z`: binomial, or Gaussian of variance :math:`\bar Z / N` cut off at 0, as published; at short
steps the cut raises the rates. Recorded neurons are drawn beside it, driven by the same input. Parameters mean different things
at different steps: at 4 ms forward Euler does not switch between its states where the network does; the exact decay (here of the
response to the input, too) switches about twice as often.

Source:
    Schwalger, Deger and Gerstner 2017, PLoS Comput Biol 13(4):e1005507; Wang, Schmutz, Bellec and Gerstner 2022, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.mesoscopic_kernel import population_row
from neuroinf.simulators.network_rows import NetworkRows, Timing, recorded_groups, steps_of
from neuroinf.simulators.protocol import Response

Scheme = Literal["exponential", "euler"]
Noise = Literal["binomial", "gaussian"]


class MesoscopicNetwork:
    """A batch of circuits, population by population, with some recorded neurons.

    Args:
        circuit: Populations, wiring and parameters.
        step: Of the simulation, ms.
        scheme: The membrane's exact decay, or forward Euler as in the published fits.
        noise: Of the number of spikes in a step.
        recorded: Neurons recorded of each population, one number or M.
        burn_in: Time before the first bin, ms, from random initial rates below 30 Hz; without external input.
        memory: Age up to which cohorts are followed, ms.

    Attributes:
        parameters, units: The columns of theta, see :class:`Circuit`.
        groups: Population of each recorded neuron (K,).

    Raises:
        InputError: if a number is out of its range.

    Example:
        >>> circuit = Circuit(names=["E"], sizes=[400], connections=[[1]], J=0.0, free=["mu_E"])
        >>> network = MesoscopicNetwork(circuit, step=1.0, recorded=1)
        >>> response = network.simulate([[5.0]], np.zeros((1, 1, 250)), dt=4.0)
        >>> response["latent/rates"].shape, response["latent/expected"].shape
        ((1, 1, 250), (1, 1, 250))
    """

    stimulus_unit = "1/s"

    def __init__(
        self,
        circuit: Circuit,
        step: float = 4.0,
        scheme: Scheme = "exponential",
        noise: Noise = "binomial",
        recorded: int | Sequence[int] = 3,
        burn_in: float = 1000.0,
        memory: float = 1000.0,
    ) -> None:
        for name, value, kind in (("scheme", scheme, Scheme), ("noise", noise, Noise)):
            if value not in get_args(kind):
                raise InputError(
                    f"MesoscopicNetwork {name}: expected one of {', '.join(get_args(kind))}, found {value!r}"
                )
        self.circuit, self.step, self.recorded, self.burn_in = circuit, step, recorded, burn_in
        self.scheme: Scheme = scheme
        self.noise: Noise = noise
        self.memory = memory
        self.groups: NDArray[np.int64] = recorded_groups(circuit, recorded)
        self._timing = Timing(step, burn_in)
        if not memory > max(circuit.refractory) + step:
            raise InputError(
                f"MesoscopicNetwork memory: expected more ms than a refractory time and a step, found {memory!r}"
            )
        self.parameters: tuple[str, ...] = circuit.parameters
        self.units: tuple[str, ...] = circuit.units
        self.channels: dict[str, str] = {}
        self.latents: dict[str, str] = {"rates": "Hz", "expected": "Hz"}

    def check_limits(self, low: Mapping[str, float], inputs: int) -> None:
        """See :class:`neuroinf.simulators.protocol.HasLimits`."""
        self.circuit.check_limits(low, inputs)

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n circuits; rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            theta: Free parameters :math:`(n, P)`.
            stimulus: External input of each population :math:`(n, M, T)` or :math:`(1, M, T)`, voltage per s.
            dt: Length of a bin, ms, of one or more steps: the stimulus is held for it, rates are means over it.
            seed: n numbers below 2^64, or one, from which row i's is made: the same whatever n is.

        Returns:
            As :meth:`MicroscopicNetwork.simulate`, and ``"latent/expected"`` :math:`(n, M, T)`: the expected rate given the
            past, :math:`\\bar Z / dt`, Hz.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        rows = NetworkRows(self.circuit, self.groups, self._timing, theta, stimulus, dt, seed)
        rates, expected = np.zeros((2, *rows.shape))
        how = steps_of(self.memory, self.step), self.scheme == "euler", self.noise == "gaussian"
        found = rows.simulate(
            lambda row, given, stream, when, which: population_row(
                *given, *how, stream, rates[row], expected[row], when, which
            )
        )
        return {**found, "latent/rates": rates, "latent/expected": expected, "saturated": rows.saturated(rates)}
