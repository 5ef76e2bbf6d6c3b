"""The published fit of a mesoscopic model: what it finds, when it stops, going on after a stop, bad input."""

from __future__ import annotations

import mesoscopic_by_hand as by_hand
import numpy as np
import pytest
import torch
from scipy.stats import chi2

from neuroinf.errors import InputError
from neuroinf.fits import mesoscopic
from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood
from neuroinf.fits.mesoscopic_steps import ActivityState, activity_step, parameter_step
from neuroinf.simulators.circuit import Circuit

AGES, BINS, DT = 50, 500, 4.0
CIRCUIT = Circuit(
    names=("E", "I"), sizes=(1000, 500), connections=((1, 1), (-1, -1)), J=(6.0, 8.0), mu=(7.0, 6.5), synapse=(3.0, 6.0)
)


def drawn(seed, bins=BINS, scheme="euler"):
    """Activity and spikes of two neurons of each population, drawn from the model itself, and their likelihood."""
    rng, rates, population = np.random.default_rng(seed), np.array([15.0, 15.0]), np.array([0, 0, 1, 1])
    couplings = CIRCUIT.couplings(CIRCUIT.truth[None])
    values = [couplings.a[0], couplings.weights[0], couplings.mu[0], couplings.theta[0]]
    since = np.array([5, 10, 15, 20])
    history = np.zeros((4, AGES), bool)
    history[np.arange(4), AGES - 1 - since] = True
    z, fired, *_ = by_hand.run(
        CIRCUIT, values, rates, since, population, scheme, AGES, DT / 1000, np.zeros((2, bins)), rng=rng
    )
    likelihood = MesoscopicLikelihood(
        CIRCUIT, np.concatenate([history, fired], 1), population, DT, scheme=scheme, memory=AGES * DT, rates=rates,
        published=False,
    )  # fmt: skip
    return likelihood, z


@pytest.mark.parametrize("scheme", ["euler", "exponential"])
def test_parameters_of_a_known_activity_are_found(scheme):
    likelihood, z = drawn(1, 2000, scheme)
    found = parameter_step(likelihood, CIRCUIT.truth, mesoscopic.box(CIRCUIT), z)
    truth = likelihood.at(torch.tensor(CIRCUIT.truth), torch.from_numpy(z)).total.item()
    # Wilks: twice the gain in nats over the truth is chi-squared with P degrees of freedom, and less within a box
    gain = 2 * (truth - sum(found.terms)) * z.size
    assert 0 <= gain < chi2.isf(1e-4, len(CIRCUIT.parameters))
    start = np.random.default_rng(0).uniform(*mesoscopic.box(CIRCUIT, 0.8, 1.25).T)
    again = parameter_step(likelihood, start, mesoscopic.box(CIRCUIT), z, 400)
    assert 2 * (sum(again.terms) - sum(found.terms)) * z.size < 1.0


@pytest.mark.parametrize("rule", ["both", "total"])
def test_an_improvement_is_the_least_so_far(rule):
    likelihood, _ = drawn(2)
    state = ActivityState.at(mesoscopic.smoothed_activity(likelihood, 50.0))
    trace = np.array(activity_step(likelihood, CIRCUIT.truth, state, rule, steps=40), float)
    updates = state.updates
    trace = np.concatenate([trace, activity_step(likelihood, 1.02 * CIRCUIT.truth, state, rule, steps=40)])
    scores = trace[:, :2] if rule == "both" else trace[:, :2].sum(1, keepdims=True)
    before = np.concatenate([[[np.inf] * scores.shape[1]], np.minimum.accumulate(scores)[:-1]])
    assert ((scores < before).all(1) == trace[:, 2]).all()
    assert trace[0, 2] and updates <= state.updates
    assert (state.z == state.saved).all() and state.z.min() >= 1e-5 and state.z.max() <= 1
    last = trace[trace[:, 2] == 1][-1]
    assert trace[:, :2].sum(1)[0] > last[:2].sum()


