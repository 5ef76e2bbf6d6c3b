"""Recordings from plain arrays: in memory, .npz and .h5."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.recordings.plausibility import check
from neuroinf.recordings.recording import Recording

KEYS = ("voltage", "stimulus", "dt", "spikes")


def from_arrays(
    *,
    dt: float,
    voltage: ArrayLike | None = None,
    stimulus: ArrayLike | None = None,
    spikes: ArrayLike | None = None,
    name: str = "recording",
) -> Recording:
    """A checked recording of one sweep.

    Args:
        dt: Sampling step, ms.
        voltage: (T,), mV.
        stimulus: (T,), pA.
        spikes: Sorted spike times, ms. With them, nan in the voltage is taken as cut spikes.
        name: What to call it in messages.

    Raises:
        InputError: wrong shapes, lengths, units (by range) or nan.
    """
    return check(Recording(dt, voltage, stimulus, spikes, name))  # pyright: ignore[reportArgumentType]


def load_npz(path: Path) -> dict[str, NDArray]:
    """Every array of an .npz file."""
    try:
        # allow_pickle=False: an array file must never run code.
        # numpy leaves a damaged file open
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"{path}: expected an .npz file of plain arrays, could not read it: {error}") from None


def load_h5(path: Path) -> dict[str, NDArray]:
    """Every array at the top of an .h5 file; dt may be an attribute."""
    try:
        with h5py.File(path, "r") as file:
            if "parameters" in file and "response" in file:
                raise InputError(f"{path}: expected a recording, found a dataset of simulations; evaluate it instead")
            arrays = {key: np.asarray(item[()]) for key, item in file.items() if isinstance(item, h5py.Dataset)}
            return {**{key: np.asarray(value) for key, value in file.attrs.items() if key == "dt"}, **arrays}
    except OSError as error:
        raise InputError(f"{path}: expected an HDF5 file, could not read it: {error}") from None


def _sweeps(arrays: Mapping[str, NDArray], key: str, path: Path) -> NDArray | None:
    if key not in arrays:
        return None
    values = arrays[key]
    if values.dtype.kind not in "fiu" or values.ndim not in (1, 2):
        raise InputError(
            f"{path}: {key}: expected real numbers of shape (samples,) or (sweeps, samples), "
            f"found {values.dtype} of shape {values.shape}"
        )
    return np.atleast_2d(values).astype(np.float64)


def read_arrays(path: str | Path) -> list[Recording]:
    """Sweeps from arrays in an .npz or .h5 file.

    The file holds `voltage` (mV) and `stimulus` (pA), each (samples,) or (sweeps, samples), either of which may be
    missing, `dt` (ms) and optionally `spikes` (ms, for a single sweep). In .h5 `dt` may be an attribute of the file.
    A single stimulus serves several sweeps of voltage.

    Raises:
        InputError: unknown or missing arrays, wrong shapes, lengths, units (by range), nan, or a damaged file.
    """
    path = Path(path)
    arrays = load_npz(path) if path.suffix.lower() == ".npz" else load_h5(path)
    expected = "voltage and/or stimulus, dt, and optionally spikes"
    unknown = sorted(set(arrays) - set(KEYS))
    if unknown or "dt" not in arrays or not set(arrays) - {"dt"}:
        raise InputError(f"{path}: expected the arrays {expected}, found {', '.join(sorted(arrays)) or 'none'}")
    if arrays["dt"].size != 1 or arrays["dt"].dtype.kind not in "fiu":
        raise InputError(f"{path}: dt: expected one number in ms, found {arrays['dt'].dtype} {arrays['dt'].shape}")
    dt = float(arrays["dt"].reshape(()))
    voltage, stimulus = _sweeps(arrays, "voltage", path), _sweeps(arrays, "stimulus", path)
    spikes = arrays.get("spikes")
    count = max(1 if values is None else len(values) for values in (voltage, stimulus))
    for key, values in (("voltage", voltage), ("stimulus", stimulus)):
        if values is not None and len(values) not in (1, count):
            raise InputError(f"{path}: {key}: expected {count} sweeps as the other array has, found {len(values)}")
    if voltage is not None and len(voltage) != count:
        raise InputError(f"{path}: voltage: expected {count} sweeps as the stimulus has, found {len(voltage)}")
    if spikes is not None and (count > 1 or spikes.ndim != 1 or spikes.dtype.kind not in "fiu"):
        raise InputError(f"{path}: spikes: expected times (ms) of a single sweep, found {spikes.dtype} {spikes.shape}")
    recordings = []
    for i in range(count):
        name = path.name if count == 1 else f"{path.name} sweep {i}"
        recording = Recording(
            dt,
            None if voltage is None else voltage[i],
            None if stimulus is None else stimulus[min(i, len(stimulus) - 1)],
            spikes,
            name,
            {"file": path.name, "sweep": str(i), "cell": path.stem},
        )
        recordings.append(check(recording))
    return recordings
