"""Populations from files: spike trains, binned arrays, NWB units, and a pickle that must not run."""

import pickle
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from neuroinf.commands.info import info
from neuroinf.errors import InputError
from neuroinf.recordings.populations import read_population
from neuroinf.recordings.spike_trains import binned_trains

RNG = np.random.default_rng(0)


def stringer(**changes: Any) -> dict[str, Any]:
    """As published: activity (neurons, bins), positions (3, neurons), behaviour, and what is known of each cell."""
    return {
        "sresp": RNG.random((12, 30)).astype(np.float32),
        "xyz": np.stack([RNG.random(12), RNG.random(12), np.repeat([-1.0, 0.0, 1.0], 4)]),
        "run": RNG.random((30, 1)),
        "stat": np.array([{"npix": np.int64(3), "med": np.arange(2)} for _ in range(12)], dtype=object),
    } | changes


# -- spike trains ----------------------------------------------------------------------------------------------------


def test_counts_are_those_of_a_histogram() -> None:
    trains = [np.sort(RNG.uniform(100.0, 110.0, 50 * k + 1)) for k in range(4)]
    data = binned_trains(trains, 20.0, 100.0, 110.0)
    assert data.bins == 500 and data.dt == 20.0
    for k, train in enumerate(trains):
        wanted = np.histogram(train, np.linspace(100.0, 110.0, 501))[0]
        assert np.abs(data.activity[0][:, k] - wanted).sum() <= 2  # a time on an edge, to rounding
        assert data.activity[0][:, k].sum() == len(train)


def test_the_last_bin_is_a_whole_one() -> None:
    data = binned_trains([np.array([0.0, 0.5, 0.95, 1.04])], 100.0)
    assert data.activity[0][:, 0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert binned_trains([np.array([0.0, 0.3])], 100.0).bins == 3  # which in binary is 2.9999999999999996


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([np.zeros(0)],), "no spike"),
        (([np.array([np.nan])],), "finite spike times"),
        (([np.array([0.0, 0.01])],), "at least a bin of 50 ms"),
        (([np.array([0.0, 1.0])], -1.0), "dt a positive"),
    ],
)
def test_impossible_trains_are_refused(arguments: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        binned_trains(*arguments)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "neurons", "spikes", "first"),
    [("aplysia_pedal_ganglion.npz", 125, 17059, "1"), ("rat_ca1_linear_track.npz", 31, 28829, "0")],
)
def test_recorded_populations(
    real_data_dir: Path, file: str, neurons: int, spikes: int, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read_population(real_data_dir / file, 100.0)
    assert data.neurons == neurons and data.kind == "counts" and data.names[0] == first and data.dt == 100.0
    with np.load(real_data_dir / file) as stored:
        unit, time = stored["id"], stored["t"].astype(float)
    assert len(time) == spikes
    # from the first spike on, whole bins only, the last spike in the last of them or behind it
    assert data.bins == len(data.activity[0]) == int((time.max() - time.min()) / 0.1)
    edges = time.min() + 0.1 * np.arange(data.bins + 1)
    wanted = np.stack([np.histogram(time[unit == int(name)], edges)[0] for name in data.names], 1)
    # a histogram's last bin is closed, and a time on an edge goes to either side, to rounding: each moves one count
    edge = np.abs((time - time.min()) / 0.1 - np.round((time - time.min()) / 0.1)) < 1e-6
    assert np.abs(data.activity[0] - wanted).sum() <= 2 * edge.sum()
    assert 0 <= spikes - data.activity[0].sum() <= (time >= edges[-1] - 1e-6).sum()
    info([str(real_data_dir / file)])
    assert f"spike counts of {neurons} neurons" in capsys.readouterr().out


# -- arrays ----------------------------------------------------------------------------------------------------------


def test_binned_arrays(tmp_path: Path) -> None:
    x = RNG.poisson(1.0, (3, 20, 5))
    np.savez(tmp_path / "a.npz", activity=x, dt=5.0, group=[0, 0, 1, 1, 1], names=list("abcde"))
    data = read_population(tmp_path / "a.npz")
    assert (data.kind, data.dt, data.names) == ("counts", 5.0, tuple("abcde")) and len(data.activity) == 3
    np.testing.assert_array_equal(np.stack(data.activity), x)
    np.savez(tmp_path / "b.npz", activity=x[0] + 0.5, dt=5.0)
    assert read_population(tmp_path / "b.npz").kind == "trace"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"activity": np.ones((3, 2))}, "activity and dt"),
        ({"activity": np.ones((3, 2)), "dt": 1.0, "speed": 1.0}, "found activity, dt, speed"),
        ({"activity": np.ones(3), "dt": 1.0}, "found float64 of shape"),
        ({"activity": np.ones((3, 2)), "dt": 1.0, "names": ["a"]}, r"names: expected shape \(2,\)"),
        ({"activity": np.ones((3, 2)), "dt": 1.0, "kind": "rates"}, "counts or trace"),
        ({"id": [0, 1], "t": [0.5]}, "of each spike"),
        ({"id": [0.5, 1.0], "t": [0.5, 1.0]}, "whole numbers"),
        ({"id": [0, 1], "t": [0.5, 1.0], "group": [1]}, "each of 2 units"),
        ({"id": [0, 1]}, "arrays id, t"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=said):
        read_population(tmp_path / "a.npz")


