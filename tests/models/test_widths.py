"""Widths learnt from held-out neurons: a density that is too sure, or too cautious, is told so, and an honest one left alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from neuroinf.models.widths import calibrate_widths
from neuroinf.networks.densities import Gaussian, Point
from neuroinf.networks.flow import Flow

N = 4000
# the factor of a sd from N residuals has the relative error 1 / sqrt(2 N); in all but 1e-4 of cases it is within 3.9 of
# these, and optimisation by differences of float32 means adds less than as much
BOUND = 2 * 3.9 / math.sqrt(2 * N)


def honest(kind: type[Gaussian] | type[Flow]) -> Gaussian | Flow:
    """z ~ N(h, S) with features h (2,), sds 0.5 and 0.2 and correlation 0.6."""
    density = kind(2, 2, hidden=())
    last = density.network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.weight[:2] = torch.eye(2)
        # the second row's own sd is that given the first
        last.bias[:] = torch.tensor([0.0, 0.0, math.log(0.5), math.log(0.2 * 0.8), 0.6 / 0.8])
    return density


def held_out(n: int = N) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(n, 2, generator=generator)
    e = torch.randn(n, 2, generator=generator)
    z = features + torch.stack([0.5 * e[:, 0], 0.2 * (0.6 * e[:, 0] + 0.8 * e[:, 1])], -1)
    return list(zip(features.split(500), z.split(500), strict=True))


@pytest.mark.parametrize("kind", [Gaussian, Flow])
@pytest.mark.parametrize("off", [(1.0, 1.0), (0.7, 0.8), (1.5, 1.2)])
def test_factors_are_found_and_undone(kind: type[Gaussian] | type[Flow], off: tuple[float, float]) -> None:
    density, reference = honest(kind), honest(kind)
    density.widen(torch.tensor(off).log())
    found = calibrate_widths(nn.Identity(), density, held_out())
    assert found is not None
    assert all(abs(a * b - 1) < BOUND for a, b in zip(found, off, strict=True))
    features, z = held_out(500)[0]
    with torch.no_grad():
        assert abs(density.loss(features, z).mean() - reference.loss(features, z).mean()) < 0.02


def test_correlations_stay() -> None:
    density = honest(Gaussian)
    density.widen(torch.tensor([0.3, -0.2]))
    with torch.no_grad():
        posterior = density.posterior(torch.zeros(1, 2))
    covariance = posterior.covariance_matrix[0]  # pyright: ignore[reportAttributeAccessIssue]
    sd = covariance.diagonal().sqrt()
    assert torch.allclose(sd, torch.tensor([0.5, 0.2]) * torch.tensor([0.3, -0.2]).exp(), atol=1e-5)
    assert abs(covariance[0, 1] / sd.prod() - 0.6) < 1e-5


def test_point_estimates_and_few_neurons_are_left_alone() -> None:
    assert calibrate_widths(nn.Identity(), Point(2, 2), held_out()) is None
    density = honest(Flow)
    before = {name: value.clone() for name, value in density.state_dict().items()}
    assert calibrate_widths(nn.Identity(), density, held_out(100)) is None
    assert all(torch.equal(before[name], value) for name, value in density.state_dict().items())
