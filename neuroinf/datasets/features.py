"""The encoder's features of every row, computed once and kept on disk while what follows the encoder is trained."""

from __future__ import annotations

import shutil
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from tqdm import tqdm

from neuroinf.datasets.batches import Draw
from neuroinf.datasets.views import Batch, Views
from neuroinf.errors import InputError

BLOCK = 128  # rows encoded together: they share the length of their stretch, as a batch does
WORTH_PROCESSES = 100  # blocks, below which other processes take longer to start than to help
Block = tuple[int, int]


class FeatureFile:
    """Features (V, n, F) float32 in a .npy file, of which rows are read and written where they lie.

    A mapped file would do the same, but what has been touched of it counts as the process's memory.

    Args:
        path: The file.
        mode: "r" or "r+".
    """

    def __init__(self, path: Path, mode: Literal["r", "r+"] = "r") -> None:
        found = open_memmap(path, mode="r")
        self.shape, self._begin = found.shape, found.offset
        self._file = path.open("rb" if mode == "r" else "r+b", buffering=0)
        weakref.finalize(self, self._file.close)

    def read(self, view: int, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows (k, F) of a view."""
        rows = np.empty((len(places), self.shape[2]), np.float32)
        for row, place in zip(rows, places.tolist(), strict=True):
            self._file.seek(self._offset(view, place))
            self._file.readinto(row.data)
        return rows

    def write(self, view: int, place: int, rows: NDArray[np.float32]) -> None:
        """Rows (k, F) of a view, from `place` on."""
        self._file.seek(self._offset(view, place))
        self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())

    def _offset(self, view: int, place: int) -> int:
        return self._begin + 4 * self.shape[2] * (view * self.shape[1] + place)


class Features(TorchDataset[Batch]):
    """Features of rows, asked for as :class:`Views` are: (epoch, rows (B, S)) to f (B, F) or (B, S, F), and z (B, P).

    Epoch e has view e modulo V. Memory does not grow with the file.

    Args:
        folder: Where :func:`encode` has put them.
        rows: The rows that were encoded (n,), sorted.
        z: Parameters of all rows of the file (N, P), in unconstrained space.
    """

    def __init__(self, folder: Path, rows: NDArray[np.int64], z: Tensor) -> None:
        self.rows, self.z = rows, z
        self.file = FeatureFile(folder / "features.npy")

    def __getitem__(self, draw: Draw) -> Batch:
        epoch, rows = draw
        found = self.file.read(epoch % self.file.shape[0], np.searchsorted(self.rows, rows.ravel()))
        shape = rows.shape if rows.shape[1] > 1 else rows.shape[:1]
        return torch.from_numpy(found.reshape(*shape, -1)), self.z[rows[:, 0]]

    def __len__(self) -> int:
        return len(self.rows)


class _Encoded(TorchDataset[tuple[Block, NDArray[np.float32]]]):
    """Features (b, F) of a block of rows, by (view, first row's place)."""

    def __init__(self, views: Views, encoder: nn.Module, rows: NDArray[np.int64], epoch: int, device: str) -> None:
        self.views, self.encoder, self.rows, self.epoch, self.device = views, encoder, rows, epoch, device

    @torch.inference_mode()
    def __getitem__(self, block: Block) -> tuple[Block, NDArray[np.float32]]:
        view, start = block
        x, _ = self.views[self.epoch + view, self.rows[start : start + BLOCK, None]]
        return block, self.encoder(x.to(self.device)).float().cpu().numpy()

    def __len__(self) -> int:
        return len(self.rows)


def encode(
    views: Views,
    encoder: nn.Module,
    rows: NDArray[np.int64],
    number: int,
    epoch: int,
    folder: Path,
    workers: int = 1,
    device: str = "cpu",
) -> float:
    """Encode `number` views of each row, in shape (number, n, F), into `folder`.

    Interrupted, the same call continues with the blocks that are missing.

    Args:
        views: Of a file's rows; not held in memory if there are workers.
        encoder: Of one sweep, with a number of features F.
        rows: (n,), sorted.
        number: V.
        epoch: The views are those of this training epoch and the following ones.
        folder: Where features.npy, and the seconds that each block took, are kept.
        workers: Processes, on the CPU.
        device: Where to encode; on any but the CPU it is done in this process.

    Returns:
        Seconds that it took, those before an interruption included.
    """
    encoder = encoder.eval().to(device)
    folder.mkdir(parents=True, exist_ok=True)
    places = [(view, start) for view in range(number) for start in range(0, len(rows), BLOCK)]
    width = cast(int, encoder.features)
    shapes = {"features": (number, len(rows), width), "seconds": (number, -(-len(rows) // BLOCK))}
    files = {name: folder / f"{name}.npy" for name in shapes}
    again = all(_shape(path) == shapes[name] for name, path in files.items())
    if not again:
        _require_space(folder, 4 * number * len(rows) * width)
        # all zero
        open_memmap(files["features"], mode="w+", dtype=np.float32, shape=shapes["features"])
        open_memmap(files["seconds"], mode="w+", dtype=np.float64, shape=shapes["seconds"])
    values, seconds = FeatureFile(files["features"], "r+"), open_memmap(files["seconds"], mode="r+")
    missing = [place for place in places if seconds[place[0], place[1] // BLOCK] == 0]
    processes = workers if device == "cpu" and workers > 1 and len(missing) > WORTH_PROCESSES else 0
    loader = DataLoader(
        _Encoded(views, encoder, rows, epoch, device),
        batch_size=None,
        sampler=_Listed(missing),
        num_workers=processes,
        collate_fn=_as_it_is,  # pyright: ignore[reportArgumentType]
        # spawn: a process forked after numba or torch have started threads may hang
        multiprocessing_context="spawn" if processes else None,
    )
    terminal = sys.stderr.isatty()
    bar = tqdm(
        loader, "encoding", len(places), initial=len(places) - len(missing), unit="block",
        dynamic_ncols=terminal, mininterval=0.2 if terminal else 20.0, file=sys.stderr,
    )  # fmt: skip
    began = time.perf_counter()
    for (view, start), found in bar:
        values.write(view, start, found)
        now = time.perf_counter()
        # the mark is set when the values are there
        seconds[view, start // BLOCK], began = now - began, now
    seconds.flush()
    return float(seconds.sum())


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"the features for the second stage take {size / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB left: make room, or "
            f"give a smaller readout.views"
        )


def _shape(path: Path) -> tuple[int, ...] | None:
    """Of the array in a file; None if there is none, as after a kill while it was made."""
    try:
        return open_memmap(path, mode="r").shape
    except (FileNotFoundError, ValueError):
        return None


class _Listed(torch.utils.data.Sampler[Block]):
    """Given blocks in their order."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)


def _as_it_is(block: tuple[Block, NDArray[np.float32]]) -> tuple[Block, NDArray[np.float32]]:
    return block
