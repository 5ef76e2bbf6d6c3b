"""The spiking version of the hierarchical neuron: bumps, hazard, what spikes do, random streams."""

import math

import numpy as np
import pytest
import torch
from hierarchical_neurons import draw, model, reference, trains

from neuroinf.simulators import HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_bumps import after_spikes, cosine_bumps
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin


def test_spike_likelihood_gradient() -> None:
    simulator, rng = model("1L", spiking=True), np.random.default_rng(3)
    theta, spikes = draw(simulator, 1, rng), rng.random(400) < 0.05
    twin = HierarchicalGLMTwin(simulator)
    history = torch.from_numpy(twin.history(spikes, 1.0)[1])[None]
    voltage = torch.from_numpy(rng.normal(size=(1, 400)))
    train = torch.from_numpy(spikes[None].astype(float))

    def value(leaf: torch.Tensor) -> torch.Tensor:
        return twin.spike_log_likelihood(leaf, voltage, train, 1.0, history).sum()

    assert torch.autograd.gradcheck(value, torch.from_numpy(theta).requires_grad_())


def test_bumps() -> None:
    bumps, flat = cosine_bumps(1.0), cosine_bumps(1.0, flat=True)
    assert bumps.shape == (8, 200)
    assert bumps.min() >= 0
    np.testing.assert_allclose(np.diff(np.argmax(bumps, axis=1)) > 0, True)
    np.testing.assert_array_equal(bumps[1:], flat[1:])
    assert (flat[0, : np.argmax(bumps[0])] == 1).all()
    spikes = np.random.default_rng(7).random(600) < 0.03
    expected = np.stack([np.convolve(spikes, np.concatenate(([0.0], b)))[:600] for b in bumps])
    np.testing.assert_allclose(after_spikes(spikes, bumps), expected, atol=1e-12)


def test_constant_hazard_gives_binomial_counts() -> None:
    """Without input or spike effects each step spikes with p = 1 - exp(-lambda dt / 1000), independently.

    False-alarm rate 1e-4 by the normal approximation of Binomial(200,000, 0.0198), 3.9 sd two-sided; and of the number
    of spikes followed by one in the next step, Binomial(about 3960, p), whose Poisson-like tail 5 sd + 5 covers.
    """
    simulator = HierarchicalGLM([0], [[1]], [[]], linear_soma=True, spiking=True)
    theta = np.zeros((40, len(simulator.parameters)))
    part = simulator.columns
    theta[:, part["tau"]], theta[:, 0], theta[:, part["soft"]] = 5.0, -50.0, (0.5, -50.0 - 2 * math.log(20.0))
    response = simulator.simulate(theta, np.zeros((1, 1, 5000)), 1.0, seed=8)
    p = -math.expm1(-20.0 / 1000)
    counts = np.array([len(s) for s in response["spikes"]])
    total = 40 * 5000
    assert abs(counts.sum() - total * p) < 3.9 * math.sqrt(total * p * (1 - p))
    pairs = sum(int((np.diff(s) == 1.0).sum()) for s in response["spikes"])
    expected = counts.sum() * p
    assert abs(pairs - expected) < 5 * math.sqrt(expected) + 5
    assert len(set(counts.tolist())) > 5


def test_spikes_move_voltage_and_threshold() -> None:
    """Given its own spikes, the free run is the reference's; the spikes have the probability that this gives.

    The log-likelihood's deviation from its expectation is a martingale sum: variance sum of p (1-p) logit(p)^2, bound
    3.9 sd (false-alarm rate 1e-4, normal approximation over some 500 spikes).
    """
    simulator, rng = model("1N double", spiking=True), np.random.default_rng(9)
    theta, x = draw(simulator, 1, rng), trains(1, 9, 20000, rng)
    part = simulator.columns
    theta[0, 0], theta[0, part["soft"]], theta[0, part["threshold"]] = -60.0, (0.5, -66.0), 2.0
    response = simulator.simulate(theta, x, 1.0, seed=[10])
    times = np.asarray(response["spikes"][0])
    spikes = np.isin(np.arange(20000), times)
    assert 200 < spikes.sum() < 2000
    voltage = np.asarray(response["voltage"])[0]
    np.testing.assert_allclose(voltage, reference(simulator, theta[0], x[0], 1.0, spikes), atol=1e-9)
    raised = theta[0, part["threshold"]] @ HierarchicalGLMTwin(simulator).history(spikes, 1.0)[1]
    p = -np.expm1(-np.exp(0.5 * (voltage + 66.0 - raised)) / 1000)
    logit = np.log(p / (1 - p))
    deviation = ((spikes - p) * logit).sum()
    assert abs(deviation) < 3.9 * math.sqrt((p * (1 - p) * logit**2).sum())
    twin = HierarchicalGLMTwin(simulator)
    found = twin.spike_log_likelihood(
        torch.from_numpy(theta),
        torch.from_numpy(voltage)[None],
        torch.from_numpy(spikes[None] * 1.0),
        1.0,
        torch.from_numpy(twin.history(spikes, 1.0)[1])[None],
    )
    assert float(found) == pytest.approx(np.log(np.where(spikes, p, 1 - p)).sum(), rel=1e-9)


def test_a_row_depends_on_its_own_seed_alone() -> None:
    simulator, rng = model("2N shared", spiking=True), np.random.default_rng(11)
    theta, x = draw(simulator, 3, rng), trains(3, 9, 2000, rng)
    theta[:, simulator.columns["soft"]] = 0.5, -4.0
    whole = simulator.simulate(theta, x, 1.0, seed=[5, 6, 7])
    alone = simulator.simulate(theta[1:2], x[1:2], 1.0, seed=[6])
    np.testing.assert_array_equal(whole["voltage"][1], alone["voltage"][0])
    np.testing.assert_array_equal(whole["spikes"][1], alone["spikes"][0])
    assert len(whole["spikes"][1]) > 0
