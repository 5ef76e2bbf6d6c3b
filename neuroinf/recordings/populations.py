"""One door for populations: simulated files, spike trains, binned activity, NWB units, and a published calcium recording."""

from __future__ import annotations

from pathlib import Path

from neuroinf.datasets.populations import PopulationData, simulated
from neuroinf.errors import InputError
from neuroinf.recordings.arrays import load_npz
from neuroinf.recordings.nwb_units import read_units
from neuroinf.recordings.spike_trains import from_activity_arrays, from_spike_arrays
from neuroinf.recordings.stringer import read_stringer

SUFFIXES = (".h5", ".hdf5", ".npz", ".nwb", ".npy")


def read_population(
    path: str | Path, dt: float | None = None, start: float | None = None, stop: float | None = None
) -> PopulationData:
    """The population of a file.

    ======  =============================================================================================
    .h5     simulations by `neuroinf simulate`
    .npz    spike trains: ``id`` and ``t`` (s) of each spike, optionally ``group`` or ``tetrode`` of each unit
    .npz    binned: ``activity`` (T, K) or (S, T, K), ``dt`` (ms), optionally ``kind`` (counts, trace),
            ``group`` (K,), ``names`` (K,), ``positions`` (K, 3)
    .nwb    its ``units`` table
    .npy    Stringer's recording of spontaneous activity, as published
    ======  =============================================================================================

    Args:
        path: The file.
        dt: Bin of spike trains, ms, 50 by default; of the .npy file, which does not tell it, 1,200 by default. Where the file has
            its own it may not be given.
        start: Of spike trains: where the first bin begins, s; by default at the first spike, or where NWB says observation began.
        stop: Where the last bin ends at the latest, s; by default the last spike, or where observation ended.

    Raises:
        InputError: if the file is missing, damaged, or not of these forms.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a population, found {'a folder' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a population as {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    if suffix == ".nwb":
        return read_units(path, dt, start, stop)
    arrays = load_npz(path) if suffix == ".npz" else {}
    if "t" in arrays or "id" in arrays:
        return from_spike_arrays(arrays, path.name, dt, start, stop)
    if start is not None or stop is not None:
        raise InputError(f"{path}: start and stop are of spike trains, found binned activity: cut it in bins")
    if suffix == ".npy":
        return read_stringer(path) if dt is None else read_stringer(path, dt)
    if dt is not None:
        raise InputError(f"{path}: the file says how long its bins are, found dt {dt:g} ms besides: leave it out")
    return from_activity_arrays(arrays, path.name) if suffix == ".npz" else simulated(path)
