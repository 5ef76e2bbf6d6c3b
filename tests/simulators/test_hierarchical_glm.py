"""The hierarchical neuron against a plain transcription of its equations, its twin, and by property."""

import numpy as np
import pytest
import torch
from hierarchical_neurons import MODELS, Floats, draw, model, multiplexed, reference, trains

from neuroinf.datasets.simulation import Simulation
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import HierarchicalGLM, Simulator
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin
from neuroinf.specification import specify


@pytest.mark.parametrize("name", [*MODELS, "multiplexed"])
@pytest.mark.parametrize("dt", [1.0, 0.5])
def test_kernel_reference_and_twin_agree(name: str, dt: float) -> None:
    simulator, rng = multiplexed() if name == "multiplexed" else model(name), np.random.default_rng(1)
    theta, x = draw(simulator, 3, rng), trains(3, simulator.inputs, 700, rng)
    voltage = np.asarray(simulator.simulate(theta, x, dt)["voltage"])
    expected = np.stack([reference(simulator, row, y, dt) for row, y in zip(theta, x, strict=True)])
    assert np.ptp(expected, axis=1).min() > 1e-2
    np.testing.assert_allclose(voltage, expected, atol=1e-10)
    twin = HierarchicalGLMTwin(simulator)
    found = twin.voltage(torch.from_numpy(theta), torch.from_numpy(x), dt).numpy()
    np.testing.assert_allclose(found, voltage, atol=1e-9)
    np.testing.assert_allclose(twin.jacobian(theta[0], twin.summed(x[0]), dt)[0], voltage[0], atol=1e-9)


@pytest.mark.parametrize("name", [*MODELS, "multiplexed"])
def test_derivatives(name: str) -> None:
    """Reverse mode and the Jacobian agree; both agree with central differences, whose error is h^2 f''' / 6."""
    simulator = multiplexed(spiking=True) if name == "multiplexed" else model(name, spiking=True)
    rng = np.random.default_rng(2)
    theta, x = draw(simulator, 1, rng), trains(1, simulator.inputs, 300, rng)
    twin, spikes = HierarchicalGLMTwin(simulator), rng.random(300) < 0.02
    history = twin.history(spikes, 1.0)[0]
    leaf = torch.from_numpy(theta.copy()).requires_grad_()
    voltage = twin.voltage(leaf, torch.from_numpy(x), 1.0, torch.from_numpy(history)[None])
    weight = rng.normal(size=300)
    (voltage[0] * torch.from_numpy(weight)).sum().backward()
    assert leaf.grad is not None
    _, jacobian = twin.jacobian(theta[0], twin.summed(x[0]), 1.0, history)
    np.testing.assert_allclose(jacobian @ weight, leaf.grad[0, : len(jacobian)].numpy(), atol=1e-9)
    for k in range(len(jacobian)):
        step = np.zeros(theta.shape[1])
        step[k] = 1e-5 * max(1.0, abs(theta[0, k]))
        up, down = (twin.jacobian(theta[0] + s * step, twin.summed(x[0]), 1.0, history)[0] for s in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * step[k]), jacobian[k], atol=1e-6)


def test_one_linear_unit_is_linear_in_its_weights() -> None:
    """With the time constants known, least squares on the filtered inputs gives v0 and the weights back exactly."""
    simulator, rng = model("1L"), np.random.default_rng(4)
    theta, x = draw(simulator, 1, rng), trains(1, 9, 4000, rng)
    voltage = np.asarray(simulator.simulate(theta, x, 1.0)["voltage"])[0]
    part, columns = simulator.columns, [np.ones(4000)]
    for tau, train in zip(theta[0, part["tau"]], x[0], strict=True):
        late = np.maximum(np.arange(4000) - 0.1, 0)
        columns.append(np.convolve(train, late / tau * np.exp(-late / tau))[:4000])
    solution = np.linalg.lstsq(np.stack(columns, axis=1), voltage, rcond=None)[0]
    np.testing.assert_allclose(solution, [theta[0, 0], *theta[0, part["w"]]], atol=1e-9)


