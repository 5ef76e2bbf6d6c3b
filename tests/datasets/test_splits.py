"""Partitions are disjoint, reproducible, and hold out what they say."""

import numpy as np
import pytest

from neuroinf.datasets.splits import HeldOutRegion, HeldOutWaveforms, RandomRows, Split, divide
from neuroinf.errors import InputError

NAMES = ("C", "El")
THETA = np.random.default_rng(0).uniform([10, -80], [200, -60], (500, 2))
WAVEFORM = np.random.default_rng(1).integers(0, 20, 500)
SPLITS = [RandomRows(0.1, 0.2), HeldOutWaveforms(0.25, 0.1), HeldOutRegion({"C": [50.0, 100.0]}, 0.1)]


@pytest.mark.parametrize("split", SPLITS, ids=lambda s: type(s).__name__)
def test_disjoint_complete_reproducible(split: Split) -> None:
    parts = split.partition(NAMES, THETA, WAVEFORM, seed=3)
    together = np.concatenate([parts.train, parts.val, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(500))
    again = split.partition(NAMES, THETA, WAVEFORM, seed=3)
    np.testing.assert_array_equal(parts.train, again.train)
    other = split.partition(NAMES, THETA, WAVEFORM, seed=4)
    assert not np.array_equal(parts.val, other.val)


@pytest.mark.parametrize("split", [SPLITS[0], SPLITS[2]], ids=lambda s: type(s).__name__)
def test_the_sweeps_of_a_neuron_stay_together(split: Split) -> None:
    theta, waveform = np.repeat(THETA, 4, axis=0), np.arange(2000) % 20
    parts = divide(split, NAMES, theta, waveform, 4, seed=3)
    neurons = split.partition(NAMES, THETA, waveform[::4], seed=3)
    for rows, whole in ((parts.train, neurons.train), (parts.val, neurons.val), (parts.test, neurons.test)):
        np.testing.assert_array_equal(rows.reshape(-1, 4) // 4, np.repeat(whole[:, None], 4, axis=1))
        np.testing.assert_array_equal(rows % 4, np.tile(np.arange(4), len(whole)))
    alone = divide(split, NAMES, THETA, WAVEFORM, 1, seed=3)
    np.testing.assert_array_equal(alone.train, split.partition(NAMES, THETA, WAVEFORM, seed=3).train)


def test_waveforms_are_not_held_out_where_a_neuron_has_several() -> None:
    with pytest.raises(InputError, match=r"HeldOutWaveforms.*data\.test_stimulus"):
        divide(SPLITS[1], NAMES, np.repeat(THETA, 4, axis=0), np.arange(2000) % 20, 4, seed=3)


def test_random_fractions() -> None:
    parts = RandomRows(0.1, 0.2).partition(NAMES, THETA, WAVEFORM, 0)
    assert (len(parts.val), len(parts.test)) == (50, 100)


def test_held_out_waveforms_never_train() -> None:
    parts = SPLITS[1].partition(NAMES, THETA, WAVEFORM, 0)
    trained = set(WAVEFORM[np.concatenate([parts.train, parts.val])])
    assert trained.isdisjoint(WAVEFORM[parts.test]) and len(set(WAVEFORM[parts.test])) == 5
    with pytest.raises(InputError, match="at least 2 waveforms"):
        SPLITS[1].partition(NAMES, THETA, np.zeros(500, int), 0)


def test_held_out_region_never_trains() -> None:
    parts = SPLITS[2].partition(NAMES, THETA, WAVEFORM, 0)
    inside = (THETA[:, 0] >= 50) & (THETA[:, 0] <= 100)
    assert inside[parts.test].all() and not inside[parts.train].any() and not inside[parts.val].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomRows(val=1.0), "fraction"),
        (lambda: HeldOutRegion({"C": [2.0, 1.0]}), "low < high"),
        (lambda: HeldOutRegion({"X": [1.0, 2.0]}).partition(NAMES, THETA, WAVEFORM, 0), "file's parameters are"),
        (lambda: HeldOutRegion({"C": [0.0, 300.0]}).partition(NAMES, THETA, WAVEFORM, 0), "no row to train on"),
    ],
)
def test_bad_splits(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
