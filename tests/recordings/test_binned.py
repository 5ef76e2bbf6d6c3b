"""Recordings in bins: what is taken, and what is refused with which words."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings import binned, read_binned

X = np.random.default_rng(0).standard_normal((2, 50))
COUNTS = np.random.default_rng(1).poisson(0.5, 50)
RATE = np.linspace(0.1, 0.9, 50)


def test_spike_times_and_counts_are_the_same_recording() -> None:
    rng = np.random.default_rng(2)
    times = np.sort(np.concatenate([t + rng.random(c) for t, c in enumerate(COUNTS)])) * 4.0
    by_time = binned("count", 2, 4.0, None, times, X, 4.0)
    by_count = binned("count", 2, 4.0, None, COUNTS, X, None)
    assert np.array_equal(by_time.response, by_count.response)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_file_says_the_same_as_arrays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"neuron{suffix}"
    if suffix == ".npz":
        np.savez(path, rate=RATE, stimulus=X, dt=1.0)
    else:
        with h5py.File(path, "w") as file:
            file["rate"], file["stimulus"] = RATE, X
            file.attrs["dt"] = 1.0
    found = read_binned(path, "rate", 2, 1.0)
    assert np.array_equal(found.response, RATE) and found.inputs is not None and np.array_equal(found.inputs, X)


@pytest.mark.parametrize(
    ("channel", "inputs", "given", "message"),
    [
        ("rate", 2, {"spikes": COUNTS, "stimulus": X}, r"reads rate \(T,\).*found spikes instead"),
        ("rate", 2, {"stimulus": X}, "found none"),
        ("count", 2, {"rate": RATE, "spikes": COUNTS, "stimulus": X}, "found both"),
        ("rate", 2, {"rate": RATE}, r"stimulus \(2, T\); found none"),
        ("rate", 3, {"rate": RATE, "stimulus": X}, r"expected shape \(3, T\), found \(2, 50\)"),
        ("rate", 2, {"rate": RATE, "stimulus": X.T}, "transposed"),
        ("rate", 2, {"rate": RATE[:40], "stimulus": X}, "found 40 and 50"),
        ("rate", 2, {"rate": RATE, "stimulus": X, "dt": 0.1}, "bins of 1 ms, found dt 0.1 ms"),
        ("rate", 2, {"rate": -RATE, "stimulus": X}, "expected rates above 0, found -0.1 in bin 0"),
        ("rate", 2, {"rate": RATE * 1j, "stimulus": X}, "expected real numbers, found complex"),
        ("rate", 2, {"rate": RATE * np.nan, "stimulus": X}, "expected finite numbers"),
        ("rate", 2, {"rate": ["a"] * 50, "stimulus": X}, "expected real numbers"),
        ("count", 2, {"spikes": COUNTS + 0.5, "stimulus": X}, "whole numbers"),
        ("count", 2, {"spikes": np.array([3.0, 1.0]), "stimulus": X, "dt": 1.0}, "sorted times from 0 to 50 ms"),
        ("count", 2, {"spikes": np.array([3.0, 51.0]), "stimulus": X, "dt": 1.0}, "sorted times from 0 to 50 ms"),
        ("count", 0, {"spikes": COUNTS, "stimulus": X}, "stimulus is fixed"),
        ("rate", 2, {"rate": RATE[:, None], "stimulus": X}, r"expected one response \(T,\)"),
    ],
)
def test_bad_arrays_are_refused(channel: str, inputs: int, given: dict, message: str) -> None:
    rate, spikes, stimulus, dt = (given.get(key) for key in ("rate", "spikes", "stimulus", "dt"))
    with pytest.raises(InputError, match=message):
        binned(channel, inputs, 1.0, rate, spikes, stimulus, dt)


@pytest.mark.parametrize("value", [0.0, 1.0, 1.2, -0.1])
def test_what_the_model_cannot_show_is_refused(value: float) -> None:
    """A logistic rate lies between 0 and 1, a Bernoulli neuron has a spike in a bin or none; the bin is named."""
    rate = np.full(50, 0.5)
    rate[7] = value
    with pytest.raises(InputError, match=f"rates above 0 and below 1, found {value:g} in bin 7"):
        binned("rate", 2, 1.0, rate, None, X, None, largest=1.0)
    counts = np.zeros(50)
    counts[7] = 2.0
    with pytest.raises(InputError, match="whole numbers from 0 to 1, found 2 in bin 7"):
        binned("count", 2, 1.0, None, counts, X, None, largest=1.0)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_binned(tmp_path / "none.npz", "rate", 2, 1.0)
    (tmp_path / "cell.abf").write_bytes(b"")
    with pytest.raises(InputError, match=r"\.npz or \.h5"):
        read_binned(tmp_path / "cell.abf", "rate", 2, 1.0)
    np.savez(tmp_path / "other.npz", voltage=RATE)
    with pytest.raises(InputError, match="found voltage"):
        read_binned(tmp_path / "other.npz", "rate", 2, 1.0)
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04torn")
    with pytest.raises(InputError, match="could not read"):
        read_binned(tmp_path / "torn.npz", "rate", 2, 1.0)
