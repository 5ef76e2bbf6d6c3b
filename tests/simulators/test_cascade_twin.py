"""The compiled loops forth and back against a plain loop in torch, recursions by hand, and finite differences."""

from __future__ import annotations

from pathlib import Path

import cascade_by_hand as by_hand
import numpy as np
import pytest
import torch
from torch import Tensor

from neuroinf.simulators import Cascade
from neuroinf.simulators.cascade_program import Program
from neuroinf.simulators.cascade_twin import CascadeTwin

GRAPHS = Path(__file__).parents[2] / "configs" / "cascades"
TRAINABLE = ["one_compartment", "no_bap", "bap", "parallel_no_bap", "prc"]
NAMES = [*TRAINABLE, "readout", "lnl", "parallel", "recurrent", "dendrosomatic"]
# two vectors of 16: beyond a multiple of that torch's own sigmoid changes its last bit
ROWS = 96


def case(name: str, n: int, steps: int, dtype: torch.dtype = torch.float64) -> tuple[Cascade, Tensor, Tensor, float]:
    """A cascade, parameters near the published ones, a stimulus that makes it spike, and dt."""
    simulator = Cascade(str(GRAPHS / f"{name}.yaml"))
    rng = torch.Generator().manual_seed(1)
    theta = torch.tensor(simulator.reference).repeat(n, 1)
    theta = theta * (0.9 + 0.2 * torch.rand(theta.shape, generator=rng, dtype=torch.float64))
    dt = 1.0 if "soma_input" in simulator.inputs else 0.5
    size = {"parallel_no_bap": 0.05, "prc": 0.05, "recurrent": 1.0, "lnl": 20.0}.get(name, 2.0)
    stimulus = size * (torch.randn(n, len(simulator.inputs), steps, generator=rng, dtype=torch.float64) + 0.7)
    if "block" in simulator.inputs:
        stimulus[:, 1] = torch.rand(n, 1, generator=rng, dtype=torch.float64)
    elif "soma_input" in simulator.inputs:
        stimulus[:, -1] = 2 * stimulus[:, -1].abs() / size
    return simulator, theta.to(dtype), stimulus.to(dtype), dt


