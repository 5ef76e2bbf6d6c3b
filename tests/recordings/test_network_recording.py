"""Recordings of populations: files of every form come out the same, and bad ones are told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings.network_recording import NetworkRecording, read_network, simulated_recording

GOOD: dict[str, Any] = {
    "id": np.array([3, 1, 3, 1]),
    "t": np.array([0.5, 1.0, 2.0, 3.0]),
    "population": np.array([0, 1]),
    "start": 0.0,
    "stop": 4.0,
}


def write(folder: Path, **changed: Any) -> Path:
    arrays = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    np.savez(folder / "recording.npz", **arrays)
    return folder / "recording.npz"


def test_times_populations_and_duration(tmp_path: Path) -> None:
    found = read_network(write(tmp_path))
    np.testing.assert_allclose(found.spikes[0], [1000.0, 3000.0])
    np.testing.assert_allclose(found.spikes[1], [500.0, 2000.0])
    assert found.groups.tolist() == [0, 1] and found.duration == 4000.0 and found.inputs is None


def test_neurons_without_a_spike_are_listed_in_unit(tmp_path: Path) -> None:
    found = read_network(write(tmp_path, unit=np.array([3, 2, 1]), population=np.array([1, 0, 0])))
    assert [len(train) for train in found.spikes] == [2, 0, 2] and found.groups.tolist() == [1, 0, 0]


def test_part_of_a_file(tmp_path: Path) -> None:
    found = read_network(write(tmp_path), start=0.75, stop=2.5)
    np.testing.assert_allclose(found.spikes[0], [250.0])
    assert found.duration == 1750.0


def test_window_and_neurons_of_a_recording() -> None:
    inputs = np.arange(20.0).reshape(2, 10)
    whole = simulated_recording([1.0, 9.0, 17.0], [0, 1, 0], [0, 1], 40.0, inputs)
    part = whole.window(8.0, 20.0)
    np.testing.assert_allclose(part.spikes[0], [9.0])
    np.testing.assert_allclose(part.spikes[1], [1.0])
    assert part.inputs is not None and part.inputs.tolist() == inputs[:, 2:5].tolist()
    assert whole.take([1]).groups.tolist() == [1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"population": None}, "expected the population of each neuron"),
        ({"population": np.array([0])}, "of each of 2 neurons"),
        ({"population": np.array([0.0, 1.0])}, "a whole number from 0"),
        ({"population": np.array([0, -1])}, "expected populations from 0"),
        ({"t": np.array([0.5, np.nan, 2.0, 3.0])}, "expected finite spike times"),
        ({"t": np.array([0.5, 1.0])}, "of each spike"),
        ({"id": np.array([0.5, 1.0, 2.0, 3.0])}, "whole numbers"),
        ({"stop": -1.0}, "stop after start"),
        ({"unit": np.array([3, 2])}, "expected every id once"),
        ({"rate": np.zeros(3)}, "expected the arrays id, t, population"),
        ({"input": np.full((3, 10), np.inf)}, "expected finite numbers"),
        ({"dt": np.zeros(2)}, "expected one number"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as told:
        read_network(write(tmp_path, **changed))
    assert "\n" not in str(told.value)


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_network(tmp_path / "nothing.npz")
    (tmp_path / "text.txt").write_text("1")
    with pytest.raises(InputError, match=r"as \.npz or \.nwb"):
        read_network(tmp_path / "text.txt")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="could not read it"):
        read_network(tmp_path / "broken.npz")


def test_spikes_outside_the_recording_are_refused() -> None:
    with pytest.raises(InputError, match="expected spikes from 0 to 10 ms"):
        NetworkRecording((np.array([11.0]),), np.array([0]), 10.0)
