r"""Which stationary states a circuit has, if its populations are taken to be infinite.

Rates A solve, for all populations m at once, the renewal equation with constant input,

.. math::
    A_m = F(\mu_m + h_m / a_m), \qquad h_m = \sum_k J_k C_{km} A_k, \qquad
    \frac{1}{F(v)} = \Delta + \frac{1}{a} K(v, \vartheta + \ln a), \qquad
    K(v, \kappa) = \int_0^\infty \exp\Big(-\int_0^x e^{v (1 - e^{-y}) - \kappa} dy\Big) dx

with :math:`\Delta` the refractory time. K is tabulated once. A state is found by relaxing the rates from where it is looked for:
a circuit in which two populations compete can stay in either state if relaxing from both ends in different ones.

Source:
    Gerstner and Kistler 2002, Spiking Neuron Models, section 6.3; equations of the circuit: :mod:`neuroinf.simulators.circuit`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.circuit_states_kernel import relax

FloatArray = NDArray[np.float64]

DRIVE, KAPPA = (-60.0, 100.0, 0.25), (2.0, 14.0, 0.25)  # of the table: lowest, highest, step
FINEST, LONGEST = 1200, 20.0  # points of x, and where the voltage has long been constant
# of the way to F in each step of the relaxation, number of steps, and change of a step, Hz, that ends it
PART, PATIENCE, TOLERANCE = 0.1, 1000, 1e-3
LEADING, OTHER, REST = 40.0, 1.0, 20.0  # Hz, where the relaxation starts


@cache
def _table() -> FloatArray:
    """ln K on the grid of drive and kappa."""
    drive, kappa = (np.arange(low, high + step / 2, step) for low, high, step in (DRIVE, KAPPA))
    x = LONGEST * np.linspace(0, 1, FINEST) ** 3
    rise = np.exp(np.minimum(drive[:, None] * -np.expm1(-x), 200.0))
    whole = np.concatenate([np.zeros((len(drive), 1)), np.cumsum((rise[:, 1:] + rise[:, :-1]) / 2 * np.diff(x), 1)], 1)
    found = np.empty((len(drive), len(kappa)))
    for j, value in enumerate(kappa):
        alive = np.exp(-whole * np.exp(-value))
        # what is left then fires at a constant hazard
        found[:, j] = np.trapezoid(alive, x, axis=1) + alive[:, -1] * np.exp(np.minimum(value - drive, 300.0))
    return np.log(found)


def relaxed(circuit: Circuit, theta: ArrayLike, start: ArrayLike) -> FloatArray:
    """Stationary rates (n, M), Hz, of n circuits, from rates `start` (M,) or (n, M).

    Args:
        circuit: Populations and wiring.
        theta: Its free parameters (n, P).
        start: Hz.
    """
    couplings = circuit.couplings(theta)
    rates = np.broadcast_to(np.asarray(start, np.float64), couplings.a.shape).copy()
    refractory = np.asarray(circuit.refractory) / 1000
    grids = (DRIVE[0], DRIVE[2]), (KAPPA[0], KAPPA[2])
    relax(
        couplings.a,
        couplings.weights,
        couplings.mu,
        couplings.theta,
        refractory,
        _table(),
        *grids,
        PART,
        PATIENCE,
        TOLERANCE,
        rates,
    )
    return rates


def competing_states(
    circuit: Circuit, theta: ArrayLike, pair: tuple[int, int] = (0, 1)
) -> tuple[FloatArray, FloatArray]:
    """Rates (n, M), Hz, relaxed from the first of two populations leading, and from the second."""
    found = []
    for ahead, behind in (pair, pair[::-1]):
        start = np.full(len(circuit.names), REST)
        start[ahead], start[behind] = LEADING, OTHER
        found.append(relaxed(circuit, theta, start))
    return found[0], found[1]