def test_what_a_file_says_itself_is_not_said_again(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", activity=np.ones((3, 2)), dt=1.0)
    with pytest.raises(InputError, match="leave it out"):
        read_population(tmp_path / "a.npz", 2.0)
    with pytest.raises(InputError, match="of spike trains"):
        read_population(tmp_path / "a.npz", start=1.0)
    for name, said in (("no.npz", "no such file"), ("a.txt", "no such file"), ("", "a folder")):
        with pytest.raises(InputError, match=said):
            read_population(tmp_path / name)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=r"found \.txt"):
        read_population(tmp_path / "a.txt")


# -- NWB -------------------------------------------------------------------------------------------------------------


def write_nwb(path: Path, trains: list[Any], intervals: Any = None, grouped: bool = False) -> None:
    nwb = NWBFile("a session", "id", datetime(2020, 1, 1, tzinfo=timezone.utc))
    device = nwb.create_device("probe")
    shanks = [nwb.create_electrode_group(f"shank{i}", "a shank", "CA1", device) for i in range(2)]
    for k, train in enumerate(trains):
        extra = {"electrode_group": shanks[k % 2]} if grouped else {}
        nwb.add_unit(spike_times=train, obs_intervals=intervals, id=10 + k, **extra)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)


def test_units_of_nwb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trains = [np.sort(RNG.uniform(2.0, 12.0, n)) for n in (30, 50, 3, 20)]
    write_nwb(tmp_path / "u.nwb", trains, [[2.0, 12.0]], grouped=True)
    data = read_population(tmp_path / "u.nwb", 100.0)
    assert data.names == ("10", "11", "12", "13") and data.group.tolist() == [0, 1, 0, 1] and data.bins == 100
    np.testing.assert_array_equal(data.activity[0].sum(0), [30, 50, 3, 20])
    np.testing.assert_array_equal(data.activity[0], binned_trains(trains, 100.0, 2.0, 12.0).activity[0])
    write_nwb(tmp_path / "plain.nwb", trains)
    assert read_population(tmp_path / "plain.nwb", 100.0, 0.0, 5.0).bins == 50
    info([str(tmp_path / "u.nwb")])
    assert "spike counts of 4 neurons" in capsys.readouterr().out


def test_nwb_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    write_nwb(tmp_path / "gaps.nwb", [np.array([1.0, 9.0])], [[0.0, 2.0], [8.0, 10.0]])
    with pytest.raises(InputError, match="2 intervals"):
        read_population(tmp_path / "gaps.nwb")
    assert read_population(tmp_path / "gaps.nwb", 100.0, 0.0, 2.0).bins == 20
    write_nwb(tmp_path / "empty.nwb", [])
    with pytest.raises(InputError, match="units table"):
        read_population(tmp_path / "empty.nwb")
    (tmp_path / "no.nwb").write_bytes(b"not an NWB file")
    with pytest.raises(InputError, match="expected an NWB file"):
        read_population(tmp_path / "no.nwb")


