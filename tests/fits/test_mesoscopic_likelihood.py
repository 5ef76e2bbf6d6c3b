"""The joint likelihood of recorded neurons and populations: published values, plain equations, gradients, invariances."""

from __future__ import annotations

import time

import mesoscopic_by_hand as by_hand
import numpy as np
import pytest
import torch

from neuroinf.errors import InputError
from neuroinf.fits.mesoscopic_likelihood import MesoscopicLikelihood
from neuroinf.simulators.circuit import Circuit

# a, J, mu, theta; terms of spikes and activity by the published code, with 3.14 for pi
GOLDEN = {
    (50, 50, 50, 9.984, 9.984, 19.968, 14.4, 14.4, 14.4, 3.7, 3.7, 3.7): (0.6650094586, 328.8933342992),
    (40, 55, 70, 8, 12, 15, 12, 13, 16, 3, 4, 5): (3.6067725734, 162.3320620143),
}
PI = 0.5 * np.log(3.14 / np.pi)


def published(**changes):
    circuit = Circuit(J=(9.984, 9.984, 19.968), synapse=(3, 3, 6))
    t, spikes = np.arange(750), np.zeros((3, 2, 750), bool)
    rates, periods = (20, 5, 25), (13, 50, 10)
    z = np.stack([r * 0.004 * (1 + 0.3 * np.sin(2 * np.pi * t / (50 + 10 * m))) for m, r in enumerate(rates)])
    for m in range(3):
        for q in range(2):
            spikes[m, q, 3 * q + m :: periods[m] + q] = True
    likelihood = MesoscopicLikelihood(circuit, spikes.reshape(6, 750), np.repeat(np.arange(3), 2), **changes)
    return likelihood, torch.from_numpy(z[:, 250:].copy())


def case(m, recorded, dt, scheme, refractory, published=False, seed=0, bins=60, ages=40):
    """A likelihood of M populations with random wiring and input, with values and activity for it."""
    rng = np.random.default_rng(seed)
    circuit = Circuit(
        names=[f"P{i}" for i in range(m)],
        sizes=rng.integers(50, 500, m).tolist(),
        connections=rng.integers(-1, 2, (m, m)).tolist(),
        synapse=rng.uniform(2, 8, m).tolist(),
        refractory=refractory,
    )
    population = np.repeat(np.arange(m), recorded)
    fired = rng.random((len(population), ages + bins)) < 0.06
    external = rng.normal(0, 20, (m, ages + bins))
    likelihood = MesoscopicLikelihood(
        circuit, fired, population, dt, external, scheme, memory=ages * dt, published=published
    )
    values = (
        rng.uniform(30, 70, m),
        rng.normal(0, 5, (m, m)),
        rng.uniform(6, 9, m),
        rng.uniform(2, 4, m),
        np.clip(rng.normal(0.05, 0.02, (m, bins)), 0.002, 1),
    )
    return likelihood, values


@pytest.mark.parametrize("values", GOLDEN)
def test_the_published_values(values):
    likelihood, z = published()
    terms = likelihood.at(torch.tensor(values, dtype=torch.float64), z)
    assert likelihood.rates == pytest.approx([19, 5, 24])
    assert terms.spikes.item() == pytest.approx(GOLDEN[values][0], rel=0, abs=1e-8)
    assert terms.activity.item() + PI == pytest.approx(GOLDEN[values][1], rel=0, abs=1e-8)


@pytest.mark.parametrize("scheme", ["euler", "exponential"])
@pytest.mark.parametrize(
    ("m", "recorded", "dt", "refractory"), [(1, 4, 4.0, 4.0), (2, [0, 3], 1.0, 3.0), (4, 2, 2.0, 0.0)]
)
def test_it_is_that_of_the_plain_equations(m, recorded, dt, refractory, scheme):
    likelihood, values = case(m, recorded, dt, scheme, refractory)
    fired, ages = likelihood.fired, likelihood.ages
    # a neuron that does not fire in the history is as old as that
    since = np.array([np.flatnonzero(np.r_[True, row[1:ages]])[-1] for row in fired])
    *_, spikes, activity = by_hand.run(
        likelihood.circuit, values[:4], likelihood.rates, ages - 1 - since, likelihood.population, scheme, ages, dt / 1000,
        likelihood.external[:, ages:], values[4], fired[:, ages:],
    )  # fmt: skip
    terms = likelihood(*(torch.from_numpy(value) for value in values))
    assert terms.spikes.item() == pytest.approx(spikes, rel=1e-10)
    assert terms.activity.item() == pytest.approx(activity, rel=1e-10)


def differences(function, values, place, step):
    """Of fourth order, along each number of one array."""
    found = np.empty(values[place].size)
    for i in range(found.size):
        sums = 0.0
        for far, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            moved = [value.copy() for value in values]
            moved[place].flat[i] += far * step
            sums += weight * function(moved)
        found[i] = sums / (12 * step)
    return found.reshape(values[place].shape)


