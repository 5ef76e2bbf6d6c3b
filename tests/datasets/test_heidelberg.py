"""Digits in the published form: what is read, how it is binned, split and batched; and their synthetic stand-in."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from neuroinf.datasets.heidelberg import PUBLISHED, HeidelbergDigits, read_digits
from neuroinf.datasets.synthetic_digits import ORIGIN, SyntheticDigits
from neuroinf.errors import InputError
from neuroinf.models.spiking_network import Layer, SpikingNetwork

TIMES = [[0.0, 0.0139, 0.0141, 1.39], [0.5, 1.4], []]
UNITS = [[3, 3, 699, 0], [10, 11], []]


def write(path: Path, times: Any = TIMES, units: Any = UNITS, labels: Any = (4, 0, 19)) -> Path:
    """A file as it is published: ragged arrays of float16 and integers."""
    with h5py.File(path, "w") as file:
        for name, rows, dtype in (("times", times, np.float16), ("units", units, np.uint16)):
            stored = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(dtype))
            for i, row in enumerate(rows):
                stored[i] = np.array(row, dtype)
        file["labels"] = np.array(labels, np.uint16)
    return path


def test_spikes_are_binned_from_0_and_late_ones_counted(tmp_path: Path) -> None:
    found = read_digits(write(tmp_path / "shd.h5"))
    # 1.4 s in 100 bins of 14 ms; the half-precision 1.4 is 1.4004, and late
    assert found.steps.tolist() == [0, 0, 1, 99, 35] and found.channels.tolist() == [3, 3, 699, 0, 10]
    assert found.starts.tolist() == [0, 4, 5, 5] and found.labels.tolist() == [4, 0, 19]
    assert found.late == 1 and found.origin == PUBLISHED


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": (4, 0)}, "found 3, 3 and 2 recordings"),
        ({"units": [[3, 3, 699], [10, 11], []]}, "unequal numbers of spikes"),
        ({"units": [[3, 3, 700, 0], [10, 11], []]}, "expected 0 to 699, found 0 to 700"),
        ({"times": [[0.0, -0.1, 0.2, 1.39], [0.5, 1.4], []]}, "expected times in s from 0"),
        ({"times": [[0.0, np.nan, 0.2, 1.39], [0.5, 1.4], []]}, "or one not finite"),
        ({"times": [], "units": [], "labels": ()}, "expected recordings, found none"),
    ],
)
def test_a_file_of_another_form_is_an_error(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_digits(write(tmp_path / "shd.h5", **wrong))


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file at"):
        read_digits(tmp_path / "shd.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match="expected an HDF5 file"):
        read_digits(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["voltage"] = np.zeros(3)
    with pytest.raises(InputError, match="expected a dataset spikes/times, found voltage"):
        read_digits(tmp_path / "other.h5")


def digits(folder: Path, **changes: Any) -> HeidelbergDigits:
    """Synthetic ones: 90 for training and validation, 20 for test, of 4 classes."""
    data = HeidelbergDigits(
        str(folder / "shd_train.h5"),
        str(folder / "shd_test.h5"),
        **{"synthetic": SyntheticDigits(90, 20), "inputs": 30, "classes": 4, "batch_size": 16, "val": 0.2} | changes,
    )
    data.prepare_data()
    return data


def test_synthetic_digits_say_so_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = digits(tmp_path)
    assert "SYNTHETIC" in capsys.readouterr().err
    assert [path.name for path in data.files] == ["synthetic_shd_train.h5", "synthetic_shd_test.h5"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["synthetic_shd_test.h5", "synthetic_shd_train.h5"]
    with h5py.File(data.files[0]) as file:
        assert file.attrs["synthetic"] and file.attrs["origin"] == ORIGIN
    assert data.origin == ORIGIN and "SYNTHETIC" in data.origin
    # whatever the file's name: it is in the file
    data.files[0].rename(tmp_path / "shd_train.h5")
    assert read_digits(tmp_path / "shd_train.h5").origin == ORIGIN


def test_synthetic_digits_are_told_by_latency_alone(tmp_path: Path) -> None:
    data = digits(tmp_path, synthetic=SyntheticDigits(200, 100), inputs=100)
    train, test = (read_digits(path, 100) for path in data.files)

    def mean_latencies(found: Any) -> np.ndarray:
        of = np.repeat(np.arange(len(found.labels)), np.diff(found.starts))
        total, count = (np.zeros((len(found.labels), 100)) for _ in range(2))
        np.add.at(total, (of, found.channels), found.steps)
        np.add.at(count, (of, found.channels), 1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    known = mean_latencies(train)
    template = np.stack([np.nanmean(known[train.labels == k], axis=0) for k in range(4)])
    distance = np.nanmean(np.abs(mean_latencies(test)[:, None] - template), axis=2)
    # the nearest template is right; by chance 25 of 100 are, 45 or more once in 10^5
    assert (distance.argmin(1) == test.labels).sum() >= 45


def test_published_networks_are_not_silent_on_synthetic_digits(tmp_path: Path) -> None:
    """A last layer that gets no spikes is 0 at all times, and has no gradient to learn from."""
    graphs = Path(__file__).resolve().parents[2] / "configs" / "cascades"
    data = digits(tmp_path, synthetic=SyntheticDigits(60, 20), inputs=700, classes=20, val=0.34)
    events, _ = next(iter(data.train_dataloader()))
    for kind, scale in {"one_compartment": 3.0, "no_bap": 0.5, "prc": 0.02}.items():
        layer = Layer(str(graphs / f"{kind}.yaml"), 200, scale)
        spikes = SpikingNetwork([layer], 700, [torch.Generator().manual_seed(0)])(events)
        assert spikes.any(dim=0).any(dim=1).float().mean() > 0.1, kind


def test_files_that_are_there_are_read_and_one_alone_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "shd_train.h5", labels=(0, 0, 1))
    with pytest.raises(InputError, match=r"no file at .*shd_test\.h5: expected both"):
        digits(tmp_path, inputs=700)
    write(tmp_path / "shd_test.h5")
    data = digits(tmp_path, inputs=700, classes=20)
    assert data.origin == PUBLISHED and not list(tmp_path.glob("synthetic*"))
    with pytest.raises(InputError, match="no file at"):
        missing = HeidelbergDigits(str(tmp_path / "a.h5"), str(tmp_path / "b.h5"))
        missing.prepare_data()
        _ = missing.origin


def test_too_high_a_label_is_an_error(tmp_path: Path) -> None:
    data = digits(tmp_path)
    data.classes = 3
    with pytest.raises(InputError, match="labels: expected 0 to 2, found 3"):
        data.train_dataloader()


def test_validation_is_part_of_the_training_file_with_all_labels(tmp_path: Path) -> None:
    data = digits(tmp_path)
    train, val = data.partition()
    assert np.array_equal(np.sort(np.concatenate((train, val))), np.arange(90))
    labels = read_digits(data.files[0], 30).labels
    # 90 recordings of 4 labels: 22 or 23 of each, a fifth of them 4 or 5
    assert set(np.bincount(labels[val]).tolist()) <= {4, 5}
    again, other = digits(tmp_path).partition()[1], digits(tmp_path, seed=1).partition()[1]
    assert np.array_equal(val, again) and not np.array_equal(val, other)


def test_every_recording_is_in_an_epoch_and_the_last_batch_is_kept(tmp_path: Path) -> None:
    data = digits(tmp_path)
    train = data.partition()[0]
    loader = data.train_dataloader()
    batches = list(loader)
    sizes = [labels.shape[1] for _, labels in batches]
    assert sizes == [16] * (len(train) // 16) + [len(train) % 16] and len(loader) == len(batches)
    file = read_digits(data.files[0], 30)
    assert sum(events.counts.sum() for events, _ in batches) == sum(np.diff(file.starts)[train])
    together = np.sort(np.concatenate([labels[0].numpy() for _, labels in batches]))
    assert np.array_equal(together, np.sort(file.labels[train]))


def test_a_batch_has_the_spikes_of_its_recordings(tmp_path: Path) -> None:
    data = digits(tmp_path)
    file, val = read_digits(data.files[0], 30), data.partition()[1]
    events, labels = next(iter(data.val_dataloader()))
    assert np.array_equal(labels[0].numpy(), file.labels[val[:16]])
    dense = events.dense()[0].numpy()
    for b, row in enumerate(val[:16]):
        counts = np.zeros((100, 30))
        part = slice(file.starts[row], file.starts[row + 1])
        np.add.at(counts, (file.steps[part], file.channels[part]), 1)
        assert np.array_equal(dense[b], counts)


def test_order_is_new_in_each_epoch_and_known_by_it(tmp_path: Path) -> None:
    def order(epoch: int) -> list[int]:
        loader = digits(tmp_path).train_dataloader()
        loader.sampler.set_epoch(epoch)  # pyright: ignore[reportAttributeAccessIssue]
        return [int(k) for _, labels in loader for k in labels[0]]

    assert order(0) != order(1) and order(1) == order(1)
