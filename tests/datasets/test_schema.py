"""A file's rows are what was stored, in any order; damage never passes for data."""

import pickle
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from neuroinf.construction import simulation_from_spec
from neuroinf.datasets import schema
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.layout import attributes_crc, datasets
from neuroinf.datasets.schema import Dataset
from neuroinf.errors import InputError

Make = Callable[..., Simulation]


@pytest.fixture
def path(simulation: Make, toy: Any, tmp_path: Path) -> Path:
    """A file of 200 rows, scaled by rheobase."""
    return generate(simulation(n=200, stimulus=toy.Pulses("rheobase")), tmp_path / "f.h5", workers=1)


@pytest.mark.parametrize("bank_bytes", [0, schema.BANK_BYTES])
def test_rows_in_any_order(path: Path, monkeypatch: pytest.MonkeyPatch, bank_bytes: int) -> None:
    monkeypatch.setattr(schema, "BANK_BYTES", bank_bytes)
    rng, file = np.random.default_rng(0), Dataset(path)
    with h5py.File(path) as h:
        stored: dict[str, NDArray[Any]] = {name: d[...] for name, d in datasets(h).items()}
    offsets, times = stored["response/spikes/offsets"], stored["response/spikes/times"]
    seen = stored["stimulus/waveform"][stored["stimulus/index"]] * stored["stimulus/scale"][:, None, None]
    for indices in (
        rng.permutation(200),
        rng.integers(0, 200, 64),
        np.arange(50, 120),
        np.array([199, 0, 0, 199]),
        np.array([], np.int64),
    ):
        rows = file.rows(indices)
        assert np.array_equal(rows.parameters, stored["parameters"][indices])
        assert np.array_equal(rows.continuous["voltage"], stored["response/voltage"][indices])
        assert np.array_equal(rows.status, stored["status"][indices])
        assert np.array_equal(rows.stimulus, seen[indices].astype(np.float32))
        assert np.array_equal(file.latent("final", indices), stored["latent/final"][indices])
        assert rows.spikes is not None and len(rows.spikes) == len(indices)
        for train, i in zip(rows.spikes, indices, strict=True):
            assert np.array_equal(train, times[offsets[i] : offsets[i + 1]])


def test_what_it_tells(path: Path, simulation: Make) -> None:
    file = Dataset(path)
    assert file.n == len(file) == 200 and file.names == ("leak", "gain") and file.units == ("1/ms", "1")
    assert file.prior.to_dict() == simulation().prior.to_dict()
    assert (file.record_dt, file.stimulus_dt, file.stimulus_unit) == (2.0, 1.0, "pA")
    assert file.channels == {"voltage": "mV"} and file.seconds > 0
    text = file.describe()
    for part in (
        "200 simulations of toy_neurons.Toy",
        "seed 3",
        "terminated",
        "16 waveforms",
        "leak",
        "1/ms",
        "every 2 ms",
    ):
        assert part in text


def test_a_file_makes_itself_again(path: Path, tmp_path: Path) -> None:
    again = simulation_from_spec(Dataset(path).specification, trust=["toy_neurons"])
    copy = generate(again, tmp_path / "again.h5", workers=1)
    with h5py.File(path) as ours, h5py.File(copy) as theirs:
        theirs_all = datasets(theirs)
        for name, d in datasets(ours).items():
            assert d[...].tobytes() == theirs_all[name][...].tobytes()


def test_each_process_opens_the_file_for_itself(path: Path) -> None:
    file = Dataset(path)
    voltage = file.rows([3, 8]).continuous["voltage"]
    assert np.array_equal(pickle.loads(pickle.dumps(file)).rows([3, 8]).continuous["voltage"], voltage)
    queue = get_context("fork").SimpleQueue()

    def read() -> None:
        queue.put((file.rows([3, 8]).continuous["voltage"], file._arrays._process))

    child = get_context("fork").Process(target=read)
    child.start()
    found, process = queue.get()
    child.join()
    assert np.array_equal(found, voltage) and process == child.pid


def test_rows_outside_the_file(path: Path) -> None:
    for indices in ([200], [-1], [[1]]):
        with pytest.raises(InputError, match="from 0 to 199"):
            Dataset(path).rows(indices)
    with pytest.raises(InputError, match="latent/final"):
        Dataset(path).latent("rate", [0])


