"""The Spiking Heidelberg Digits, and any file of that form, as batches of spike rasters."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from neuroinf.datasets.batches import Draw, EpochBatches
from neuroinf.datasets.memorisation import Labelled
from neuroinf.datasets.raster import raster
from neuroinf.datasets.synthetic_digits import SyntheticDigits
from neuroinf.errors import InputError

Integers = NDArray[np.int64]
PUBLISHED = "Spiking Heidelberg Digits"
# beside the seed in the stream of numbers drawn from it for the split
VALIDATION = 0


@dataclass(frozen=True)
class Digits:
    """Spikes of S recordings, binned.

    Attributes:
        starts: Where the spikes of each recording begin :math:`(S + 1,)`.
        steps, channels: Of each spike.
        labels: :math:`(S,)`.
        late: Number of spikes after the last bin, which are left out.
        origin: What the file says it is.
    """

    starts: Integers
    steps: Integers
    channels: Integers
    labels: Integers
    late: int
    origin: str


def read_digits(path: Path, channels: int = 700, duration: float = 1.4, bins: int = 100) -> Digits:
    r"""Read a file of the published form: `spikes/times` (s) and `spikes/units` of each recording, `labels`.

    Spike times are counted in bins :math:`\\lfloor T t / D \\rfloor` of equal width, from 0.

    Args:
        path: HDF5.
        channels: Number of units there can be.
        duration: D, s.
        bins: T.

    Raises:
        InputError: if the file is missing or not of this form.

    Source:
        Cramer, Stradmann, Schemmel & Zenke, IEEE Trans. Neural Netw. Learn. Syst. 33 (2022); files shd_train.h5 and
        shd_test.h5 of zenkelab.org/resources/spiking-heidelberg-datasets-shd.
    """
    if not path.is_file():
        raise InputError(f"no file at {path}: expected spikes in the form of the Spiking Heidelberg Digits (HDF5)")
    try:
        with h5py.File(path, "r") as file:
            times = [np.asarray(t, np.float64) for t in _array(file, path, "spikes/times")]
            units = [np.asarray(u, np.int64) for u in _array(file, path, "spikes/units")]
            labels = np.asarray(_array(file, path, "labels")).astype(np.int64)
            origin = str(file.attrs.get("origin", PUBLISHED))
    except OSError as error:
        raise InputError(f"{path}: expected an HDF5 file, found one that cannot be read: {error}") from error
    lengths = np.array([len(t) for t in times], np.int64)
    if len(times) != len(labels) or len(units) != len(labels) or any(lengths != [len(u) for u in units]):
        raise InputError(
            f"{path}: expected times, units and labels of the same recordings and spikes, found {len(times)}, {len(units)} and "
            f"{len(labels)} recordings or unequal numbers of spikes in one"
        )
    if not len(labels):
        raise InputError(f"{path}: expected recordings, found none")
    t, channel = np.concatenate(times), np.concatenate(units)
    if len(t) and (not np.isfinite(t).all() or t.min() < 0):
        raise InputError(
            f"{path}: spikes/times: expected times in s from 0, found {t[~(t >= 0)][:1]} or one not finite"
        )
    if len(channel) and not (channel.min() >= 0 and channel.max() < channels):
        raise InputError(
            f"{path}: spikes/units: expected 0 to {channels - 1}, found {channel.min()} to {channel.max()}"
        )
    if labels.min() < 0:
        raise InputError(f"{path}: labels: expected 0 or more, found {labels.min()}")
    step = np.floor(t * (bins / duration)).astype(np.int64)
    kept = step < bins
    of = np.repeat(np.arange(len(labels)), lengths)[kept]
    starts = np.searchsorted(of, np.arange(len(labels) + 1)).astype(np.int64)
    return Digits(starts, step[kept], channel[kept], labels, int((~kept).sum()), origin)


def _array(file: h5py.File, path: Path, name: str) -> Any:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path}: expected a dataset {name}, found {', '.join(file)}: not of this form")
    return found[...]


class _Recordings(Dataset[Labelled]):
    """Batches of recordings, by their rows.

    Args:
        digits: All recordings.
        shape: T and I.
    """

    def __init__(self, digits: Digits, shape: tuple[int, int]) -> None:
        self.digits, self.shape = digits, shape

    def __getitem__(self, draw: Draw) -> Labelled:
        """Raster of one set of patterns, for all networks, and labels (1, B)."""
        digits, rows = self.digits, draw[1][:, 0]
        bounds = digits.starts[rows].tolist(), digits.starts[rows + 1].tolist()
        parts = [np.arange(first, last) for first, last in zip(*bounds, strict=True)]
        spikes, b = np.concatenate(parts), np.repeat(np.arange(len(rows)), [len(part) for part in parts])
        shape = (self.shape[0], 1, len(rows), self.shape[1])
        found = raster(digits.steps[spikes], np.zeros_like(b), b, digits.channels[spikes], shape)
        return found, torch.from_numpy(digits.labels[rows])[None]


class HeidelbergDigits(L.LightningDataModule):
    """Recordings of spoken digits as spikes of an artificial cochlea; part of the training file is for validation.

    Where neither file is at hand, both are written first, if `synthetic` says how: drawn, not recorded, and called so
    wherever their results are.

    Args:
        train: File of the published form.
        test: Another, seen only after the training.
        synthetic: What to write in their place; None: they must be there.
        inputs: I channels.
        duration: Of a recording, s.
        steps: T bins of it, taken as 1 ms each by the networks.
        classes: Number of labels.
        batch_size: Recordings in a batch; the last one of an epoch is smaller.
        val: Part of the training file's recordings, of each label.
        seed: Of the order and of this choice.

    Raises:
        InputError: on an impossible value.
    """

    def __init__(
        self,
        train: str = "data/shd_train.h5",
        test: str = "data/shd_test.h5",
        synthetic: SyntheticDigits | None = None,
        inputs: int = 700,
        duration: float = 1.4,
        steps: int = 100,
        classes: int = 20,
        batch_size: int = 256,
        val: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"inputs": inputs, "steps": steps, "classes": classes, "batch_size": batch_size}.items():
            if value < 1:
                raise InputError(f"data.{name}: expected at least 1, found {value}")
        if not (0 < val < 1 and duration > 0):
            raise InputError(f"data: expected val in (0, 1) and a positive duration, found {val} and {duration}")
        self.train, self.test, self.synthetic, self.inputs, self.duration = train, test, synthetic, inputs, duration
        self.steps, self.classes, self.batch_size, self.val, self.seed = steps, classes, batch_size, val, seed
        self.replicates: int | None = None
        self._read: dict[str, Digits] = {}

    @property
    def files(self) -> tuple[Path, Path]:
        """The files of training and test: the synthetic ones, in the same folders, if the others are not there."""
        named = Path(self.train), Path(self.test)
        there = [path.is_file() for path in named]
        if all(there) or self.synthetic is None:
            return named
        if any(there):
            missing = named[there.index(False)]
            raise InputError(f"no file at {missing}: expected both {named[0]} and {named[1]}, or neither")
        train, test = (path.with_name(f"synthetic_{path.name}") for path in named)
        return train, test

    @property
    def origin(self) -> str:
        """What the recordings are."""
        return self._digits("train").origin

    def prepare_data(self) -> None:
        """Write the synthetic files, if it comes to that."""
        for path, name in zip(self.files, ("train", "test"), strict=True):
            if self.synthetic is not None and not path.is_file():
                shape = (self.inputs, self.classes, self.duration)
                print(f"{self.train} is not at hand: writing SYNTHETIC digits to {path}", file=sys.stderr)
                self.synthetic.write(path, *shape, test=name == "test")

    def _digits(self, name: str) -> Digits:
        if name not in self._read:
            path = self.files[("train", "test").index(name)]
            found = read_digits(path, self.inputs, self.duration, self.steps)
            if found.labels.max() >= self.classes:
                raise InputError(f"{path}: labels: expected 0 to {self.classes - 1}, found {found.labels.max()}")
            if found.late:
                print(f"{path}: {found.late} spikes after {self.duration} s are left out", file=sys.stderr)
            self._read[name] = found
        return self._read[name]

    def partition(self) -> tuple[Integers, Integers]:
        """Rows of the training file for training and for validation, which has the same part of each label."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(VALIDATION,)))
        labels = self._digits("train").labels
        held = [
            rng.permutation(rows)[: round(self.val * len(rows))]
            for rows in (np.nonzero(labels == label)[0] for label in np.unique(labels))
        ]
        val = np.sort(np.concatenate(held))
        if not len(val):
            raise InputError(
                f"data.val: expected enough for one recording of a label, found {self.val} of {len(labels)}"
            )
        return np.setdiff1d(np.arange(len(labels)), val), val

    def _loader(self, name: str, rows: Integers, shuffle: bool) -> DataLoader[Labelled]:
        batches = EpochBatches(rows[:, None], self.batch_size, self.seed, shuffle)
        recordings = _Recordings(self._digits(name), (self.steps, self.inputs))
        return DataLoader(recordings, sampler=batches, batch_size=None)

    def train_dataloader(self) -> DataLoader[Labelled]:
        """In a new order each epoch."""
        return self._loader("train", self.partition()[0], shuffle=True)

    def val_dataloader(self) -> DataLoader[Labelled]:
        """Held out from the training file."""
        return self._loader("train", self.partition()[1], shuffle=False)

    def test_dataloader(self) -> DataLoader[Labelled]:
        """The whole test file."""
        return self._loader("test", np.arange(len(self._digits("test").labels)), shuffle=False)

    def transfer_batch_to_device(self, batch: Labelled, device: torch.device, dataloader_idx: int) -> Labelled:
        """The labels; the events stay where they are read."""
        return batch[0], batch[1].to(device)
