"""Rates of a network of finite populations in either of its two states, and how long it stays there.

The fluctuations of finite populations move the rates away from those of infinite ones (:mod:`neuroinf.simulators.circuit_states`),
by up to 1 Hz of 20, and more where the state is hardly stable or oscillates. A network left to itself shows both of its states
only once it has switched, so it is pushed: excited for a moment in one of the two populations and inhibited in the other, then left
alone, then the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.evaluation.population_statistics import WINDOW, dominance
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.microscopic import MicroscopicNetwork

FloatArray = NDArray[np.float64]

DT = 4.0  # ms
# of a push: at the published a of 50 1/s it moves the resting voltage by 6 units of the escape noise, of 14.4
PUSH, STRENGTH = 300.0, 300.0  # ms, 1/s
SETTLING, HELD = (
    300.0,
    3700.0,
)  # after a push: what is not looked at, and how long the network is watched, both included, ms
SHORTEST, LEAD = 300.0, 3.0  # of a state whose rates are known, ms; by which its population leads, Hz
BLOCK = 400.0  # ms: its means are taken to be independent


@dataclass(frozen=True)
class FiniteStates:
    """Of n circuits of M populations; nan where a state is not held for long enough.

    Attributes:
        rates: While the first, and while the second population leads, by 3 Hz at least :math:`(n, 2, M)`, Hz.
        fluctuation: Standard deviation of the means over blocks of 400 ms within a state :math:`(n, 2, M)`, Hz; nan also where
            there are fewer than four of them.
    """

    rates: FloatArray
    fluctuation: FloatArray

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which circuits hold both states (n,)."""
        return np.asarray(np.isfinite(self.rates).all((1, 2)))


def finite_states(circuit: Circuit, theta: ArrayLike, seed: int) -> FiniteStates:
    """Push every circuit into both states.

    Args:
        circuit: Populations and wiring; the first two compete.
        theta: Free parameters :math:`(n, P)`.
        seed: Of the simulations.
    """
    push, settling, watched = round(PUSH / DT), round(SETTLING / DT), round(HELD / DT)
    half, populations = push + watched, len(circuit.names)
    stimulus = np.zeros((1, populations, 2 * half))
    for state, (ahead, behind) in enumerate(((0, 1), (1, 0))):
        stimulus[0, ahead, state * half : state * half + push] = STRENGTH
        stimulus[0, behind, state * half : state * half + push] = -STRENGTH
    network = MicroscopicNetwork(circuit, recorded=1, burn_in=0.0)
    simulated = network.simulate(theta, stimulus, DT, seed)["latent/rates"]
    rates = np.full((len(simulated), 2, populations), np.nan)
    fluctuation = rates.copy()
    for i, row in enumerate(simulated):
        for state in (0, 1):
            free = row[:, state * half + push : (state + 1) * half]
            stay = free[:, settling : _end(dominance(free, DT) == 1 - state)]
            if stay.shape[1] * DT < SHORTEST:
                continue
            mean = stay.mean(1)
            if mean[state] - mean[1 - state] > LEAD:
                rates[i, state], fluctuation[i, state] = mean, _of_blocks(stay)
    return FiniteStates(rates, fluctuation)


def _end(leads: NDArray[np.bool_]) -> int:
    """The bin in which a state is left; who leads is a mean over a window, of which half is not the state's own."""
    left = np.flatnonzero(~leads)
    return max(0, int(left[0]) - round(WINDOW / DT / 2)) if len(left) else len(leads)


def _of_blocks(rates: FloatArray) -> FloatArray:
    """Standard deviation (M,) of means over blocks of rates (M, T); nan for fewer than four blocks."""
    length = round(BLOCK / DT)
    blocks = rates.shape[1] // length
    if blocks < 4:
        return np.full(len(rates), np.nan)
    return rates[:, : blocks * length].reshape(len(rates), blocks, length).mean(2).std(1, ddof=1)
