"""The network's input: spikes keep their times, samples their instant, noise its size, and missing is nan."""

import numpy as np
import pytest

from neuroinf.datasets.observation import Observation, bin_spikes, decimate, hold_or_average
from neuroinf.errors import InputError


def test_binning_keeps_count_and_time() -> None:
    """Sum over bins is the number of spikes; the centre of mass of an isolated spike is its time."""
    rng = np.random.default_rng(1)
    trains = [np.sort(rng.uniform(0, 95, size)) for size in (0, 1, 7, 40)]
    grid = bin_spikes(trains, 1.0, 100)
    np.testing.assert_allclose(grid.sum(1), [0, 1, 7, 40], rtol=1e-6)
    np.testing.assert_allclose(grid[1] @ np.arange(100), trains[1][0], rtol=1e-5)
    total = [train.sum() for train in trains]
    np.testing.assert_allclose(grid @ np.arange(100), total, rtol=1e-4)


def test_binning_ignores_spikes_outside() -> None:
    assert bin_spikes([np.array([-1.0, 5.0, 200.0])], 1.0, 10).sum() == 1.0


def test_decimation_takes_the_end_of_each_step() -> None:
    values = np.arange(12.0)[None]
    np.testing.assert_array_equal(decimate(values, 0.5, 1.0)[0], [1, 3, 5, 7, 9, 11])
    np.testing.assert_array_equal(decimate(values, 1.0, 1.0), values)
    with pytest.raises(InputError, match="whole multiple"):
        decimate(values, 1.0, 2.5)
    with pytest.raises(InputError, match="whole multiple"):
        decimate(values, 1.0, 0.5)


def test_stimulus_is_held_or_averaged() -> None:
    stimulus = np.array([[[1.0, 3.0, 5.0, 7.0]]])
    np.testing.assert_array_equal(hold_or_average(stimulus, 1.0, 0.5, 8)[0, 0], [1, 1, 3, 3, 5, 5, 7, 7])
    np.testing.assert_array_equal(hold_or_average(stimulus, 1.0, 2.0, 2)[0, 0], [2, 6])
    with pytest.raises(InputError, match="whole multiple"):
        hold_or_average(stimulus, 1.0, 1.5, 2)


def test_assembly_order_and_absence() -> None:
    """Rows follow the channels' order; what is not given is nan; several inputs take several rows."""
    observation = Observation(channels=("stimulus", "voltage", "spikes"), inputs=2)
    stimulus = np.stack([np.full((2, 5), 1.0), np.full((2, 5), 2.0)], 1)
    x = observation.assemble(2, 5.0, {}, [np.array([2.0]), np.array([])], (stimulus, 1.0))
    assert x.shape == (2, 4, 5)
    np.testing.assert_array_equal(x[:, 0], 1.0)
    np.testing.assert_array_equal(x[:, 1], 2.0)
    assert np.isnan(x[:, 2]).all()
    np.testing.assert_array_equal(x[0, 3], [0, 0, 1, 0, 0])


def test_noise_has_the_stated_sd() -> None:
    """Sample sd within a bound of false-alarm rate 1e-4: relative error of sd is 1/sqrt(2n), 3.9 standard errors."""
    observation = Observation(noise={"voltage": 0.5})
    n = 40_000
    noisy = observation.add_noise(np.zeros((3, n), np.float32), np.random.default_rng(2))
    assert abs(noisy[0].std() / 0.5 - 1) < 3.9 / np.sqrt(2 * n)
    assert (noisy[1:] == 0).all()


def test_views_are_reproducible_and_leave_the_row_alone() -> None:
    observation = Observation(noise={"voltage": [0.05, 2.0]}, missing={"stimulus": 0.5})
    row = np.random.default_rng(0).normal(size=(3, 100)).astype(np.float32)
    before = row.copy()
    views = [observation.view(row, 30, np.random.default_rng(seed)) for seed in range(60)]
    np.testing.assert_array_equal(row, before)
    np.testing.assert_array_equal(views[7], observation.view(row, 30, np.random.default_rng(7)))
    starts = set()
    for view in views:  # each is a contiguous stretch of the row
        matches = [s for s in range(71) if np.array_equal(view[1], row[1, s : s + 30])]
        assert len(matches) == 1
        starts.add(matches[0])
    assert len(starts) > 20


def test_lengths_cover_the_durations() -> None:
    observation = Observation(duration=[10.0, 50.0], duration_probability=0.7)
    lengths = [observation.length(100, np.random.default_rng(seed)) for seed in range(200)]
    short = [length for length in lengths if length < 100]
    assert min(short) >= 10 and max(short) <= 50 and len(set(short)) > 20
    # 140 expected of 200 with sd 6.5: 4 standard deviations either side, false-alarm rate 6e-5
    assert 114 <= len(short) <= 166
    assert Observation().length(100, np.random.default_rng(0)) == 100


def test_never_everything_missing() -> None:
    observation = Observation(channels=("voltage", "stimulus"), missing={"voltage": 1.0, "stimulus": 1.0})
    view = observation.view(np.zeros((2, 10), np.float32), 10, np.random.default_rng(0))
    assert np.isfinite(view).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": ()}, "name each channel once"),
        ({"channels": ("voltage", "voltage")}, "name each channel once"),
        ({"dt": 0.0}, "must be positive"),
        ({"noise": {"current": 1.0}}, "names \\['current'\\]"),
        ({"noise": {"voltage": [2.0, 0.1]}}, "increasing positive range"),
        ({"noise": {"voltage": -1.0}}, "standard deviation >= 0"),
        ({"missing": {"voltage": 1.5}}, "must be a probability"),
        ({"duration": [5.0, 1.0]}, "shortest, longest"),
        ({"spike_cut": -1.0}, "must not be negative"),
    ],
)
def test_impossible_values(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Observation(**arguments)
