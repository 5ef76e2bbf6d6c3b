"""What is done to a population before anything is learnt from it, and the two errors of the published study."""

from typing import Any

import numpy as np
import pytest

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.datasets.preprocessing import (
    bin_activity,
    by_depth,
    by_grid,
    by_kmeans,
    equalised,
    population_mode_removed,
    rate_preserving,
    split_time,
)
from neuroinf.errors import InputError


def recording(neurons: int = 60, bins: int = 43, seed: int = 0) -> PopulationData:
    """Positive traces with a common mode, at positions on three planes."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 1.0, (bins, neurons)) * rng.uniform(0.5, 3.0, neurons) * rng.uniform(0.5, 2.0, (bins, 1))
    positions = np.stack(
        [rng.uniform(0, 900, neurons), rng.uniform(0, 600, neurons), rng.choice([-30.0, 0.0, 30.0], neurons)], 1
    )
    return population(x, 100.0, "trace", positions=positions)


def counts(bins: tuple[int, ...] = (43, 20)) -> PopulationData:
    rng = np.random.default_rng(1)
    return population([rng.poisson(2.0, (t, 5)) for t in bins], 10.0, "counts")


# -- bins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 5, 7])
def test_bins_are_sums_of_counts_and_means_of_traces(factor: int) -> None:
    for data, combine in ((counts(), np.sum), (recording(), np.mean)):
        found = bin_activity(data, factor)
        assert found.dt == data.dt * factor and found.kind == data.kind
        for x, y in zip(data.activity, found.activity, strict=True):
            assert len(y) == len(x) // factor
            for j in range(len(y)):
                np.testing.assert_allclose(y[j], combine(x[j * factor : (j + 1) * factor], axis=0), rtol=1e-6)


def test_no_bin_is_filled_up() -> None:
    """The study's program added zeros before it averaged, so that its last bin was one in which all neurons fell silent."""
    data = population(np.ones((7018, 3)), 1200.0, "trace")
    found = bin_activity(data, 2)
    assert len(found.activity[0]) == 3509 and (found.activity[0] == 1).all()
    for factor in (3, 5, 6):
        binned = bin_activity(data, factor).activity[0]
        assert len(binned) == 7018 // factor and (binned == 1).all()


@pytest.mark.parametrize("factor", [0, -1, 21])
def test_impossible_bins_are_refused(factor: int) -> None:
    with pytest.raises(InputError, match="from 1 to 20"):
        bin_activity(counts(), factor)


# -- groups ----------------------------------------------------------------------------------------------------------


def test_planes_are_groups_from_the_lowest() -> None:
    data = by_depth(recording())
    assert data.positions is not None
    assert {(z, g) for z, g in zip(data.positions[:, 2], data.group, strict=True)} == {(-30, 0), (0, 1), (30, 2)}


def test_blocks_are_a_partition_and_no_two_are_identical() -> None:
    """The study's program took the first block nine times."""
    data = by_grid(recording(400), 3, 3)
    assert data.groups.tolist() == list(range(9))
    blocks = [data.of_group(label) for label in range(9)]
    assert sorted(name for block in blocks for name in block.names) == sorted(data.names)
    assert len({block.names for block in blocks}) == 9
    for label, block in enumerate(blocks):
        assert block.positions is not None
        x, y = block.positions[:, 0], block.positions[:, 1]
        assert np.ptp(x) <= 300 and np.ptp(y) <= 200
        column, row = divmod(label, 3)
        assert 300 * column - 5 <= x.min() and x.max() <= 300 * (column + 1) + 5
        assert 200 * row - 5 <= y.min() and y.max() <= 200 * (row + 1) + 5
        np.testing.assert_array_equal(block.activity[0], data.activity[0][:, [int(k) for k in block.names]])


def test_blocks_of_the_very_edge_belong_to_the_last() -> None:
    positions = [[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]
    data = population(np.ones((2, 4)), 1.0, "trace", positions=positions)
    assert by_grid(data, 3, 1).group.tolist() == [0, 1, 2, 2]
    with pytest.raises(InputError, match="same y"):
        by_grid(data, 1, 2)


def test_clusters_are_those_of_the_positions() -> None:
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0, 0], [500, 0, 0], [0, 500, 500]])
    truth = rng.integers(0, 3, 90)
    data = population(np.ones((2, 90)), 1.0, "trace", positions=centres[truth] + rng.normal(0, 20, (90, 3)))
    found = by_kmeans(data, 3, seed=0)
    np.testing.assert_array_equal(found.group, truth)
    np.testing.assert_array_equal(by_kmeans(data, 3, seed=7).group, truth)


