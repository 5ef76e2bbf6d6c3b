"""Populations by the ages of their neurons: limits that are known, and agreement with the network of all neurons."""

from __future__ import annotations

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.simulators import Circuit, MesoscopicNetwork, MicroscopicNetwork
from neuroinf.simulators.glm_draws import start_stream
from neuroinf.simulators.mesoscopic_kernel import binomial


def alone(mu: float, size: int = 100_000) -> Circuit:
    return Circuit(names=["E"], sizes=[size], connections=[[0]], mu=mu, free=["mu_E"])


@pytest.mark.parametrize(("n", "p"), [(5, 0.3), (400, 0.01), (400, 0.9), (2, 0.5)])
def test_binomial_numbers(n: int, p: float) -> None:
    stream = np.empty(4, np.uint64)
    start_stream(np.uint64(4), stream)
    draws = np.array([binomial(n, p, stream) for _ in range(20_000)])
    assert draws.min() >= 0 and draws.max() <= n
    # z of the mean, and of the mean square deviation with the binomial's fourth moment; false alarm 1e-4: 3.9
    variance = n * p * (1 - p)
    assert abs(draws.mean() - n * p) < 3.9 * np.sqrt(variance / len(draws))
    fourth = variance * (1 + 3 * variance * (1 - 2 / n))
    assert abs(((draws - n * p) ** 2).mean() - variance) < 3.9 * np.sqrt((fourth - variance**2) / len(draws))


@pytest.mark.parametrize("step", [0.5, 4.0])
@pytest.mark.parametrize("scheme", ["exponential", "euler"])
def test_rate_without_coupling_is_the_inverse_mean_interval(scheme: str, step: float) -> None:
    """The rate of a large population is that of the renewal process that its equations define."""
    mu, dt, u, left, mean = 9.0, step / 1000, 0.0, 1.0, 0.0
    leak = dt * 50.0 if scheme == "euler" else 1 - np.exp(-50.0 * dt)
    for k in range(1, 20_000):
        mean += left * dt
        if k > round(4.0 / step):
            u += leak * (mu - u)
            left *= np.exp(-dt * np.exp(u - alone(mu).theta[0]))
    network = MesoscopicNetwork(alone(mu), step=step, scheme=scheme)  # pyright: ignore[reportArgumentType]
    rates = network.simulate([[mu]], np.zeros((1, 1, 2500)), 4.0)["latent/rates"]
    # 100,000 neurons for 10 s: a standard error below that of a Poisson count, 0.02 %; 3.9 of them
    assert abs(np.mean(rates) * mean - 1) < 3.9 / np.sqrt(1e5 * 10 / mean)


@pytest.mark.parametrize("noise", ["binomial", "gaussian"])
@pytest.mark.parametrize("scheme", ["exponential", "euler"])
def test_expected_rate_is_that_of_the_equations(scheme: str, noise: str) -> None:
    """Cohort by cohort from the activity that came out, once the cohorts of before are older than is followed."""
    circuit = Circuit(
        names=["E", "I"], sizes=[30, 20], connections=[[1, 1], [-1, -1]], a=[50.0, 80.0], J=[3.0, 5.0], mu=[9.0, 8.0],
        synapse=[2.0, 3.0], refractory=[4.0, 2.0],
    )  # fmt: skip
    ages, steps, dt = 60, 400, 0.001
    network = MesoscopicNetwork(circuit, 1.0, scheme, noise, burn_in=0.0, memory=float(ages))  # pyright: ignore[reportArgumentType]
    external = np.random.default_rng(2).normal(0, 60, (2, steps))
    response = network.simulate(circuit.truth[None], external[None], 1.0, seed=3)
    z, expected = (np.asarray(response[name])[0] * dt for name in ("latent/rates", "latent/expected"))
    weights = np.asarray(circuit.J)[:, None] * np.asarray(circuit.connections)
    current, filtered = np.zeros(2), np.exp(-1.0 / np.asarray(circuit.synapse))
    voltage, survival = np.zeros((2, steps)), np.ones((2, steps))  # of the cohort that spiked in each step
    for t in range(1, steps):
        current = filtered * current + (1 - filtered) * z[:, t - 1] / dt
        h = current @ weights + external[:, t]
        alive = np.arange(max(0, t - ages), t)
        for m, (a, refractory) in enumerate(zip(circuit.a, (4, 2), strict=True)):
            leak = a * dt if scheme == "euler" else 1 - np.exp(-a * dt)
            free = t - 1 - alive >= refractory
            v = (1 - leak) * voltage[m, alive] + leak * (circuit.mu[m] + h[m] / a)
            voltage[m, alive] = np.where(free, v, 0.0)
            p = np.where(free, 1 - np.exp(-dt * np.exp(v - circuit.theta[m])), 0.0)
            left = survival[m, alive]
            mass = left * z[m, alive]
            rest = ((1 - left) * mass * p).sum() / ((1 - left) * mass).sum() if t > ages else np.nan
            if t > 2 * ages:  # by then nothing is left of the currents before the first bin
                assert abs(1 - mass.sum()) > 1e-6
                by_hand = np.clip((mass * p).sum() + rest * (1 - mass.sum()), 0, 1)
                assert expected[m, t] == pytest.approx(by_hand, rel=1e-9, abs=1e-12)
            survival[m, alive] *= 1 - p


