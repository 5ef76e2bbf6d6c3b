"""Currents from events are those of the dense raster, and so are the weights' gradients."""

import numpy as np
import pytest
import torch

from neuroinf.datasets.raster import Raster, currents, raster
from neuroinf.errors import InputError


def events(sets: int, rng: np.random.Generator, spikes: int = 400) -> tuple[Raster, np.ndarray]:
    """A raster of 7 steps, 5 patterns and 6 channels, several spikes in one cell among them, and its counts."""
    shape = (7, sets, 5, 6)
    t, n, b, channel = (rng.integers(size, size=spikes) for size in shape)
    counts = np.zeros(shape)
    np.add.at(counts, (t, n, b, channel), 1)
    return raster(t, n, b, channel, shape), counts


@pytest.mark.parametrize(("sets", "spikes"), [(1, 400), (3, 400), (3, 0)])
def test_dense_raster_has_every_spike(sets: int, spikes: int) -> None:
    found, counts = events(sets, np.random.default_rng(0), spikes)
    assert np.array_equal(found.dense().numpy(), counts.transpose(1, 2, 0, 3))


@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize("ports", [1, 2])
def test_currents_and_gradient_are_those_of_the_matrix_product(sets: int, ports: int) -> None:
    found, counts = events(sets, np.random.default_rng(1))
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(ports, 3, 6, 4, generator=generator, requires_grad=True)
    x = torch.from_numpy(counts).float().expand(7, 3, 5, 6)
    ours, dense = currents(found, weights), torch.einsum("tnbi,pniu->tpnbu", x, weights)
    # sums of at most 6 products and, over steps and patterns, of 35 more
    torch.testing.assert_close(ours, dense, rtol=1e-5, atol=1e-5)
    g = torch.randn(ours.shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(ours, weights, g)[0], torch.autograd.grad(dense, weights, g)[0], rtol=1e-5, atol=1e-4
    )


def test_further_steps_bring_no_current() -> None:
    found, _ = events(1, np.random.default_rng(4))
    weights = torch.randn(2, 3, 6, 4, generator=torch.Generator().manual_seed(5), requires_grad=True)
    plain, longer = currents(found, weights), currents(found, weights, more=2)
    assert torch.equal(longer[:7], plain) and longer.shape[0] == 9 and not longer[7:].any()
    g = torch.randn(longer.shape, generator=torch.Generator().manual_seed(6))
    gradients = [torch.autograd.grad(out, weights, g[: len(out)])[0] for out in (longer, plain)]
    assert torch.equal(*gradients)


def test_raster_that_does_not_fit_is_an_error() -> None:
    found, _ = events(2, np.random.default_rng(3))
    with pytest.raises(InputError, match="1 or 3 sets of patterns, found 6 channels in 2 sets"):
        currents(found, torch.zeros(1, 3, 6, 4))
    with pytest.raises(InputError, match="5 channels"):
        currents(found, torch.zeros(1, 2, 5, 4))
