"""One door for all formats."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from neuroinf.errors import InputError
from neuroinf.recordings.abf import read_abf
from neuroinf.recordings.arrays import read_arrays
from neuroinf.recordings.nwb import read_nwb
from neuroinf.recordings.recording import Recording

SUFFIXES = (".nwb", ".abf", ".npz", ".h5", ".hdf5")


def read(
    path: str | Path,
    *,
    stimulus: Literal["recorded", "command"] = "recorded",
    voltage_scale: float | None = None,
    stimulus_scale: float | None = None,
) -> list[Recording]:
    """Every current-clamp sweep of a file, in ms, mV and pA, checked for plausibility.

    Args:
        path: An .nwb, .abf, .npz or .h5 file.
        stimulus: ABF only: the recorded current, or the command waveform (see `read_abf`).
        voltage_scale: NWB only: multiply the voltage by this, for a file whose conversion factor is known to be wrong.
        stimulus_scale: The same for the current.

    Returns:
        One recording per sweep, in the file's order.

    Raises:
        InputError: if the file is missing, of another kind, damaged, empty or implausible.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a recording, found {'a folder' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a recording as {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    if suffix != ".nwb" and (voltage_scale is not None or stimulus_scale is not None):
        raise InputError(
            f"{path}: voltage_scale and stimulus_scale mend an NWB file's conversion; found a {suffix} file"
        )
    if suffix != ".abf" and stimulus != "recorded":
        raise InputError(f"{path}: stimulus={stimulus!r} chooses between an ABF file's channels; found a {suffix} file")
    if suffix == ".nwb":
        return read_nwb(path, voltage_scale=voltage_scale, stimulus_scale=stimulus_scale)
    if suffix == ".abf":
        return read_abf(path, stimulus=stimulus)
    return read_arrays(path)
