"""The network with most neurons passed over against every neuron in plain numpy, and against exact laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_by_hand import network_by_hand
from scipy.stats import ks_1samp, ks_2samp

from neuroinf.errors import InputError
from neuroinf.simulators import Circuit, MicroscopicNetwork

SMALL = Circuit(
    names=["E", "I"],
    sizes=[40, 20],
    connections=[[1, 1], [-1, -1]],
    a=[50.0, 80.0],
    J=[3.0, 5.0],
    mu=[6.0, 7.0],
    synapse=[3.0, 6.0],
    refractory=[4.0, 2.0],
    free=["J_E", "J_I"],
)


def published() -> Circuit:
    return Circuit(J=[9.984, 9.984, 19.968], synapse=[3.0, 3.0, 6.0])


def renewal(circuit: Circuit, step: float, longest: int) -> np.ndarray:
    """Probability of each interval (longest,), 1 step first, of one neuron without coupling."""
    dt, refractory, u, left, found = step / 1000, round(circuit.refractory[0] / step), 0.0, 1.0, []
    for k in range(1, longest + 1):
        if k > refractory:
            u = np.exp(-circuit.a[0] * dt) * u + (1 - np.exp(-circuit.a[0] * dt)) * circuit.mu[0]
        p = 1 - np.exp(-dt * np.exp(u - circuit.theta[0])) if k > refractory else 0.0
        found.append(left * p)
        left *= 1 - p
    return np.array(found)


@pytest.mark.parametrize("step", [0.2, 1.0])
@pytest.mark.parametrize("mu", [4.0, 9.0, 14.0])
def test_intervals_follow_the_exact_law(mu: float, step: float) -> None:
    """An uncoupled neuron's intervals are independent, with a law that follows from the equations."""
    circuit = Circuit(names=["E"], sizes=[50], connections=[[0]], mu=mu, free=["mu_E"])
    network = MicroscopicNetwork(circuit, step=step, recorded=50)
    response: Any = network.simulate(circuit.truth[None], np.zeros((1, 1, 5000)), 4.0, seed=1)
    times, units = response["spikes"][0], response["units"][0]
    intervals = np.concatenate([np.diff(times[units == unit]) for unit in range(50)])
    steps = np.rint(intervals / step).astype(int)
    np.testing.assert_allclose(intervals, steps * step, atol=1e-6)
    law = renewal(circuit, step, 100_000)
    assert law.sum() > 1 - 1e-6
    assert steps.min() > round(4.0 / step)
    # Pearson's statistic over twenty cells; intervals of a stretch of 20 s are those that fit in it, which matters at the rate of
    # mu = 4 by less than the mean interval, 0.7 s, in 20 s
    if mu < 5:
        mean = (law * np.arange(1, len(law) + 1)).sum() * step
        # the standard error of a count of renewals is at most that of a Poisson count; false alarm 1e-4 is 3.9
        expected = 50 * 20_000 / mean
        assert abs(len(times) - expected) < 3.9 * np.sqrt(expected)
        return
    # Kolmogorov and Smirnov's test is conservative for discrete laws
    cumulative = np.concatenate([[0.0], np.cumsum(law)])
    jitter = np.random.default_rng(0).random(len(steps))
    values = cumulative[steps - 1] + jitter * law[steps - 1]
    found: Any = ks_1samp(values, lambda x: np.clip(x, 0, 1))
    assert found.pvalue > 1e-4


def test_coupled_populations_have_the_law_of_the_plain_loop() -> None:
    rng, step = np.random.default_rng(3), 0.5
    network = MicroscopicNetwork(SMALL, step=step, recorded=[40, 20], burn_in=500.0)
    response: Any = network.simulate(np.repeat(SMALL.truth[None], 20, 0), np.full((1, 2, 250), 40.0), 4.0, seed=5)
    plain = [network_by_hand(SMALL, 1000.0, step, rng, stimulus=40.0) for _ in range(20)]
    for m in range(2):
        ours = response["latent/rates"][:, m].mean(1)
        theirs = np.array([row[m].mean() * 1000 / step for row in plain])
        # Welch's t of two times 20 rows: beyond 4.4 with a probability of 1e-4 at 38 degrees of freedom
        t = (ours.mean() - theirs.mean()) / np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 20)
        assert abs(t) < 4.4
        binned = np.array([row[m].reshape(250, 8, -1).sum((1, 2)) for row in plain])
        counts = np.rint(response["latent/rates"][:, m] * 0.004 * SMALL.sizes[m])
        spread = [x.var(1) for x in (counts, binned)]
        t = (spread[0].mean() - spread[1].mean()) / np.sqrt(sum(x.var(ddof=1) for x in spread) / 20)
        assert abs(t) < 4.4
        members = np.flatnonzero(network.groups == m)
        intervals = [
            np.diff(times[units == unit])
            for times, units in zip(response["spikes"], response["units"], strict=True)
            for unit in members[:2]
        ]
        others = [np.diff(np.flatnonzero(row[m][:, q])) * step for row in plain for q in range(2)]
        jitter = [step * rng.random(sum(map(len, part))) for part in (intervals, others)]
        found: Any = ks_2samp(np.concatenate(intervals) + jitter[0], np.concatenate(others) + jitter[1])
        assert found.pvalue > 1e-4


