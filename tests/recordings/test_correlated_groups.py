"""Neurons that fire together are put together, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings.correlated_groups import correlated_groups

DURATION = 60_000.0


def assemblies(rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
    """Three groups of 8, 5 and 6 neurons with common bursts at their own times; the second fires most."""
    trains, label = [], []
    for group, (size, bursts, rate) in enumerate(((8, 60, 2.0), (5, 60, 12.0), (6, 60, 2.0))):
        when = rng.uniform(0, DURATION, bursts)
        for _ in range(size):
            own = rng.uniform(0, DURATION, rng.poisson(rate * DURATION / 1000 / 2))
            common = np.concatenate([t + rng.uniform(0, 50, rng.poisson(3.0)) for t in when])
            trains.append(np.sort(np.concatenate([own, common[common < DURATION]])))
            label.append(group)
    return trains, np.array(label)


def test_groups_are_found_and_the_busiest_is_last() -> None:
    trains, label = assemblies(np.random.default_rng(0))
    found = correlated_groups(trains, DURATION)
    np.testing.assert_array_equal(found, np.array([0, 2, 1])[label])  # by size, but the one that fires most last
    order = np.random.default_rng(1).permutation(len(trains))
    shuffled = correlated_groups([trains[k] for k in order], DURATION)
    np.testing.assert_array_equal(shuffled, found[order])


def test_a_silent_neuron_is_grouped_too() -> None:
    trains, _ = assemblies(np.random.default_rng(2))
    assert len(correlated_groups([*trains, np.zeros(0)], DURATION)) == len(trains) + 1


@pytest.mark.parametrize(("neurons", "duration", "message"), [(2, DURATION, "expected 1 to 2"), (5, 60.0, "two bins")])
def test_too_little_is_refused(neurons: int, duration: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        correlated_groups([np.array([1.0])] * neurons, duration)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "neurons"), [("rat_ca1_linear_track", 31), ("aplysia_pedal_ganglion", 125)])
def test_groups_of_real_recordings_are_correlated_within(real_data_dir, name, neurons) -> None:  # type: ignore[no-untyped-def]
    with np.load(real_data_dir / f"{name}.npz") as file:
        ids, t = file["id"], 1000 * (file["t"].astype(np.float64) - file["t"].min())
    trains = [t[ids == one] for one in np.unique(ids)]
    groups = correlated_groups(trains, float(t.max()))
    assert len(groups) == neurons and set(groups.tolist()) == {0, 1, 2}
    rate = [np.mean([len(trains[k]) for k in np.flatnonzero(groups == g)]) for g in range(3)]
    assert rate[2] == max(rate)
    bins = int(t.max() / 50)
    counts = np.array([np.histogram(train, bins, (0, bins * 50.0))[0] for train in trains])
    r = np.corrcoef(counts)[np.triu_indices(neurons, 1)]
    same = (groups[:, None] == groups)[np.triu_indices(neurons, 1)]
    assert r[same].mean() > r[~same].mean()
