"""Array files: what is written is what is read, and nothing in them can run."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.recordings import read

VOLTAGE = -70 + 30 * np.random.default_rng(0).random((3, 200))
STIMULUS = 100 * np.random.default_rng(1).random(200)


def test_npz_and_h5_hold_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", voltage=VOLTAGE, stimulus=STIMULUS, dt=0.2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["voltage"], file["stimulus"] = VOLTAGE, STIMULUS
        file.attrs["dt"] = 0.2
    for name in ("a.npz", "a.h5"):
        sweeps = read(tmp_path / name)
        assert [sweep.dt for sweep in sweeps] == [0.2] * 3
        for sweep, voltage in zip(sweeps, VOLTAGE, strict=True):
            np.testing.assert_array_equal(sweep.voltage, voltage)
            np.testing.assert_array_equal(sweep.stimulus, STIMULUS)


def test_spikes_alone_and_single_sweeps(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", spikes=[1.0, 2.0], stimulus=STIMULUS, dt=0.2)
    (sweep,) = read(tmp_path / "a.npz")
    assert sweep.voltage is None
    np.testing.assert_array_equal(sweep.spikes, [1.0, 2.0])


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"voltage": VOLTAGE}, "dt"),
        ({"dt": 0.1}, "voltage and/or stimulus"),
        ({"voltage": VOLTAGE, "dt": 0.1, "current": STIMULUS}, "current"),
        ({"voltage": VOLTAGE, "dt": [0.1, 0.2]}, "one number in ms"),
        ({"voltage": VOLTAGE.astype(str), "dt": 0.1}, "real numbers"),
        ({"voltage": VOLTAGE.astype(complex), "dt": 0.1}, "real numbers"),
        ({"voltage": VOLTAGE[None], "dt": 0.1}, r"\(1, 3, 200\)"),
        ({"voltage": VOLTAGE, "stimulus": np.tile(STIMULUS, (2, 1)), "dt": 0.1}, "expected 3 sweeps"),
        ({"voltage": VOLTAGE[0], "stimulus": STIMULUS[:-5], "dt": 0.1}, "195"),
        ({"voltage": VOLTAGE, "spikes": [1.0], "dt": 0.1}, "single sweep"),
        ({"voltage": VOLTAGE * 1e-3, "dt": 0.1}, "volts"),
        ({"voltage": VOLTAGE, "stimulus": STIMULUS * 1e-12, "dt": 0.1}, "amperes"),
    ],
)
def test_refused(tmp_path: Path, arrays: dict, expected: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=expected) as error:
        read(tmp_path / "a.npz")
    assert "\n" not in str(error.value)
    assert "a.npz" in str(error.value)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_a_pickle_inside_never_runs(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", voltage=np.array([Payload(tmp_path / "ran")], dtype=object), dt=0.1)
    with pytest.raises(InputError):
        read(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".nwb", ".abf"])
@pytest.mark.parametrize("content", [b"", b"not at all", b"\x89HDF\r\n\x1a\n" + bytes(200), b"PK\x03\x04" + bytes(50)])
def test_damaged_files_of_every_kind(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_truncated_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, voltage=VOLTAGE, dt=0.1)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"a\.npz"):
        read(path)


def test_missing_file_folder_and_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "a.nwb")
    with pytest.raises(InputError, match="folder"):
        read(tmp_path)
    (tmp_path / "a.wav").touch()
    with pytest.raises(InputError, match=r"\.wav"):
        read(tmp_path / "a.wav")


def test_options_of_another_format_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", voltage=VOLTAGE, dt=0.1)
    with pytest.raises(InputError, match="voltage_scale"):
        read(tmp_path / "a.npz", voltage_scale=2.0)
    with pytest.raises(InputError, match="command"):
        read(tmp_path / "a.npz", stimulus="command")


def test_a_dataset_is_not_a_recording(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["parameters"] = np.zeros((2, 2))
        file.create_group("response")
    with pytest.raises(InputError, match="dataset of simulations"):
        read(tmp_path / "a.h5")