def test_recorded_neurons_have_the_rate_of_their_population() -> None:
    network = MesoscopicNetwork(alone(9.0), step=1.0, recorded=50)
    response = network.simulate([[9.0]], np.zeros((1, 1, 2500)), 4.0)
    count, expected = len(response["spikes"][0]), response["latent/rates"].mean() * 50 * 10  # pyright: ignore[reportAttributeAccessIssue]
    assert abs(count - expected) < 3.9 * np.sqrt(expected)
    for unit in range(50):
        assert (np.diff(response["spikes"][0][response["units"][0] == unit]) > 5.0 - 1e-6).all()


@pytest.mark.parametrize("noise", ["binomial", "gaussian"])
def test_fluctuations_have_the_size_of_the_population(noise: str) -> None:
    """Given the past, the variance of the fraction of a population that spikes is Z (1 - Z) / N, or Z / N."""
    circuit = Circuit(names=["E"], sizes=[400], connections=[[1]], mu=9.0, J=0.5, free=["mu_E"])
    network = MesoscopicNetwork(circuit, noise=noise)  # pyright: ignore[reportArgumentType]
    response = network.simulate([[9.0]] * 4, np.zeros((1, 1, 5000)), 4.0)
    z, actual = (np.ravel(np.asarray(response[name])) * 0.004 for name in ("latent/expected", "latent/rates"))
    variance = z * (1 - z) / 400 if noise == "binomial" else z / 400
    scaled = (actual - z) / np.sqrt(variance)
    # 20,000 nearly normal numbers: the variance's standard error is sqrt(2 / n), a little more with the binomial's kurtosis
    assert abs(scaled.mean()) < 3.9 / np.sqrt(len(scaled))
    assert abs(scaled.var() - 1) < 3.9 * np.sqrt(2.2 / len(scaled))


def test_agrees_with_the_network_of_all_neurons() -> None:
    circuit = Circuit(
        names=["E", "I"], sizes=[400, 200], connections=[[1, 1], [-1, -1]], J=[4.0, 6.0], mu=8.0, synapse=[3.0, 6.0]
    )
    theta, stimulus = np.repeat(circuit.truth[None], 4, 0), np.zeros((1, 2, 2500))
    meso = np.asarray(MesoscopicNetwork(circuit, step=0.5).simulate(theta, stimulus, 4.0)["latent/rates"])
    micro = np.asarray(MicroscopicNetwork(circuit).simulate(theta, stimulus, 4.0)["latent/rates"])
    # the approximation itself is good to a few per cent; this is the specification's bar for the fluctuation
    np.testing.assert_allclose(meso.mean((0, 2)), micro.mean((0, 2)), rtol=0.03)
    np.testing.assert_allclose(meso.std(2).mean(0), micro.std(2).mean(0), rtol=0.05)


def test_rows_depend_on_their_own_seed_alone() -> None:
    network, stimulus = MesoscopicNetwork(alone(9.0, 100), recorded=2), np.zeros((1, 1, 50))
    whole = network.simulate([[7.0], [8.0], [9.0]], stimulus, 4.0, seed=[1, 2, 3])
    one = network.simulate([[8.0]], stimulus, 4.0, seed=[2])
    np.testing.assert_array_equal(one["latent/rates"][0], whole["latent/rates"][1])
    np.testing.assert_array_equal(one["spikes"][0], whole["spikes"][1])


@pytest.mark.slow
def test_published_circuit_at_one_millisecond() -> None:
    """The specification's bars: levels of the network of all neurons within 1 Hz, fluctuation of I within 5 %."""
    from neuroinf.evaluation.population_statistics import dominance, levels

    circuit = Circuit(J=[9.984, 9.984, 19.968], synapse=[3.0, 3.0, 6.0])
    network = MesoscopicNetwork(circuit, step=1.0)
    rates = np.asarray(
        network.simulate(np.repeat(circuit.truth[None], 5, 0), np.zeros((1, 3, 12500)), 4.0)["latent/rates"]
    )
    found = [levels(x, dominance(x, 4.0)) for x in rates]
    assert abs(np.median([x.winner for x in found]) - 18.8) < 1.0
    assert abs(np.median([x.loser for x in found]) - 6.05) < 1.0
    assert abs(np.median([x.rest[0] for x in found]) - 24.5) < 1.0
    assert abs(np.median(rates[:, 2].std(1)) / 7.65 - 1) < 0.05


@pytest.mark.parametrize(
    "arguments", [{"scheme": "exact"}, {"noise": "poisson"}, {"memory": 5.0}, {"step": -1.0}, {"recorded": -1}]
)
def test_impossible_networks(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        MesoscopicNetwork(alone(9.0), **arguments)  # pyright: ignore[reportArgumentType]
