"""Circuits that agree with a recording of two states in turn."""

import numpy as np
import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.fits.competing_posterior import competing_posterior, state_rates
from neuroinf.priors import Parameter, Prior
from neuroinf.recordings.network_recording import NetworkRecording
from neuroinf.simulators import Circuit, MicroscopicNetwork
from neuroinf.simulators.circuit_states import competing_states

CIRCUIT = Circuit(J=[9.984, 9.984, 19.968], synapse=[3.0, 3.0, 6.0])


def taking_turns(seconds: float = 10.0) -> tuple[NetworkRecording, np.ndarray]:
    """Three regular neurons of each population: 20 and 5 Hz for the first half, 5 and 20 Hz for the second, 25 Hz all along."""
    half, end = 500 * seconds, 1000 * seconds
    fast, slow = [np.arange(start, start + half, step) + 1 for start, step in ((0, 50), (0, 200))]
    one = np.concatenate([fast, slow + half])
    other = np.concatenate([slow, fast + half])
    trains = [one] * 3 + [other] * 3 + [np.arange(1, end, 40.0)] * 3
    rates = np.empty((3, round(end / 4)))
    middle = rates.shape[1] // 2
    rates[0], rates[1], rates[2] = 20.0, 5.0, 25.0
    rates[:2, middle:] = [[5.0], [20.0]]
    return NetworkRecording(tuple(trains), np.repeat([0, 1, 2], 3), end), rates


def test_rates_in_either_state_are_those_of_the_recorded_neurons() -> None:
    recording, activity = taking_turns()
    found = state_rates(recording, activity, 4.0)
    # the switch is told within 200 ms of its time, the smoothing of who leads
    assert found.rates == pytest.approx(np.array([[20.0, 5.0, 25.0], [5.0, 20.0, 25.0]]), rel=0.06)
    # Poisson: three neurons for 5 s
    assert found.sd == pytest.approx(np.sqrt(found.rates / 15), rel=0.05)


def test_a_recording_of_one_state_is_refused() -> None:
    recording, activity = taking_turns()
    with pytest.raises(InputError, match="take the amortized posterior"):
        state_rates(recording, np.repeat(activity[:, :1], activity.shape[1], 1), 4.0)


@pytest.mark.slow
def test_draws_have_two_states_and_the_recorded_rates() -> None:
    width = 0.15
    values = zip(CIRCUIT.parameters, CIRCUIT.units, CIRCUIT.truth, strict=True)
    prior = Prior({name: Parameter(unit, (1 - width) * v, (1 + width) * v) for name, unit, v in values})
    recording, activity = taking_turns()
    observed = state_rates(recording, activity, 4.0)
    start = prior.sample(4000, np.random.default_rng(0))
    found = competing_posterior(CIRCUIT, prior, observed, start, 10_000.0, 1, steps=100, simulated=60, samples=24)
    assert prior.inside(torch.from_numpy(found.samples)).all()
    one, other = competing_states(CIRCUIT, found.samples)
    assert (one[:, 0] > one[:, 1]).all() and (other[:, 1] > other[:, 0]).all()
    rates = MicroscopicNetwork(CIRCUIT, recorded=1).simulate(found.samples, np.zeros((1, 3, 2500)), 4.0, 2)[
        "latent/rates"
    ]
    states = [dominance(rate, 4.0) for rate in rates]
    lead = [np.where(s == 1, r[0], r[1]).mean() for r, s in zip(rates, states, strict=True)]
    # 20 Hz with an sd of 1.2 in either state, and of draws of a few circuits
    assert abs(np.mean(lead) - 20) < 3
    # some of the chain's circuits do not switch in 10 s
    assert 0 < found.switching < 1
