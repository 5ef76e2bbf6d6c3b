"""Stationary states of infinite populations against quadrature and the microscopic network."""

import numpy as np
import pytest
from scipy.integrate import quad

from neuroinf.simulators import Circuit, MicroscopicNetwork
from neuroinf.simulators.circuit_states import competing_states, relaxed

WINNER_TAKE_ALL = Circuit(J=[9.984, 9.984, 19.968], synapse=[3.0, 3.0, 6.0])


def uncoupled(a: float, mu: float, theta: float) -> Circuit:
    return Circuit(names=["E"], sizes=[1000], connections=[[0]], a=a, J=1.0, mu=mu, theta=theta)


@pytest.mark.parametrize(
    ("a", "mu", "theta"), [(50.0, 14.4, 3.7), (20.0, 6.0, 7.0), (100.0, 28.0, 1.5), (50.0, 2.0, 3.0)]
)
def test_rate_of_neurons_without_input_is_that_of_the_renewal_equation(a: float, mu: float, theta: float) -> None:
    def cumulative(s: float) -> float:
        return quad(lambda t: np.exp(mu * -np.expm1(-a * t) - theta), 0, s)[0]

    end = 10 / np.exp(mu - theta) + 10 / a  # no neuron survives for so long
    interval = 0.004 + quad(lambda s: np.exp(-cumulative(s)), 0, end, limit=200)[0]
    circuit = uncoupled(a, mu, theta)
    found = relaxed(circuit, circuit.truth[None], [1.0])[0, 0]
    # half a per cent of the table's interpolation; a relaxation ends 0.01 Hz from its end
    assert found == pytest.approx(1 / interval, rel=5e-3, abs=0.012)


def test_rate_is_that_of_simulated_neurons() -> None:
    circuit = uncoupled(50.0, 14.4, 3.7)
    rates = MicroscopicNetwork(circuit, recorded=1).simulate(circuit.truth[None], np.zeros((1, 1, 2500)), 4.0, 1)
    mean = np.asarray(rates["latent/rates"]).mean()
    found = relaxed(circuit, circuit.truth[None], [1.0])[0, 0]
    # 1,000 neurons for 10 s fire 3e5 spikes, more regularly than Poisson: an sd of less than 0.2 %; steps of 0.2 ms add 0.2 ms to
    # an interval of 30, 0.7 %
    assert mean == pytest.approx(found, rel=0.015)


def test_published_circuit_has_two_states_mirror_images_at_the_published_rates() -> None:
    one, other = competing_states(WINNER_TAKE_ALL, WINNER_TAKE_ALL.truth[None])
    assert one[0, [1, 0, 2]] == pytest.approx(other[0], abs=0.01)
    # of infinite populations; those of 400 and 200 have 19, 6 and 24.5 Hz
    assert one[0] == pytest.approx([19.0, 6.0, 24.5], abs=1.5)


def test_unequal_populations_have_one_state() -> None:
    theta = WINNER_TAKE_ALL.truth.copy()
    theta[WINNER_TAKE_ALL.parameters.index("mu_E1")] *= 1.05
    one, other = competing_states(WINNER_TAKE_ALL, theta[None])
    assert one[0] == pytest.approx(other[0], abs=0.05)
    assert one[0, 0] > 20 + one[0, 1]
