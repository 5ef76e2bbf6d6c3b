"""Circuits that agree with a recording of two states in turn."""

import numpy as np
import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.fits import competing_posterior as module
from neuroinf.fits.competing_posterior import competing_posterior
from neuroinf.fits.state_rates import state_rates
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


@pytest.mark.slow
def test_draws_have_two_states_and_the_recorded_rates() -> None:
    width = 0.15
    values = zip(CIRCUIT.parameters, CIRCUIT.units, CIRCUIT.truth, strict=True)
    prior = Prior({name: Parameter(unit, (1 - width) * v, (1 + width) * v) for name, unit, v in values})
    recording, activity = taking_turns()
    observed = state_rates(recording, activity, 4.0)
    start = prior.sample(4000, np.random.default_rng(0))
    found = competing_posterior(CIRCUIT, prior, observed, start, 10_000.0, 1, rounds=4, samples=48)
    assert prior.inside(torch.from_numpy(found.samples)).all()
    one, other = competing_states(CIRCUIT, found.samples)
    assert (one[:, 0] > one[:, 1]).all() and (other[:, 1] > other[:, 0]).all()
    rates = MicroscopicNetwork(CIRCUIT, recorded=1).simulate(found.samples, np.zeros((1, 3, 2500)), 4.0, 2)[
        "latent/rates"
    ]
    states = [dominance(rate, 4.0) for rate in rates]
    lead = [np.where(s == 1, r[0], r[1]).mean() for r, s in zip(rates, states, strict=True)]
    # regular neurons at 20 Hz know the rate to 0.1 Hz, and the populations' own fluctuations to 0.3 Hz: 4.5 of these, divided among
    # draws of which some are the same, and the 10 s of the simulations
    assert abs(np.mean(lead) - 20) < 1.5
    # some of the circuits that have two states do not switch in 10 s
    assert 0 < found.switching < 1 and 0 < found.accepted < 1
    with pytest.raises(InputError, match="rounds: expected 2"):
        competing_posterior(CIRCUIT, prior, observed, start, 10_000.0, 1, rounds=1)


def test_recordings_whose_circuits_the_prior_has_not_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # of weakly coupled circuits none has two states, however long one looks
    monkeypatch.setattr(module, "FIRST_STEPS", 40)
    values = zip(CIRCUIT.parameters, CIRCUIT.units, CIRCUIT.truth, strict=True)
    prior = Prior(
        {
            name: Parameter(unit, (0.2 if name[0] == "J" else 0.8) * v, (0.4 if name[0] == "J" else 1.2) * v)
            for name, unit, v in values
        }
    )
    recording, activity = taking_turns()
    start = prior.sample(200, np.random.default_rng(0))
    with pytest.raises(InputError, match="none of the circuits that were found has two states"):
        competing_posterior(CIRCUIT, prior, state_rates(recording, activity, 4.0), start, 10_000.0, 1)
