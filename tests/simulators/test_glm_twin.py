"""The GLM's twin against the compiled kernel and scipy's probabilities, and its derivatives."""

from typing import Any

import numpy as np
import pytest
import torch
from glm_neurons import draw_theta, drive, f
from numpy.typing import NDArray
from scipy import stats

from neuroinf.errors import InputError
from neuroinf.simulators import GLM
from neuroinf.simulators.bases import AlphaFunctions, RaisedCosines, Taps
from neuroinf.simulators.glm_twin import GLMTwin

ALL: dict[str, Any] = {
    "filters": RaisedCosines(4, 0.0, 10.0),
    "coupled": 2,
    "coupling": AlphaFunctions([1.0, 4.0]),
    "history": Taps(6),
}
PARTS: Any = [
    {},
    {"hidden": 0},
    {"hidden": 1},
    {"hidden": 3, "summed": True},
    {"inputs": 0, "hidden": 2},
    ALL,
    ALL | {"filters": None, "hidden": 2, "summed": True},
]


def neurons(
    n: int, steps: int, seed: int, scale: float = 0.1, **arguments: Any
) -> tuple[GLM, NDArray[Any], NDArray[Any]]:
    """A simulator, parameters and a stimulus."""
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = {"inputs": 3, "hidden": 2} | arguments
    simulator = GLM(**given)
    rows = simulator.inputs + simulator.coupled + simulator.hidden
    return simulator, draw_theta(simulator, n, rng, scale), rng.standard_normal((n, rows, steps))


