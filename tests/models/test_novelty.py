"""The distance from the training distribution: false alarms as stated, and what is elsewhere is found."""

import torch
from scipy import stats

from neuroinf.models.novelty import FALSE_ALARMS, Novelty


def embeddings(n: int, seed: int) -> torch.Tensor:
    """Correlated, of very different spreads, as a hidden layer's are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, generator=torch.Generator().manual_seed(99)) * torch.logspace(-2, 1, 12)
    return torch.randn(n, 12, generator=generator) @ mixing


def test_false_alarms_are_as_stated() -> None:
    """Limit from 4,000 and count among 4,000: both binomial, 3.9 joint standard errors either side (1e-4)."""
    novelty, fresh = Novelty.fit(embeddings(8000, 0)), embeddings(4000, 1)
    alarms = int((novelty.distance(fresh) > novelty.limit).sum())
    error = (2 * stats.binom.var(4000, FALSE_ALARMS)) ** 0.5
    assert abs(alarms - 4000 * FALSE_ALARMS) < 3.9 * error
    assert novelty.warnings(embeddings(3, 2)) == []


def test_elsewhere_is_found() -> None:
    """Far along a narrow direction, where the plain distance is small, and the median of several sweeps counts."""
    novelty = Novelty.fit(embeddings(8000, 0))
    narrow = torch.linalg.eigh(torch.cov(embeddings(8000, 0).T)).eigenvectors[:, 0]
    away = embeddings(1, 3) + 2.0 * narrow
    assert "outside the training distribution" in novelty.warnings(away)[0]
    assert novelty.warnings(torch.cat([away, embeddings(2, 4)])) == []
    assert novelty.warnings(torch.cat([away, away, embeddings(1, 4)])) != []


def test_kept_in_a_checkpoint_it_is_the_same() -> None:
    novelty = Novelty.fit(embeddings(500, 0))
    again = Novelty(**vars(novelty))
    torch.testing.assert_close(again.distance(embeddings(9, 5)), novelty.distance(embeddings(9, 5)))