def test_tiny_weights_make_a_tree_linear() -> None:
    r"""With weights scaled by e, v - v(no input) is e times a linear response plus second-order terms.

    Halving e must halve the deviation from rest up to O(e^2), and the inputs' responses must add.
    """
    simulator, rng = model("3N"), np.random.default_rng(5)
    theta, x = draw(simulator, 1, rng), trains(1, 9, 500, rng)
    part = simulator.columns

    def deviation(size: float, inputs: Floats) -> Floats:
        scaled = theta.copy()
        scaled[:, part["w"]] *= size
        both = np.concatenate((inputs, np.zeros_like(inputs)))
        voltage = np.asarray(simulator.simulate(np.repeat(scaled, 2, 0), both, 1.0)["voltage"])
        return (voltage[0] - voltage[1]) / size

    whole, half = deviation(1e-3, x), deviation(5e-4, x)
    # the second-order term of e = 1e-3 is twice that of 5e-4: their difference bounds it
    second = np.abs(whole - half).max()
    assert second < 0.01 * np.abs(half).max()
    parts = sum(deviation(1e-6, x * (np.arange(9) == i)[None, :, None]) for i in range(9))
    np.testing.assert_allclose(parts, deviation(1e-6, x), atol=1e-4 * np.abs(half).max())
    assert np.abs(deviation(1.0, x) - half).max() > 0.05 * np.abs(half).max()


def test_gain_is_redundant_near_the_linear_range() -> None:
    """Documented degeneracy: a drive s times smaller with J times 1/s larger changes the voltage at third order only.

    With |drive| <= a and threshold 0, sigma(x) = 1/2 + x/4 - x^3/48 + ...: the difference is at most J a^3 / 48.
    """
    simulator = HierarchicalGLM([0], [[1]], [[]])
    x = trains(1, 1, 500, np.random.default_rng(6))
    v0, J, w, tau = 0.0, 4.0, 0.2, 5.0
    part = [np.array([[v0 - J / s / 2, J / s, 0.0, w * s, tau]]) for s in (1.0, 0.5)]
    a, b = (np.asarray(simulator.simulate(theta, x, 1.0)["voltage"]) for theta in part)
    drive = a / 1.0
    largest = np.abs(drive).max()
    assert 0 < np.abs(a - b).max() <= J * largest**3 / 48
    assert np.abs(a).max() > 100 * np.abs(a - b).max()


def test_float32_input_and_shared_rows() -> None:
    simulator, rng = model("2N shared"), np.random.default_rng(12)
    theta, x = draw(simulator, 2, rng), trains(1, 9, 300, rng)
    single = simulator.simulate(theta, x.astype(np.float32), 1.0)["voltage"]
    both = simulator.simulate(theta, np.repeat(x, 2, 0), 1.0)["voltage"]
    assert np.asarray(single).dtype == np.float32
    np.testing.assert_allclose(single, both, atol=1e-5)


def test_silence_for_a_long_time_is_exactly_rest() -> None:
    """States that have decayed are set to 0, not left to become subnormal numbers."""
    simulator = HierarchicalGLM([0], [[1]], [[]], linear_soma=True)
    x = np.zeros((1, 1, 20000))
    x[0, 0, 3] = 1.0
    voltage = np.asarray(simulator.simulate([[-60.0, 1.0, 0.5]], x, 1.0)["voltage"])[0]
    assert voltage[3:8].max() > -60
    assert (voltage[3000:] == -60.0).all()


class Trains:
    """Bernoulli input spikes."""

    unit, inputs, frozen, dt, duration = "1", 9, False, 1.0, 200.0

    def sample(self, rng: np.random.Generator) -> Floats:
        return (rng.random((9, 200)) < 0.05).astype(np.float64)


def test_through_a_simulation() -> None:
    simulator = model("2N shared", spiking=True)
    assert isinstance(simulator, Simulator)
    low, high = -0.5, 0.5

    def parameter(name: str, unit: str) -> Parameter:
        positive = name.startswith(("tau", "J"))
        return Parameter(unit, 1.0, 20.0, "log") if positive else Parameter(unit, low, high)

    names = zip(simulator.parameters, simulator.units, strict=True)
    prior = Prior({name: parameter(name, unit) for name, unit in names})
    simulation = Simulation(simulator, prior, Trains(), n=4, dt=1.0, record_dt=1.0)  # type: ignore[arg-type]
    numbers, bank = simulation.bank()
    rows = simulation.rows(0, 4, numbers, bank)
    voltage = np.concatenate(rows.arrays["response/voltage"])
    assert voltage.shape == (4, 200)
    assert np.isfinite(voltage).all()
    again = HierarchicalGLM(**specify(simulator)["init_args"])
    assert again.parameters == simulator.parameters
