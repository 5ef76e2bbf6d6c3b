"""A file in the making: finished shards in a folder beside it, each complete or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroinf import __version__
from neuroinf.datasets.layout import (
    CRC,
    OFFSETS,
    SCHEMA_VERSION,
    TIMES,
    UNIT,
    attributes_crc,
    create,
    datasets,
    open_new,
)
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError
from neuroinf.specification import Plain, differences

Array = NDArray[Any]
_DEFAULTS = {field.name: field.default for field in fields(Simulation) if field.default is not MISSING}


class Shards:
    """The folder ``<file>.shards``: a manifest (what is being made), the waveform bank, and a file for each shard.

    Args:
        path: The file to be made.
        specification: What defines its content.
        shard_rows: Rows of a shard; a folder that was begun with another number keeps its own.

    Raises:
        InputError: if the folder was begun for another content, or by another version.
    """

    def __init__(self, path: Path, specification: Plain, shard_rows: int) -> None:
        self.path, self.folder = path, path.with_name(path.name + ".shards")
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / "manifest.json"
        if not manifest.exists():
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            mine = {"version": __version__, "created": now, "shard_rows": shard_rows, "specification": specification}
            with _aside(manifest) as aside:
                aside.write_text(json.dumps(mine))
        self.manifest: Plain = json.loads(manifest.read_text())
        hint = f"continue with the same configuration, name another output, or delete {self.folder}"
        refuse_other(specification, self.manifest["specification"], f"the unfinished {path}", hint)
        if self.manifest["version"] != __version__:
            raise InputError(
                f"the unfinished {path} was begun by neuroinf {self.manifest['version']}, this is {__version__}: {hint}"
            )
        self.n: int = specification["init_args"]["n"]
        self.shard_rows: int = self.manifest["shard_rows"]
        self.bank = self.folder / "bank.npz"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one run at a time; the system takes it from a killed one.

        Raises:
            InputError: if another run holds it.
        """
        with open(self.folder / "lock", "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"another run is making {self.path}: wait for it, or stop it first") from error
            for left in self.folder.glob("*.part"):  # of killed runs
                left.unlink(missing_ok=True)
            yield

    def starts(self) -> list[int]:
        """First row of every shard."""
        return list(range(0, self.n, self.shard_rows))

    def stop(self, start: int) -> int:
        """One past the last row of the shard that begins at `start`."""
        return min(start + self.shard_rows, self.n)

    def shard(self, start: int) -> Path:
        """The shard's file."""
        return self.folder / f"rows_{start:012d}.h5"

    def write_bank(self, numbers: NDArray[np.int64], waveforms: NDArray[np.float32]) -> None:
        """Keep the waveform bank, for every process to read."""
        with _aside(self.bank) as aside, open(aside, "wb") as handle:
            np.savez(handle, numbers=numbers, waveforms=waveforms)

    def read_bank(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The waveforms' numbers (S,) and the waveforms (S, K, T)."""
        with np.load(self.bank) as stored:
            return stored["numbers"], stored["waveforms"]

    def write(self, start: int, arrays: dict[str, Array], seconds: float) -> float:
        """Write a shard; returns the seconds that took. `seconds` is what computing it took."""
        began = time.perf_counter()
        with _aside(self.shard(start)) as aside, open_new(aside) as file:
            for name, values in arrays.items():
                create(file, name, values.shape, values.dtype)[...] = values
            file.attrs["seconds"] = seconds
        return time.perf_counter() - began

    def assemble(self, inputs: int, attributes: dict[str, Plain], root: Plain, advance: Any) -> None:
        """One file of all shards: written aside, renamed, and only then are the shards deleted.

        Args:
            inputs: The first so many rows of the waveforms are kept; the others are hidden from who reads the file.
            attributes: Attributes of each dataset.
            root: Attributes of the file, among them seconds_writing, to which this adds its own.
            advance: Called with the number of rows after each shard.
        """
        began = time.perf_counter()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _aside(self.path, self.folder) as aside, open_new(aside) as file:
            seconds = self._lay_out(file, inputs)
            whole, offset = datasets(file), 0
            for start in self.starts():
                stop = self.stop(start)
                with h5py.File(self.shard(start)) as shard:
                    parts = datasets(shard)
                    for name in parts.keys() - {OFFSETS, TIMES, UNIT}:
                        whole[name][start:stop] = parts[name][...]
                    if TIMES in parts:
                        times = parts[TIMES][...]
                        whole[OFFSETS][start + 1 : stop + 1] = parts[OFFSETS][1:] + offset
                        whole[TIMES][offset : offset + len(times)] = times
                        if UNIT in parts:
                            whole[UNIT][offset : offset + len(times)] = parts[UNIT][...]
                        offset += len(times)
                advance(stop - start)
            for name, values in attributes.items():
                if name in file:
                    for key, value in values.items():
                        file[name].attrs[key] = json.dumps(value) if isinstance(value, dict) else value
            own = {
                "schema_version": SCHEMA_VERSION,
                "neuroinf_version": __version__,
                "created": self.manifest["created"],
            }
            for key, value in {**own, **root}.items():
                file.attrs[key] = json.dumps(value) if isinstance(value, dict) else value
            writing = root["seconds_writing"] + time.perf_counter() - began
            file.attrs["seconds_writing"], file.attrs["seconds"] = writing, seconds + writing
            file.attrs[CRC] = attributes_crc(file)
        self.discard()

    def _lay_out(self, file: h5py.File, inputs: int) -> float:
        """Create every dataset; returns the seconds that simulating the shards took."""
        seconds, spikes = 0.0, 0
        for start in self.starts():
            with h5py.File(self.shard(start)) as shard:
                seconds += float(np.asarray(shard.attrs["seconds"]))
                parts = datasets(shard)
                spikes += len(parts[TIMES]) if TIMES in parts else 0
        with h5py.File(self.shard(0)) as first:
            for name, part in datasets(first).items():
                rows = {OFFSETS: self.n + 1, TIMES: spikes, UNIT: spikes}.get(name, self.n)
                create(file, name, (rows, *part.shape[1:]), part.dtype)
        waveforms = self.read_bank()[1][:, :inputs]
        create(file, "stimulus/waveform", waveforms.shape, waveforms.dtype)[...] = waveforms
        return seconds

    def discard(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def refuse_other(ours: Plain, theirs: Plain, what: str, hint: str) -> None:
    """InputError naming the first key at which what is asked for differs from what is there."""
    # a file made before an argument was there is the file of its default
    different = differences(_DEFAULTS | ours["init_args"], _DEFAULTS | theirs["init_args"])
    if different:
        key, values = different[0].split(": ", 1)
        raise InputError(f"{what} has another configuration: {key} (asked for / there) {values}; {hint}")


@contextlib.contextmanager
def _aside(target: Path, folder: Path | None = None) -> Iterator[Path]:
    """A temporary file that becomes `target`, on disk, once the block is left without an error."""
    aside = (folder or target.parent) / f"{target.name}.{os.getpid()}.part"
    try:
        yield aside
        _sync(aside)
        aside.replace(target)
        _sync(target.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
