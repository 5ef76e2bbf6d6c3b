"""Pooling the pieces of a recording: exact for independent pieces of the model, wider for pieces that contradict."""

import math

import pytest
import torch

from neuroinf.networks.agreement import pool


def _pieces(count: int, factor: float, seed: int, sd: float = 0.2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A truth z (2,) from the prior, and posteriors of pieces whose noise is `factor` times what they say it is."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, generator=generator, dtype=torch.float64)
    root = torch.tensor([[1.0, 0.0], [0.8, 0.6]], dtype=torch.float64) * sd
    information = torch.linalg.inv(root @ root.T)
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64) @ root.T
    measured = z + factor * noise
    precision = information + torch.eye(2, dtype=torch.float64)
    mean = torch.linalg.solve(precision, (information @ measured.T)).T
    return z, mean, precision.expand(count, 2, 2)


def test_pieces_of_the_model_give_the_exact_posterior() -> None:
    _, mean, precision = _pieces(3, 0.0, seed=1)
    found = pool(mean, precision).distribution
    total = precision.sum(0) - 2 * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(found.precision_matrix[0], total)
    torch.testing.assert_close(found.mean[0], torch.linalg.solve(total, (precision @ mean[..., None]).sum(0))[:, 0])


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_the_pooled_posterior_covers_the_truth(factor: float) -> None:
    """Within its 90 % ellipse as often as it says, whether the pieces' noise is what they say it is or 3 times that.

    400 cases: the bound is the binomial one at 1e-4 for a coverage of 0.9 (an F distribution in place of chi-square for
    the estimated scatter makes the true coverage 0.885 at 30 pieces, which widens it below).
    """
    inside, scatter = 0, []
    for seed in range(400):
        z, mean, precision = _pieces(30, factor, seed)
        found = pool(mean, precision)
        difference = z - found.distribution.mean[0]
        distance = difference @ found.distribution.precision_matrix[0] @ difference
        inside += int(distance < 4.605)  # chi-square of 2 degrees of freedom, 90 %
        scatter.append(found.scatter)
    assert 0.82 < inside / 400 < 0.96
    # sd of one scatter about 1 / sqrt(2 nu), nu = 58: 0.093 of the mean, of 400 a twentieth of that
    assert sum(scatter) / 400 == pytest.approx(factor, rel=0.03)


def test_scatter_is_significant_only_for_contradicting_pieces() -> None:
    """p is uniform for pieces of the model (at most 1 of 200 below 1e-4: false-alarm rate 2e-4), and tiny otherwise."""
    assert sum(pool(*_pieces(20, 1.0, seed)[1:]).p < 1e-4 for seed in range(200)) <= 1
    assert all(pool(*_pieces(20, 3.0, seed)[1:]).p < 1e-4 for seed in range(20))


def test_pieces_that_say_next_to_nothing_do_not_add_up() -> None:
    """A bias of the network by 0.2 in a direction without information stays out, however many the pieces."""
    mean = torch.tensor([[0.2, 1.0]]).expand(100, 2)
    precision = torch.diag(torch.tensor([1.02, 26.0])).expand(100, 2, 2)
    found = pool(mean, precision)
    assert float(found.distribution.mean[0, 0]) == 0.0
    assert float(found.distribution.variance[0, 0]) == pytest.approx(1.0)
    assert float(found.distribution.mean[0, 1]) == pytest.approx(26 / 25, rel=1e-2)


def test_a_single_piece_cannot_contradict() -> None:
    _, mean, precision = _pieces(1, 1.0, seed=0)
    found = pool(mean, precision)
    assert math.isnan(found.scatter) and found.p == 1.0
    torch.testing.assert_close(found.distribution.mean, mean)