def test_a_run_lowers_the_objective_and_goes_on_where_it_was_stopped(tmp_path):
    likelihood, _ = drawn(3, 250)
    limits = mesoscopic.box(CIRCUIT)
    start = np.random.default_rng(3).uniform(*limits.T)
    whole = mesoscopic.fit(likelihood, start, rule="total", rounds=2)
    mesoscopic.fit(likelihood, start, rule="total", rounds=1, path=tmp_path / "run.npz")
    resumed = mesoscopic.fit(likelihood, start, rule="total", rounds=2, path=tmp_path / "run.npz")
    assert (resumed.values == whole.values).all() and (resumed.z == whole.z).all()
    assert (resumed.trace == whole.trace).all() and resumed.loss == whole.loss
    assert ((limits[:, 0] <= whole.values) & (whole.values <= limits[:, 1])).all()
    at_end = likelihood.at(torch.from_numpy(whole.values), torch.from_numpy(whole.z))
    assert (at_end.spikes.item(), at_end.activity.item()) == pytest.approx(whole.terms, rel=1e-12)
    at_start = likelihood.at(torch.tensor(start), torch.from_numpy(mesoscopic.smoothed_activity(likelihood)))
    assert whole.total <= whole.loss < at_start.total.item()
    with pytest.raises(InputError, match="this recording"):
        mesoscopic.fit(likelihood, CIRCUIT.truth, rule="total", path=tmp_path / "run.npz")
    (tmp_path / "run.npz").write_bytes(b"not a run")
    with pytest.raises(InputError, match=r"run\.npz"):
        mesoscopic.fit(likelihood, start, rule="total", path=tmp_path / "run.npz")


def test_restarts_are_ranked_and_given_starts_are_kept():
    likelihood, z = drawn(4, 150)
    fits = mesoscopic.fit_restarts(likelihood, np.random.default_rng(0), 2)
    assert fits[0].loss <= fits[1].loss
    near = mesoscopic.fit(likelihood, CIRCUIT.truth, z=z, rounds=1)
    assert near.loss <= likelihood.at(torch.tensor(CIRCUIT.truth), torch.from_numpy(np.clip(z, 1e-5, 1))).total.item()


def test_spikes_are_binned_and_smoothed():
    assert mesoscopic.binned([0.1, 3.9, 4.0, 11.9, 12.0], [0, 0, 1, 1, 1], 2, 3).tolist() == [[2, 0, 0], [0, 1, 1]]
    spikes = np.zeros((4, 1250), bool)
    spikes[:2, ::25] = True
    likelihood = MesoscopicLikelihood(CIRCUIT, spikes, [0, 0, 0, 0])
    guess = mesoscopic.smoothed_activity(likelihood)
    # far from the edges a regular train of a spike in 25 bins, in two of four neurons; none recorded: the same rate
    assert guess[0, 300:550] == pytest.approx(0.02, rel=1e-3)
    assert guess[1] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": [1.0]}, "8 values"),
        ({"start": 3 * CIRCUIT.truth}, "within the limits"),
        ({"limits": np.zeros((8, 2))}, "lower and higher"),
        ({"z": np.zeros((2, 3))}, "shape"),
        ({"rule": "either"}, "either"),
        ({"rounds": 0}, "rounds"),
    ],
)
def test_bad_input_is_named(changes, message):
    likelihood = MesoscopicLikelihood(CIRCUIT, np.eye(2, 260), [0, 1])
    with pytest.raises(InputError, match=message):
        mesoscopic.fit(likelihood, **{"start": CIRCUIT.truth, **changes})


def test_bad_spikes_and_restarts_are_named():
    with pytest.raises(InputError, match="0 to 1"):
        mesoscopic.binned([1.0], [2], 2, 10)
    likelihood = MesoscopicLikelihood(CIRCUIT, np.eye(2, 260), [0, 1])
    with pytest.raises(InputError, match="restarts"):
        mesoscopic.fit_restarts(likelihood, np.random.default_rng(0), 0)