def test_recorded_spikes_are_those_of_the_rates() -> None:
    """With all neurons recorded, spikes in each bin add up to the rate, and every train keeps the refractory time and a step."""
    network = MicroscopicNetwork(SMALL, recorded=[40, 20])
    response: Any = network.simulate(np.repeat(SMALL.truth[None], 2, 0), np.zeros((1, 2, 500)), 4.0, seed=[7, 8])
    for times, units, rates in zip(response["spikes"], response["units"], response["latent/rates"], strict=True):
        assert (np.diff(times) >= 0).all() and len(times) == len(units)
        for m, size in enumerate(SMALL.sizes):
            mine = times[network.groups[units] == m]
            counts = np.bincount((mine // 4).astype(int), minlength=500)
            np.testing.assert_allclose(counts, rates[m] * size * 0.004, atol=1e-9)
        for unit, group in enumerate(network.groups):
            intervals = np.diff(times[units == unit])
            assert (intervals > SMALL.refractory[group] + 0.2 - 1e-6).all()


def test_highest_rate_is_one_spike_a_refractory_time_and_a_step() -> None:
    circuit = Circuit(names=["E"], sizes=[30], connections=[[0]], mu=2000.0, free=["mu_E"])
    network = MicroscopicNetwork(circuit, recorded=30)
    response: Any = network.simulate(circuit.truth[None], np.zeros((1, 1, 1050)), 4.0)
    intervals = np.concatenate([np.diff(response["spikes"][0][response["units"][0] == unit]) for unit in range(30)])
    np.testing.assert_allclose(intervals, 4.2, atol=1e-6)
    assert response["saturated"].tolist() == [True]
    without = Circuit(names=["E"], sizes=[5], connections=[[0]], mu=1e5, refractory=0.0, free=["mu_E"])
    response = MicroscopicNetwork(without, recorded=1).simulate([[1e5]], np.zeros((1, 1, 10)), 4.0)
    np.testing.assert_allclose(response["latent/rates"], 5000.0)


def test_rows_depend_on_their_own_seed_alone() -> None:
    network = MicroscopicNetwork(SMALL, recorded=2)
    theta = SMALL.truth * np.linspace(0.5, 1.5, 5)[:, None]
    whole = network.simulate(theta, np.zeros((1, 2, 50)), 4.0, seed=[3, 4, 5, 6, 7])
    one = network.simulate(theta[3:4], np.zeros((1, 2, 50)), 4.0, seed=[6])
    np.testing.assert_array_equal(one["latent/rates"][0], whole["latent/rates"][3])
    np.testing.assert_array_equal(one["spikes"][0], whole["spikes"][3])
    assert not np.array_equal(whole["latent/rates"][0], whole["latent/rates"][1])


def test_input_to_one_population_raises_its_rate() -> None:
    stimulus = np.zeros((1, 2, 500))
    stimulus[0, 0, 250:] = 200.0
    rates = MicroscopicNetwork(SMALL).simulate(SMALL.truth[None], stimulus, 4.0)["latent/rates"][0]
    assert rates[0, 250:].mean() > rates[0, :250].mean() + 5.0


@pytest.mark.slow
def test_published_circuit() -> None:
    """The specification's levels, fluctuation and intervals: its bars, on the median of five networks of 50 s."""
    from neuroinf.evaluation.population_statistics import dominance, levels

    circuit = published()
    network = MicroscopicNetwork(circuit, recorded=20)
    response: Any = network.simulate(np.repeat(circuit.truth[None], 5, 0), np.zeros((1, 3, 12500)), 4.0, seed=11)
    found = [levels(x, dominance(x, 4.0)) for x in response["latent/rates"]]
    assert abs(np.median([x.winner for x in found]) - 19.0) < 1.0
    assert abs(np.median([x.loser for x in found]) - 6.0) < 1.0
    assert abs(np.median([x.rest[0] for x in found]) - 24.5) < 1.0
    assert abs(np.median(response["latent/rates"][:, 2].std(1)) - 7.6) < 0.4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"recorded": 500}, "recorded"),
        ({"recorded": [3]}, "recorded"),
        ({"recorded": 0}, "recorded"),
        ({"step": 0.0}, "step"),
        ({"burn_in": -1.0}, "burn_in"),
    ],
)
def test_impossible_networks(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        MicroscopicNetwork(published(), **arguments)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sizes": [400, 400]}, "sizes"),
        ({"connections": [[1, 0], [0, 1]]}, "connections"),
        ({"a": 0.0}, "a: expected"),
        ({"synapse": -1.0}, "synapse"),
        ({"free": ["J_E3"]}, "J_E3"),
        ({"names": ["E", "E", "I"]}, "names"),
        ({"mu": [1.0, 2.0]}, "mu"),
    ],
)
def test_impossible_circuits(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Circuit(**arguments)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("theta", "stimulus", "dt", "words"),
    [
        (np.ones((1, 3)), np.zeros((1, 2, 5)), 4.0, "J_E, J_I"),
        ([[np.nan, 1.0]], np.zeros((1, 2, 5)), 4.0, "finite"),
        (np.ones((1, 2)), np.zeros((1, 3, 5)), 4.0, "stimulus"),
        (np.ones((1, 2)), np.full((1, 2, 5), np.inf), 4.0, "input 1 must be finite"),
        (np.ones((1, 2)), np.zeros((1, 2, 0)), 4.0, "at least one bin"),
        (np.ones((1, 2)), np.zeros((1, 2, 5)), 0.3, "multiple"),
    ],
)
def test_impossible_simulations(theta: object, stimulus: np.ndarray, dt: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        MicroscopicNetwork(SMALL).simulate(theta, stimulus, dt)  # pyright: ignore[reportArgumentType]