@pytest.mark.parametrize("term", [0, 1])
@pytest.mark.parametrize("scheme", ["euler", "exponential"])
@pytest.mark.parametrize(
    ("m", "recorded", "dt", "refractory"), [(1, 4, 4.0, 4.0), (2, [0, 3], 1.0, 3.0), (3, 1, 2.0, 0.0)]
)
def test_gradients_are_those_of_differences(m, recorded, dt, refractory, scheme, term):
    likelihood, values = case(m, recorded, dt, scheme, refractory, bins=30)

    def function(arrays):
        with torch.no_grad():
            return likelihood(*(torch.from_numpy(array) for array in arrays))[term].item()

    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    likelihood(*tensors)[term].backward()
    for place, step in enumerate((1e-3, 1e-3, 1e-4, 1e-4, 2e-6)):
        expected, found = differences(function, values, place, step), tensors[place].grad.numpy()
        # the smallest components are lost in the differences' own rounding
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("values", GOLDEN)
@pytest.mark.parametrize("scheme", ["euler", "exponential"])
def test_gradients_of_the_published_circuit(values, scheme):
    # without the published branch at lambda dt = 0.01, where its probability jumps by 5e-5
    likelihood, z = published(scheme=scheme, published=False)
    x, activity = torch.tensor(values, dtype=torch.float64, requires_grad=True), z.clone().requires_grad_()
    likelihood.at(x, activity).total.backward()

    def function(arrays):
        return likelihood.at(torch.from_numpy(arrays[0]), z).total.item()

    expected = differences(function, [np.array(values, float)], 0, 1e-4)
    assert x.grad.numpy() == pytest.approx(expected, rel=1e-5)
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(z.shape)) * z
    moved = [likelihood.at(x, z + far * 1e-4 * direction).total.item() for far in (1, -1, 2, -2)]
    slope = (8 * (moved[0] - moved[1]) - (moved[2] - moved[3])) / 12e-4
    assert (activity.grad * direction).sum().item() == pytest.approx(slope, rel=1e-5)


def test_an_evaluation_of_ten_seconds_takes_a_twentieth_of_one():
    rng = np.random.default_rng(0)
    circuit = Circuit(J=(9.984, 9.984, 19.968), synapse=(3, 3, 6))
    likelihood = MesoscopicLikelihood(circuit, rng.random((9, 2750)) < 0.06, np.repeat(np.arange(3), 3))
    values = torch.tensor(circuit.truth, requires_grad=True)
    z = torch.tensor(rng.uniform(0.04, 0.08, (3, 2500)), requires_grad=True)
    spent = []
    for _ in range(8):
        begin = time.process_time()
        likelihood.at(values, z).total.backward()
        spent.append(time.process_time() - begin)
    assert min(spent) < 0.05


@pytest.mark.parametrize("published", [False, True])
def test_order_of_neurons_and_of_populations_is_of_no_account(published):
    likelihood, values = case(3, 3, 4.0, "euler", [4.0, 8.0, 0.0], published)
    terms = likelihood(*(torch.from_numpy(value) for value in values))
    order, circuit = [2, 0, 1], likelihood.circuit
    moved = Circuit(
        names=circuit.names,
        sizes=[circuit.sizes[i] for i in order],
        connections=circuit.connections,
        synapse=[circuit.synapse[i] for i in order],
        refractory=[circuit.refractory[i] for i in order],
    )
    neurons = np.random.default_rng(1).permutation(9)
    same = MesoscopicLikelihood(
        moved, likelihood.fired[neurons], np.argsort(order)[likelihood.population[neurons]], 4.0,
        likelihood.external[order], "euler", 160.0, published=published,
    )  # fmt: skip
    a, weights, mu, theta, z = values
    again = same(
        *(torch.from_numpy(v) for v in (a[order], weights[order][:, order], mu[order], theta[order], z[order]))
    )
    assert again.spikes.item() == pytest.approx(terms.spikes.item(), rel=1e-12)
    assert again.activity.item() == pytest.approx(terms.activity.item(), rel=1e-12)


def test_the_two_outcomes_of_a_last_bin_have_a_probability_of_one():
    likelihood, values = case(2, 3, 4.0, "euler", 4.0)
    tensors = [torch.from_numpy(value) for value in values]
    shorter = MesoscopicLikelihood(
        likelihood.circuit, likelihood.fired[:, :-1], likelihood.population, 4.0, likelihood.external[:, :-1],
        memory=160.0, published=False,
    )  # fmt: skip
    before = shorter(*tensors[:4], tensors[4][:, :-1]).spikes.item() * (values[4].size - 2)
    total = 0.0
    for outcome in np.ndindex(*(2,) * 6):
        fired = likelihood.fired.copy()
        fired[:, -1] = outcome
        one = MesoscopicLikelihood(
            likelihood.circuit, fired, likelihood.population, 4.0, likelihood.external, memory=160.0, published=False
        )
        total += np.exp(before - one(*tensors).spikes.item() * values[4].size)
    assert total == pytest.approx(1, rel=1e-10)


