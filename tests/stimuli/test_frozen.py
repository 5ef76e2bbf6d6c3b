"""Frozen noise: the same whoever asks, and made again from its description."""

from __future__ import annotations

import numpy as np
import pytest

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.specification import specify
from neuroinf.stimuli import Frozen, Mixture, OrnsteinUhlenbeck, Stimulus


def noise() -> OrnsteinUhlenbeck:
    return OrnsteinUhlenbeck(50.0, 0.1, 1.0, 2.0, 5.0, unit="1")


def test_is_one_draw_of_its_component() -> None:
    first, second = (Frozen(noise(), 3).sample(np.random.default_rng(seed)) for seed in (0, 1))
    assert np.array_equal(first, second) and np.array_equal(first, noise().sample(np.random.default_rng(3)))
    assert not np.array_equal(first, Frozen(noise(), 4).sample(np.random.default_rng(0)))


def test_is_made_again_from_its_description() -> None:
    frozen = Frozen(noise(), 3)
    again = build(specify(frozen), Stimulus)
    assert again.frozen and np.array_equal(
        again.sample(np.random.default_rng(0)), frozen.sample(np.random.default_rng(1))
    )


def test_a_mixture_of_frozen_ones_is_not_frozen() -> None:
    assert not Mixture([Frozen(noise(), 1), Frozen(noise(), 2)]).frozen


def test_refuses_a_negative_seed() -> None:
    with pytest.raises(InputError, match="Frozen: seed must not be negative, found -1"):
        Frozen(noise(), -1)