# -- damage ----------------------------------------------------------------------------------------------------------


def everything(path: Path) -> Any:
    """All that a reader can get from a file."""
    file = Dataset(path)
    file.verify()
    rows = file.rows(np.arange(file.n))
    trains = [train.tobytes() for train in rows.spikes or []]
    arrays = [a.tobytes() for a in (rows.parameters, rows.stimulus, rows.status, rows.continuous["voltage"])]
    return trains, arrays, file.prior.to_dict(), file.names, file.units, file.specification, file.record_dt


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated(path: Path, kept: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=r"f\.h5 is damaged or no HDF5 file.*run neuroinf simulate again"):
        everything(path)


@pytest.mark.parametrize(
    "name", ["parameters", "response/voltage", "response/spikes/times", "status", "stimulus/waveform", "latent/final"]
)
def test_a_flipped_bit_in_an_array_is_told_with_its_name(path: Path, name: str) -> None:
    with h5py.File(path) as file:
        chunk = datasets(file)[name].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"f\.h5 is damaged.*{name} cannot be read"):
        Dataset(path).verify()


def _heaps(content: bytes) -> NDArray[np.bool_]:
    """Where HDF5 keeps strings: pages that tell their own size."""
    inside, at = np.zeros(len(content), bool), content.find(b"GCOL\x01\x00\x00\x00")
    while at >= 0:
        inside[at : at + int.from_bytes(content[at + 8 : at + 16], "little")] = True
        at = content.find(b"GCOL\x01\x00\x00\x00", at + 8)
    return inside


@pytest.mark.parametrize("text", [b"toy_neurons.Toy", b'"low": 0.05', b"non_finite"])
def test_a_flipped_bit_in_a_string_is_told(path: Path, text: bytes) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(text)] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="attributes have been damaged"):
        Dataset(path)


def test_a_flipped_bit_anywhere_never_passes_for_data(path: Path) -> None:
    content, whole, told = path.read_bytes(), everything(path), 0
    rng = np.random.default_rng(5)
    # the bookkeeping of the string heap has no checksum, and HDF5 itself may hang on it
    places = np.flatnonzero(~_heaps(content))
    for place, bit in zip(rng.choice(places, 150), rng.integers(0, 8, 150), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(bit)
        path.write_bytes(damaged)
        try:
            assert everything(path) == whole, f"bit {bit} of byte {place} changes the data unseen"
        except InputError:
            told += 1
    assert told > 50


def _edit(path: Path, change: Callable[[Any], object]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
        file.attrs["attributes_crc"] = attributes_crc(file)


def test_other_files(path: Path, tmp_path: Path) -> None:
    def replace(name: str, values: Any) -> Callable[[Any], object]:
        def change(file: Any) -> None:
            attributes = dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(attributes)

        return change

    content = path.read_bytes()
    cases: list[tuple[Callable[[Any], object], str]] = [
        (lambda f: f.attrs.update(schema_version=2), "schema_version 2, this program reads 1"),
        (lambda f: f.attrs.__delitem__("schema_version"), "another program"),
        (lambda f: f.__delitem__("status"), "no dataset status"),
        (lambda f: f.__delitem__("response/spikes/times"), "go together"),
        (replace("status", np.zeros(199, np.uint8)), r"status has shape \(199,\), expected 200"),
        (replace("status", np.zeros((200, 1), np.uint8)), "status has 2 dimensions"),
        (replace("response/spikes/offsets", np.arange(201)), "offsets end at 200, but there are"),
        (lambda f: f["parameters"].attrs.update(names=["leak"]), "1 names and 2 units for 2 parameters"),
        (replace("status", np.full(200, 9, np.uint8)), "status holds 9"),
        (replace("stimulus/index", np.full(200, 99, np.int32)), "points outside the waveforms"),
    ]
    for change, message in cases:
        path.write_bytes(content)
        _edit(path, change)
        with pytest.raises(InputError, match=message):
            Dataset(path).verify()
    with pytest.raises(InputError, match="no dataset at"):
        Dataset(tmp_path / "absent.h5")
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="damaged or no HDF5 file"):
        Dataset(path)
