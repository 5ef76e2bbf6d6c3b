"""The receptors' recordings: what was recorded, binned without losing or moving anything."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings.grasshopper import RECORDINGS, grasshopper

needs_nitime = pytest.mark.skipif(
    importlib.util.find_spec("nitime") is None, reason="the recordings come with nitime, which is not installed"
)


@needs_nitime
@pytest.mark.parametrize(("number", "spikes"), [(1, 929), (2, 868)])
def test_spikes_are_the_files_and_the_level_is_noise_of_the_named_band(number: int, spikes: int) -> None:
    level, counts = grasshopper(number)
    assert len(level) == len(counts) == 10_000
    assert counts.sum() == spikes and counts.max() == 1
    assert abs(level.mean()) < 1e-12
    # all but a percent of the power lies below the header's cut-off, and flat noise leaves no more than its share
    power = np.abs(np.fft.rfft(level)) ** 2
    cut = int(RECORDINGS[number].split()[0])
    frequency = np.fft.rfftfreq(len(level), 1e-3)
    if cut < frequency[-1]:
        assert power[frequency <= cut * 1.1].sum() > 0.99 * power.sum()
    half = min(cut, frequency[-1]) / 2
    assert power[frequency <= half].sum() == pytest.approx(power.sum() / 2, rel=0.25)


@needs_nitime
def test_bins_are_means_of_finer_bins_and_sums_of_their_spikes() -> None:
    fine, coarse = grasshopper(2, 0.5), grasshopper(2, 2.0)
    assert np.allclose(fine[0].reshape(-1, 4).mean(1), coarse[0])
    assert np.array_equal(fine[1].reshape(-1, 4).sum(1), coarse[1])


@pytest.mark.parametrize(("number", "dt", "part"), [(3, 1.0, "recording 1 or 2"), (1, 0.07, "multiple of 0.05")])
def test_impossible_wishes_are_refused(number: int, dt: float, part: str) -> None:
    with pytest.raises(InputError, match=part):
        grasshopper(number, dt)


def test_without_nitime_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install nitime"):
        grasshopper(1)