def test_the_activity_of_a_last_bin_has_a_density_of_one():
    likelihood, values = case(1, 3, 4.0, "euler", 4.0)
    tensors = [torch.from_numpy(value) for value in values]
    shorter = MesoscopicLikelihood(
        likelihood.circuit, likelihood.fired[:, :-1], likelihood.population, 4.0, likelihood.external[:, :-1],
        memory=160.0, published=False,
    )  # fmt: skip
    before = shorter(*tensors[:4], tensors[4][:, :-1]).activity.item() * (values[4].size - 1)
    circuit = likelihood.circuit
    last = tensors[4].clone().requires_grad_()
    likelihood(*tensors[:4], last).activity.backward()
    assert last.grad is not None
    # slope (z - mean) / sd^2 and curvature 1 / sd^2 of the last bin give the mean
    moved = tensors[4].clone()
    moved[0, -1] += 0.01
    moved.requires_grad_()
    likelihood(*tensors[:4], moved).activity.backward()
    assert moved.grad is not None
    slope, further = (value.grad[0, -1].item() for value in (last, moved))
    mean = values[4][0, -1] - 0.01 * slope / (further - slope)
    sd = np.sqrt((mean + 0.1 * 0.004) / circuit.sizes[0])
    grid = np.linspace(mean - 8 * sd, mean + 8 * sd, 801)
    density = []
    for last in grid:
        z = tensors[4].clone()
        z[0, -1] = last
        density.append(np.exp(before - likelihood(*tensors[:4], z).activity.item() * values[4].size))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)


def test_free_parameters_are_put_among_the_circuits_own():
    circuit = Circuit(free=["J_I", "mu_E1"])
    spikes = np.random.default_rng(0).random((3, 300)) < 0.05
    likelihood = MesoscopicLikelihood(circuit, spikes, [0, 1, 2])
    z = torch.full(likelihood.shape, 0.05, dtype=torch.float64)
    values = torch.tensor([18.0, 15.0], dtype=torch.float64, requires_grad=True)
    terms = likelihood.at(values, z)
    terms.total.backward()
    coupled = circuit.couplings([[18.0, 15.0]])
    whole = likelihood(*(torch.from_numpy(v[0]) for v in (coupled.a, coupled.weights, coupled.mu, coupled.theta)), z)
    assert terms.total.item() == whole.total.item()
    assert values.grad is not None and (values.grad != 0).all()


def test_what_is_extreme_stays_finite():
    circuit = Circuit(names=["E"], sizes=[100], connections=[[1]])
    fired = np.random.default_rng(0).random((2, 400)) < 0.2
    likelihood = MesoscopicLikelihood(circuit, fired, [0, 0])
    for values in ([20.0, 40.0, 28.8, 1.5], [100.0, 0.0, -500.0, 7.4], [20.0, 300.0, 28.8, 1.5]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        z = torch.full((1, 150), 0.5, dtype=torch.float64, requires_grad=True)
        total = likelihood.at(x, z).total
        total.backward()
        assert total.isfinite() and x.grad.isfinite().all() and z.grad.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spikes": np.zeros((2, 250))}, "more than 250 bins"),
        ({"spikes": np.zeros(300)}, "shape \\(neurons, bins\\)"),
        ({"spikes": np.full((2, 300), np.nan)}, "missing"),
        ({"population": [0, 3]}, "0 to 2"),
        ({"population": [0]}, "each of 2 neurons"),
        ({"population": [0.0, 1.0]}, "whole number"),
        ({"dt": 0.0}, "above 0"),
        ({"memory": 2.0}, "below the memory"),
        ({"scheme": "heun"}, "heun"),
        ({"external": np.zeros((3, 50))}, r"\(3, 300\)"),
        ({"rates": [1.0, -1.0, 0.0]}, "rates"),
    ],
)
def test_bad_input_is_named(changes, message):
    given = {"spikes": np.zeros((2, 300)), "population": [0, 1], **changes}
    with pytest.raises(InputError, match=message):
        MesoscopicLikelihood(Circuit(), **given)


def test_bad_values_are_named():
    likelihood = MesoscopicLikelihood(Circuit(), np.zeros((2, 300)), [0, 1])
    with pytest.raises(InputError, match="a_E1"):
        likelihood.at(torch.zeros(3), torch.zeros(3, 50))
    with pytest.raises(InputError, match=r"\(3, 50\)"):
        likelihood.at(torch.ones(12), torch.zeros(3, 49))