def tensors(simulator: GLM, x: NDArray[Any], response: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What the twin is told, in float64."""
    given = {"observed": torch.from_numpy(x[:, : x.shape[1] - simulator.hidden_inputs])}
    if simulator.hidden:
        given["hidden"] = torch.from_numpy(np.asarray(response["latent/hidden"], np.float64))
    shown = np.asarray(response[next(iter(simulator.channels))], np.float64)
    return given | {"response": torch.from_numpy(shown)}


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("parts", PARTS)
def test_rate_agrees_with_the_kernel(parts: dict[str, Any], nonlinearity: Any) -> None:
    simulator, theta, x = neurons(5, 150, 1, nonlinearity=nonlinearity, **parts)
    response = simulator.simulate(theta, x, 1.0, range(5))
    rate = GLMTwin(simulator).rate(torch.from_numpy(theta), dt=1.0, **tensors(simulator, x, response))
    np.testing.assert_allclose(rate.numpy(), response["rate"], rtol=1e-12)


def test_rate_agrees_with_the_kernels_stored_in_single_precision() -> None:
    """What the kernel feeds back is what it stores, and what it sums is what it shows: the twin gets both exactly."""
    simulator, theta, x = neurons(5, 100, 2, **(ALL | {"hidden": 2, "summed": True}))
    x = x.astype(np.float32)
    response = simulator.simulate(theta, x, 1.0)
    given = tensors(simulator, x.astype(np.float64), response)
    rate = GLMTwin(simulator).rate(torch.from_numpy(theta), dt=1.0, **given)
    np.testing.assert_array_equal(rate.numpy().astype(np.float32), response["rate"])


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_filters_longer_than_the_recording(steps: int) -> None:
    simulator, theta, x = neurons(3, steps, 3, **ALL)
    response = simulator.simulate(theta, x, 1.0)
    rate = GLMTwin(simulator).rate(torch.from_numpy(theta), dt=1.0, **tensors(simulator, x, response))
    np.testing.assert_allclose(rate.numpy(), response["rate"], rtol=1e-12)


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("output", ["bernoulli", "poisson"])
@pytest.mark.parametrize("parts", [{}, ALL])
def test_log_likelihood_agrees_with_scipy(parts: dict[str, Any], output: Any, nonlinearity: Any) -> None:
    simulator, theta, x = neurons(4, 120, 4, nonlinearity=nonlinearity, output=output, **parts)
    response = simulator.simulate(theta, x, 1.0, range(4))
    given = tensors(simulator, x, response)
    found = GLMTwin(simulator).log_likelihood(torch.from_numpy(theta), dt=1.0, **given)
    y = np.asarray(response["count"])
    rate = f(simulator, drive(simulator, theta, x, y, 1.0))
    if output == "poisson":
        expected = stats.poisson.logpmf(y, rate)
    else:
        expected = stats.bernoulli.logpmf(y, rate if nonlinearity == "logistic" else -np.expm1(-rate))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("output", ["rate", "bernoulli", "poisson"])
def test_derivatives_agree_with_finite_differences(output: Any, nonlinearity: Any) -> None:
    """In parameters and hidden inputs, reverse and forward mode."""
    simulator, theta, x = neurons(2, 12, 5, 0.3, nonlinearity=nonlinearity, output=output, **ALL)
    given = tensors(simulator, x, simulator.simulate(theta, x, 1.0, range(2)))
    twin = GLMTwin(simulator)

    def value(theta: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        arguments: dict[str, Any] = given | {"hidden": hidden}
        if output == "rate":
            return twin.rate(theta, dt=1.0, **arguments)
        return twin.log_likelihood(theta, dt=1.0, **arguments)

    at = (torch.from_numpy(theta).requires_grad_(), given["hidden"].clone().requires_grad_())
    assert torch.autograd.gradcheck(value, at, check_forward_ad=True)


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize("output", ["bernoulli", "poisson"])
def test_log_likelihood_and_slope_are_finite_far_out(output: Any, nonlinearity: Any) -> None:
    twin = GLMTwin(GLM(1, 0, nonlinearity=nonlinearity, output=output))
    bias = torch.tensor([-1e4, -45.0, -35.0, 0.0, 35.0, 600.0], dtype=torch.float64)
    theta = torch.stack((torch.zeros_like(bias), bias), dim=1).requires_grad_()
    for count in (0.0, 1.0):
        response = torch.full((6, 1), count, dtype=torch.float64)
        total = twin.log_likelihood(theta, torch.zeros(6, 1, 1, dtype=torch.float64), response, 1.0)
        (slope,) = torch.autograd.grad(total.sum(), theta)
        assert total.isfinite().all() and slope.isfinite().all()
        if nonlinearity == "exponential" and count:
            torch.testing.assert_close(total[:3, 0], bias[:3], rtol=1e-12, atol=1e-12)


def test_likelihood_is_highest_at_the_truth() -> None:
    """In expectation: the score at the truth, over its standard error (the Fisher information), is standard normal."""
    simulator, theta, x = neurons(40, 2000, 6, output="bernoulli", **ALL)
    given = tensors(simulator, x, simulator.simulate(theta, x, 1.0, range(40)))
    point = torch.from_numpy(theta).requires_grad_()
    twin = GLMTwin(simulator)
    (score,) = torch.autograd.grad(twin.log_likelihood(point, dt=1.0, **given).sum(), point)
    p = twin.rate(point, dt=1.0, **given).detach()
    bias = simulator.parameters.index("b")  # d log p / d b = y - p, of variance p (1 - p)
    z = score[:, bias] / (p * (1 - p)).sum(1).sqrt()
    assert z.abs().max() < stats.norm.isf(1e-4 / (2 * 40))


def test_runs_wherever_its_tensors_are() -> None:
    """On the meta device nothing can be read back, so that no step passes through numpy."""
    simulator, theta, x = neurons(2, 30, 7, output="poisson", **ALL)
    given = tensors(simulator, x, simulator.simulate(theta, x, 1.0))
    moved: dict[str, Any] = {name: values.to("meta") for name, values in given.items()}
    found = GLMTwin(simulator).log_likelihood(torch.from_numpy(theta).to("meta"), dt=1.0, **moved)
    assert found.device.type == "meta" and found.shape == (2, 30)


def test_refuses_what_does_not_fit() -> None:
    simulator, theta, x = neurons(2, 30, 8, **ALL)
    twin, given = GLMTwin(simulator), tensors(simulator, x, simulator.simulate(theta, x, 1.0))
    point, observed = torch.from_numpy(theta), given["observed"]
    for arguments, message in (
        ({"observed": observed}, r"expected response of shape \(2, 30\), found nothing"),
        (
            {"observed": observed, "response": given["response"]},
            r"expected hidden of shape \(2, 2, 30\), found nothing",
        ),
        (given | {"hidden": given["hidden"][:, 0]}, r"found shape \(2, 30\)"),
        (given | {"observed": torch.from_numpy(x)}, r"observed \(n, 5, T\), found \(2, .*\) and \(2, 7, 30\)"),
    ):
        with pytest.raises(InputError, match=message):
            twin.rate(point, dt=1.0, **arguments)
    with pytest.raises(InputError, match="has no likelihood"):
        twin.log_likelihood(point, dt=1.0, **given)