def test_equal_groups_are_drawn_with_a_seed_and_without_replacement() -> None:
    data = by_depth(recording(200))
    smallest = np.bincount(data.group).min()
    first, again, other = equalised(data, 1), equalised(data, 1), equalised(data, 2)
    assert first.names == again.names and first.names != other.names
    assert len(set(first.names)) == len(first.names) and np.bincount(first.group).tolist() == [smallest] * 3
    np.testing.assert_array_equal(first.activity[0], data.activity[0][:, [int(k) for k in first.names]])
    assert equalised(data, 1, 4).neurons == 12
    with pytest.raises(InputError, match="smallest group"):
        equalised(data, 1, int(smallest) + 1)


@pytest.mark.parametrize("group", [by_depth, lambda d: by_grid(d, 2, 2), lambda d: by_kmeans(d, 2, 0)])
def test_groups_of_place_need_places(group: Any) -> None:
    with pytest.raises(InputError, match="positions"):
        group(counts())


# -- normalisation ---------------------------------------------------------------------------------------------------


def test_rates_keep_their_proportions() -> None:
    data = by_depth(recording())
    found = rate_preserving(data)
    for label in range(3):
        before, after = data.of_group(label).activity[0], found.of_group(label).activity[0]
        assert after.mean() == pytest.approx(1.0, rel=1e-5)
        ratio = after / before
        assert np.ptp(ratio) < 1e-5 * ratio.mean()
    assert found.kind == "trace"


def test_the_studys_normalisation_removes_the_common_mode() -> None:
    data = by_depth(recording())
    found = population_mode_removed(data)
    for label in range(3):
        np.testing.assert_allclose(found.of_group(label).activity[0].mean(1), 1.0, rtol=1e-5)
    assert rate_preserving(data).activity[0].mean(1).std() > 0.2


def test_activity_without_a_positive_mean_is_refused() -> None:
    silent = population(np.array([[1.0, 2], [0, 0]]), 1.0, "counts")
    with pytest.raises(InputError, match="bin 1 is 0"):
        population_mode_removed(silent)
    with pytest.raises(InputError, match="mean activity of group 0 is 0"):
        rate_preserving(population(np.zeros((3, 2)), 1.0, "counts"))


# -- time ------------------------------------------------------------------------------------------------------------


def test_parts_in_time_are_in_order_and_each_bin_is_in_one() -> None:
    data = counts((43, 20))
    parts = split_time(data, (0.6, 0.2, 0.2))
    for s, x in enumerate(data.activity):
        np.testing.assert_array_equal(np.concatenate([part.activity[s] for part in parts]), x)
    train, rest = split_time(population(np.ones((2500, 2)), 1.0, "counts"))
    assert (len(train.activity[0]), len(rest.activity[0])) == (2000, 500)
    assert len(split_time(population(np.ones((3510, 2)), 1.0, "counts"))[0].activity[0]) == 2808


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), (), (0.01, 0.99)])
def test_impossible_parts_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"sum to 1|too short"):
        split_time(counts(), fractions)


# -- what a population is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: population(np.ones((3, 2)), 0.0, "trace"), "dt: expected a positive"),
        (lambda: population(np.ones(3), 1.0, "trace"), r"expected activity \(bins, neurons\)"),
        (lambda: population(np.ones((0, 3)), 1.0, "trace"), "sequences of activity|bins, neurons"),
        (lambda: population([np.ones((3, 2)), np.ones((3, 4))], 1.0, "trace"), "one width"),
        (lambda: population(np.full((3, 2), np.nan), 1.0, "trace"), "must be finite, found nan in sequence 0, bin 0"),
        (lambda: population(np.full((3, 2), 0.5), 1.0, "counts"), "whole numbers from 0, found 0.5"),
        (lambda: population(-np.ones((3, 2)), 1.0, "counts"), "whole numbers from 0, found -1"),
        (lambda: population(np.ones((3, 2)), 1.0, "trace", group=[1]), "group: expected one for each of 2"),
        (lambda: counts().select([]), "none chosen"),
    ],
)
def test_impossible_populations_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