def gradients(simulator: Cascade, method: str, theta: Tensor, stimulus: Tensor, dt: float) -> tuple[Tensor, ...]:
    """Response and gradients of a random weighting of it."""
    theta, stimulus = theta.clone().requires_grad_(), stimulus.clone().requires_grad_()
    found = CascadeTwin(simulator, method).response(theta, stimulus, dt)  # pyright: ignore[reportArgumentType]
    response = torch.stack(list(found.values()))
    weights = torch.randn(response.shape, generator=torch.Generator().manual_seed(2), dtype=response.dtype)
    return response.detach(), *torch.autograd.grad((weights * response).sum(), (theta, stimulus))


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_plain_loop(name: str) -> None:
    simulator, theta, stimulus, dt = case(name, 70, 50)
    plain = gradients(simulator, "loop", theta, stimulus, dt)
    compiled = gradients(simulator, "compiled", theta, stimulus, dt)
    for a, b in zip(plain, compiled, strict=True):
        assert float((a - b).abs().max()) <= 1e-11 * max(1.0, float(a.abs().max()))
    simulated = simulator.simulate(theta.numpy(), stimulus.numpy(), dt)
    for line, channel in zip(compiled[0], simulator.record, strict=True):
        np.testing.assert_allclose(line.numpy(), simulated[channel], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["lnl", "parallel", "recurrent", "readout", "dendrosomatic"])
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    simulator, theta, stimulus, dt = case(name, 3, 40)
    if name in ("recurrent", "dendrosomatic"):  # smooth far below the threshold, where the surrogate is below 1e-11
        stimulus = 0.1 * stimulus
        theta[:, simulator.parameters.index("threshold")] = 1e5
    theta.requires_grad_()
    stimulus.requires_grad_()
    twin = CascadeTwin(simulator)

    def response(theta: Tensor, stimulus: Tensor) -> Tensor:
        return torch.stack(list(twin.response(theta, stimulus, dt).values()))

    assert torch.autograd.gradcheck(response, (theta, stimulus), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trainable_neurons_by_hand(name: str, dtype: torch.dtype) -> None:
    whole, _, stimulus, _ = case(name, ROWS, 200, dtype)
    simulator = Cascade(whole.graph, parameters=[])
    spikes, soma = by_hand.trainable(
        name, dict(zip(whole.parameters, whole.reference[0], strict=True)), stimulus.permute(2, 1, 0)
    )
    found = CascadeTwin(simulator).response(torch.zeros(ROWS, 0), stimulus, 1.0)
    assert 0.01 < spikes.mean() < 0.99
    assert torch.equal(found["spike"].T, spikes)
    if dtype == torch.float32:
        assert torch.equal(found["soma"].T, soma)
    else:
        torch.testing.assert_close(found["soma"].T, soma, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", TRAINABLE)
def test_trainable_gradients_by_hand(name: str) -> None:
    whole, _, stimulus, _ = case(name, 10, 60)
    simulator = Cascade(whole.graph, parameters=[], record=["spike"])
    parameters = dict(zip(whole.parameters, whole.reference[0], strict=True))
    weights = torch.randn(60, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours, theirs = stimulus.clone().requires_grad_(), stimulus.clone().requires_grad_()
    (weights * CascadeTwin(simulator).response(torch.zeros(10, 0), ours, 1.0)["spike"].T).sum().backward()
    (weights * by_hand.trainable(name, parameters, theirs.permute(2, 1, 0))[0]).sum().backward()
    assert ours.grad is not None and theirs.grad is not None
    assert float(theirs.grad.abs().max()) > 0
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["bap", "prc", "readout", "parallel", "recurrent", "dendrosomatic"])
def test_gradient_of_the_stimulus_alone_is_the_same(name: str) -> None:
    """For it less is kept of the way forth."""
    simulator, theta, stimulus, dt = case(name, 70, 50)
    _, _, expected = gradients(simulator, "compiled", theta, stimulus, dt)
    alone = stimulus.clone().requires_grad_()
    response = torch.stack(list(CascadeTwin(simulator).response(theta, alone, dt).values()))
    weights = torch.randn(response.shape, generator=torch.Generator().manual_seed(2), dtype=response.dtype)
    assert torch.equal(torch.autograd.grad((weights * response).sum(), alone)[0], expected)


@pytest.mark.parametrize("name", ["prc", "recurrent", "dendrosomatic"])
def test_rows_of_a_block_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator, theta, stimulus, dt = case(name, 300, 40)
    found = []
    for rows in (64, 128, 256):
        monkeypatch.setattr(Program, "block_rows", lambda self, n, size, rows=rows: rows)
        simulated = simulator.simulate(theta.numpy(), stimulus.numpy(), dt)
        lines = tuple(torch.from_numpy(simulated[channel]) for channel in simulator.record)
        found.append((*gradients(simulator, "compiled", theta, stimulus, dt), *lines))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_blocks_are_large_where_their_rings_are_small_and_there_are_several() -> None:
    few, many = (Cascade(str(GRAPHS / f"{name}.yaml")).tables(0.1) for name in ("prc", "dendrosomatic"))
    assert [few.block_rows(n, 4) for n in (1, 600, 1100, 10_000)] == [64, 64, 128, 256]
    assert many.block_rows(10_000, 4) == 64


def test_shared_stimulus_gathers_the_gradient_of_all_rows() -> None:
    simulator, theta, stimulus, dt = case("parallel", 5, 30)
    shared = stimulus[:1].clone().requires_grad_()
    repeated = stimulus[:1].repeat(5, 1, 1).requires_grad_()
    twin = CascadeTwin(simulator)
    (one,) = torch.autograd.grad(twin.response(theta, shared, dt)["voltage"].sum(), shared)
    (each,) = torch.autograd.grad(twin.response(theta, repeated, dt)["voltage"].sum(), repeated)
    torch.testing.assert_close(one, each.sum(0, keepdim=True), rtol=1e-12, atol=1e-12)
