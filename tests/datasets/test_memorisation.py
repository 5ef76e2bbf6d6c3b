"""Random patterns have the rate that is asked for, and belong to their network alone."""

import math

import pytest
import torch

from neuroinf.datasets.memorisation import RandomPatterns
from neuroinf.errors import InputError


def test_rate_and_labels_are_those_asked_for() -> None:
    data = RandomPatterns(replicates=4, patterns=64, inputs=50, steps=100, probability=0.02, classes=2)
    events, labels = data.draw()
    n = 4 * 64 * 50 * 100
    # 4 standard errors: a false alarm in 1 of 16,000 draws; the seed is fixed
    assert abs(events.counts.sum().item() - 0.02 * n) < 4 * math.sqrt(n * 0.02 * 0.98)
    assert events.counts.max() == 1
    assert labels.shape == (4, 64) and set(labels.unique().tolist()) == {0, 1}
    assert abs(labels.float().sum().item() - 128) < 4 * 8


def test_patterns_of_a_network_do_not_depend_on_the_others_nor_on_global_seeds() -> None:
    torch.manual_seed(1)
    few, few_labels = RandomPatterns(replicates=1, patterns=8, inputs=20, steps=30).draw()
    torch.manual_seed(2)
    many, labels = RandomPatterns(replicates=3, patterns=8, inputs=20, steps=30).draw()
    assert torch.equal(few.dense()[0], many.dense()[0]) and torch.equal(few_labels[0], labels[0])
    assert not torch.equal(many.dense()[0], many.dense()[1])
    other, _ = RandomPatterns(replicates=1, patterns=8, inputs=20, steps=30, seed=1).draw()
    assert not torch.equal(other.dense(), few.dense())


@pytest.mark.parametrize("wrong", [{"patterns": 0}, {"probability": 1.5}, {"classes": -1}])
def test_impossible_numbers_are_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"data\.{next(iter(wrong))}: expected"):
        RandomPatterns(**wrong)  # pyright: ignore[reportArgumentType]
