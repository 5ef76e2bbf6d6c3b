"""The twin against the compiled kernel, and its derivatives against finite differences."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glif_segments import Segments, segments
from neuroinf.simulators.glif_twin import GLIFTwin
from neuroinf.simulators.recurrence import linear_recurrence, scan

DT = 0.1
TYPICAL = {
    "C": 90.0,
    "R_input": 0.2,
    "El": -1.0,
    "th_inf": 25.0,
    "spike_cut_length": 2.8,
    "asc_amp_1": -15.0,
    "asc_amp_2": -120.0,
    "asc_tau_1": 100.0,
    "asc_tau_2": 10.0,
    "reset_a": 0.4,
    "reset_b": 5.0,
    "a_spike": 3.0,
    "b_spike": 0.1,
    "a_voltage": 0.01,
    "b_voltage": 0.06,
}


def neurons(simulator: GLIF, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Typical neurons, each value scaled by up to a third."""
    typical = np.array([TYPICAL[name] for name in simulator.parameters])
    return typical * rng.uniform(0.75, 1.33, (n, len(typical)))


def noise(n: int, windows: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Currents that change every millisecond, about twice the rheobase."""
    return 180 + 120 * rng.standard_normal((n, windows))


def at_windows(values: Tensor, where: Segments) -> NDArray[np.float64]:
    picked = values.gather(1, where.observed.clamp(min=0))
    return torch.where(where.observed < 0, torch.nan, picked).numpy()


@pytest.mark.parametrize("shared", [False, True])
def test_linear_recurrence_is_the_loop_and_the_scan(shared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    m = torch.rand((3, 9) if shared else (2, 3, 9), generator=generator, dtype=torch.float64)
    u = torch.randn((2, 3, 9), generator=generator, dtype=torch.float64)
    x = linear_recurrence(m, u)
    state = torch.zeros(2, 3, dtype=torch.float64)
    for t in range(9):
        state = m[..., t] * state + u[..., t]
        torch.testing.assert_close(x[..., t], state, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(scan(m, u), x, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shared", [False, True])
def test_linear_recurrence_has_the_right_derivatives(shared: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    m = torch.rand((3, 6) if shared else (2, 3, 6), generator=generator, dtype=torch.float64, requires_grad=True)
    u = torch.randn((2, 3, 6), generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(linear_recurrence, (m, u), check_forward_ad=True)

    def both(a: Tensor) -> Tensor:
        return linear_recurrence(torch.sigmoid(a)[:, None] * m.detach()[..., :3, :], a[:, None] * u.detach())

    a = torch.randn(3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(torch.func.jacfwd(both)(a), torch.autograd.functional.jacobian(both, a))


def test_linear_recurrence_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="last dimensions"):
        linear_recurrence(torch.ones(2, 1, 5), torch.ones(2, 3, 5))


@pytest.mark.parametrize("frame", ["rest", "absolute"])
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_free_running_agrees_with_the_kernel(level: int, frame: str) -> None:
    rng = np.random.default_rng(level)
    simulator = GLIF(level=level, frame=frame, record=("voltage", "threshold"))  # type: ignore[arg-type]
    theta, current = neurons(simulator, 4, rng), np.repeat(noise(4, 120, rng), 10, axis=1)
    response = simulator.simulate(theta, current[:, None], DT)
    free = GLIFTwin(simulator).simulate(torch.from_numpy(theta), torch.from_numpy(current), DT)
    assert sum(len(s) for s in response["spikes"]) > 4
    for b, spikes in enumerate(response["spikes"]):
        assert (np.flatnonzero(free.spikes[b].numpy()) == np.rint(spikes / DT)).all()
    np.testing.assert_allclose(free.voltage.numpy(), response["voltage"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(free.threshold.numpy(), response["threshold"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("cut", [0.0, 0.5])
def test_a_reset_above_threshold_ends_the_twin_as_it_ends_the_kernel(cut: float) -> None:
    simulator = GLIF(level=2, fixed={"spike_cut_length": cut, "reset_b": 40.0})
    theta = np.array([[TYPICAL[name] for name in simulator.parameters]])
    current = np.full((1, 600), 300.0)
    response = simulator.simulate(theta, current[:, None], DT)
    assert response["terminated"][0]
    free = GLIFTwin(simulator).simulate(torch.from_numpy(theta), torch.from_numpy(current), DT)
    assert free.spikes.sum() == len(response["spikes"][0]) == 1
    np.testing.assert_allclose(free.voltage.numpy(), response["voltage"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("cut", [0.0, 2.8])
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_forced_agrees_with_the_kernel_given_its_spikes(level: int, cut: float, k: int) -> None:
    rng = np.random.default_rng(10 + level)
    simulator = GLIF(level, "absolute", {"spike_cut_length": cut}, record=("voltage", "threshold"))
    theta, current = neurons(simulator, 5, rng), noise(5, 300, rng)
    response = simulator.simulate(theta, np.repeat(current, 10, axis=1)[:, None], DT)
    alive = ~response["terminated"]
    theta, current = theta[alive], np.repeat(current[alive], 10 // k, axis=1)
    twin, spikes = GLIFTwin(simulator), [s for s, a in zip(response["spikes"], alive, strict=True) if a]
    assert sum(len(s) for s in spikes) > 10
    parameters = torch.from_numpy(theta)
    where = segments(spikes, twin.cut_steps(parameters, DT).numpy(), current.shape[1], k, DT)
    forced = twin.forced(parameters, torch.from_numpy(current), DT, where)
    assert (where.dropped == 0).all()
    voltage, threshold = response["voltage"][alive][:, k - 1 :: k], response["threshold"][alive][:, k - 1 :: k]
    np.testing.assert_allclose(at_windows(forced.voltage, where), voltage, rtol=0, atol=1e-9)
    np.testing.assert_allclose(at_windows(forced.threshold, where), threshold, rtol=0, atol=1e-9)
    # what the simulator's spikes mean: above threshold at each spike step, not above it at every other step
    distance = forced.voltage - forced.threshold
    assert (distance[where.spike] > 0).all() and (distance[where.silent] <= 0).all()


def test_spikes_within_another_spikes_cut_are_dropped_and_counted() -> None:
    where = segments([np.array([5.0, 6.0, 20.0, 99.0])], np.array([28]), 40, 10, DT)
    assert where.spike.sum() == 2 and where.dropped.tolist() == [2]


@pytest.mark.parametrize("level", [3, 5])
def test_forced_has_the_right_derivatives(level: int) -> None:
    rng = np.random.default_rng(20)
    simulator = GLIF(level, "absolute", {"spike_cut_length": 2.8})
    twin, current = GLIFTwin(simulator), torch.from_numpy(noise(2, 12, rng))
    theta = torch.from_numpy(neurons(simulator, 2, rng))
    where = segments([np.array([2.3]), np.array([3.0, 7.7])], np.array([28, 28]), 12, 10, DT)

    def scaled(factor: Tensor) -> Tensor:
        return torch.cat(twin.forced(theta * factor, current, DT, where), dim=1)

    factor = torch.ones_like(theta).requires_grad_()
    assert torch.autograd.gradcheck(scaled, factor, check_forward_ad=True, eps=1e-6, atol=1e-5)
    torch.testing.assert_close(torch.func.jacfwd(scaled)(factor), torch.autograd.functional.jacobian(scaled, factor))


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_free_running_voltage_has_its_derivatives_and_the_spike_train_its_surrogate(level: int) -> None:
    rng = np.random.default_rng(30)
    simulator = GLIF(level, "rest", {"spike_cut_length": 1.0})
    twin, theta = GLIFTwin(simulator), torch.from_numpy(neurons(simulator, 2, rng))
    strong = torch.full((1, 300), 400.0, dtype=torch.float64)
    direction, step = torch.from_numpy(0.1 * rng.standard_normal(theta.shape)), 1e-7
    factor = torch.ones_like(theta)

    def voltage(by: float) -> Tensor:
        return twin.simulate(theta * (factor + by * direction), strong, DT).voltage.nan_to_num()

    factor.requires_grad_()
    free = twin.simulate(theta * factor, strong, DT)
    up, down = voltage(step).detach(), voltage(-step).detach()
    weights = torch.from_numpy(rng.standard_normal(up.shape))
    (slope,) = torch.autograd.grad((free.voltage.nan_to_num() * weights).sum(), factor, retain_graph=True)
    expected = ((up - down) / (2 * step) * weights).sum()
    torch.testing.assert_close((slope * direction).sum(), expected, rtol=1e-5, atol=1e-4)
    assert free.spikes.sum() > 2
    (gradient,) = torch.autograd.grad(free.spikes.sum(), factor)
    assert gradient.isfinite().all() and gradient[:, simulator.parameters.index("th_inf")].abs().min() > 0
