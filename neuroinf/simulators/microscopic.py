r"""A network of spiking neurons in homogeneous populations; equations in :mod:`neuroinf.simulators.circuit`.

In steps of dt, with A the population's rate in the step before,

.. math::
    I_k &\leftarrow e^{-dt/\tau_k} I_k + (1 - e^{-dt/\tau_k}) A_k \\
    u_i &\leftarrow e^{-a\,dt} u_i + (1 - e^{-a\,dt}) \mu + dt\, h, \qquad u_i = 0 \text{ while refractory} \\
    p_i &= 1 - e^{-\lambda_i dt}, \quad \text{0 while refractory}

a spike with probability p. A neuron is refractory in the steps after its spike that begin less than the refractory time after the
step's end, so that its intervals are at least that time and a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.microscopic_kernel import network_row
from neuroinf.simulators.network_rows import NetworkRows, Timing, recorded_groups
from neuroinf.simulators.protocol import Response


class MicroscopicNetwork:
    """A batch of networks, every neuron simulated, and some of them recorded.

    The neurons of a population are exchangeable: any subset of its recorded neurons is a recording of fewer of them.

    Args:
        circuit: Populations, wiring and parameters.
        step: Of the simulation, ms.
        recorded: Neurons recorded of each population, one number or M.
        burn_in: Time before the first bin, ms, from random initial rates below 30 Hz; without external input.

    Attributes:
        parameters, units: The columns of theta, see :class:`Circuit`.
        groups: Population of each recorded neuron (K,).

    Raises:
        InputError: if a number is out of its range.

    Example:
        >>> network = MicroscopicNetwork(Circuit(), recorded=3)
        >>> response = network.simulate(network.circuit.truth[None], np.zeros((1, 3, 500)), dt=4.0)
        >>> response["latent/rates"].shape, response["latent/rates"].mean() > 5.0
        ((1, 3, 500), np.True_)
    """

    stimulus_unit = "1/s"

    def __init__(
        self, circuit: Circuit, step: float = 0.2, recorded: int | Sequence[int] = 3, burn_in: float = 1000.0
    ) -> None:
        self.circuit, self.step, self.recorded, self.burn_in = circuit, step, recorded, burn_in
        self.groups: NDArray[np.int64] = recorded_groups(circuit, recorded)
        self._timing = Timing(step, burn_in)
        self.parameters: tuple[str, ...] = circuit.parameters
        self.units: tuple[str, ...] = circuit.units
        self.channels: dict[str, str] = {}
        self.latents: dict[str, str] = {"rates": "Hz"}

    def check_limits(self, low: Mapping[str, float], inputs: int) -> None:
        """See :class:`neuroinf.simulators.protocol.HasLimits`."""
        self.circuit.check_limits(low, inputs)

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n networks; rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            theta: Free parameters :math:`(n, P)`.
            stimulus: External input of each population :math:`(n, M, T)` or :math:`(1, M, T)`, voltage per s.
            dt: Length of a bin, ms: the stimulus is held for it, rates are means over it.
            seed: n numbers below 2^64, or one, from which row i's is made: the same whatever n is.

        Returns:
            ``"spikes"``: n arrays of the sorted times of all recorded neurons, ms, each in the middle of its step;
            ``"units"``: n arrays of which neuron it was, an index into :attr:`groups`; ``"latent/rates"``
            :math:`(n, M, T)`, Hz; ``"saturated"`` :math:`(n,)`: rows with a population at half of the highest rate that its
            refractory time allows, or above.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        rows = NetworkRows(self.circuit, self.groups, self._timing, theta, stimulus, dt, seed)
        counts = np.zeros(rows.shape, np.int64)
        found = rows.simulate(
            lambda row, given, stream, when, which: network_row(*given, stream, counts[row], when, which)
        )
        rates = counts * (1000.0 / (dt * rows.sizes[:, None]))
        return {**found, "latent/rates": rates, "saturated": rows.saturated(rates)}