@pytest.mark.real_data
def test_current_clamp_is_no_population(real_data_dir: Path) -> None:
    with pytest.raises(InputError, match="units table"):
        read_population(real_data_dir / "allen_long_square.nwb")


# -- the published calcium recording -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "<u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_published_form_is_read(tmp_path: Path, dtype: str, order: Any, capsys: pytest.CaptureFixture[str]) -> None:
    content = stringer(sresp=np.asarray(RNG.uniform(0, 100, (12, 30)).astype(dtype), order=order))
    np.save(tmp_path / "s.npy", content)  # pyright: ignore[reportArgumentType]
    data = read_population(tmp_path / "s.npy")
    assert (data.kind, data.dt, data.neurons, data.bins) == ("trace", 1200.0, 12, 30)
    np.testing.assert_array_equal(data.activity[0], content["sresp"].T.astype(np.float32))
    assert data.positions is not None and data.group.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(data.positions, content["xyz"].T)
    assert read_population(tmp_path / "s.npy", 400.0).dt == 400.0
    info([str(tmp_path / "s.npy")])
    assert "groups (neurons in each): 0: 4, 1: 4, 2: 4" in capsys.readouterr().out


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_older_pickles_are_read(tmp_path: Path, protocol: int) -> None:
    content = stringer()
    holder = np.empty((), object)
    holder[()] = content
    with open(tmp_path / "s.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(holder, file, protocol=protocol)
    np.testing.assert_array_equal(read_population(tmp_path / "s.npy").activity[0], content["sresp"].T)


class Running:
    """Asks whoever unpickles it to call something."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("where", ["sresp", "other", "nested"])
def test_no_code_is_run(tmp_path: Path, where: str) -> None:
    trap, sign = tmp_path / "s.npy", tmp_path / "it_ran"
    evil = Running(Path.touch, sign)
    content = stringer(**({"stat": np.array([{"a": [evil]}], object)} if where == "nested" else {where: evil}))
    np.save(trap, content)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"pickle asks for .* could run code: it is not opened") as refused:
        read_population(trap)
    assert not sign.exists() and "\n" not in str(refused.value) and "s.npy" in str(refused.value)


@pytest.mark.parametrize("call", [(eval, "1"), (np.load, "x"), (np.frombuffer, b"1"), (getattr, 1, "real")])
def test_nothing_but_the_putting_down_of_arrays_is_known(tmp_path: Path, call: Any) -> None:
    np.save(tmp_path / "s.npy", stringer(run=Running(*call)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="not opened"):
        read_population(tmp_path / "s.npy")


def test_other_npy_files_are_refused(tmp_path: Path) -> None:
    cases: list[tuple[Any, str]] = [
        (np.ones((3, 4)), "expected a dictionary with sresp and xyz, found an array float64"),
        (stringer(xyz=np.ones((3, 5))), r"xyz: expected shape \(3, 12\)"),
        (stringer(sresp=np.ones(12)), r"expected shape \(neurons, bins\)"),
        (stringer(sresp="text"), "array of real numbers"),
        (stringer(sresp=np.array(["a"])), "array of real numbers"),
        (stringer(sresp=np.full((12, 30), np.nan)), "must be finite"),
        ({"run": 1}, "expected activity as sresp"),
        (np.array([{"a": 1}, {"b": 2}], object), "expected a dictionary"),
    ]
    for content, said in cases:
        np.save(tmp_path / "s.npy", content)
        with pytest.raises(InputError, match=said):
            read_population(tmp_path / "s.npy")
    good = tmp_path / "good.npy"
    np.save(good, stringer())  # pyright: ignore[reportArgumentType]
    for cut in (3, 60, 200, 1000):
        (tmp_path / "cut.npy").write_bytes(good.read_bytes()[:cut])
        with pytest.raises(InputError, match="could not read it"):
            read_population(tmp_path / "cut.npy")
