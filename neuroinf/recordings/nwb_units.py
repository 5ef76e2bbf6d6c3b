"""Populations from the `units` table of Neurodata Without Borders files (NWB 2), by pynwb."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO

from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError
from neuroinf.recordings.spike_trains import binned_trains


def read_units(
    path: Path, dt: float | None = None, start: float | None = None, stop: float | None = None
) -> PopulationData:
    """Spike counts of the sorted units; those of one electrode group are one group.

    Args:
        path: The file.
        dt: Bin, ms; 50 by default.
        start: Beginning of the first bin, s; by default where the observation of all units has begun, else the first spike.
        stop: The last bin ends no later, s; by default where the observation of the first unit ends, else the last spike.

    Raises:
        InputError: if it is no NWB file, has no units with spike times, or the units were observed in several intervals and neither
            start nor stop says which.
    """
    trains, names, group, first, last = read_trains(path, start is None or stop is None)
    start, stop = first if start is None else start, last if stop is None else stop
    return binned_trains(trains, dt, start, stop, names=names, group=group, name=path.name)


def read_trains(
    path: Path, bounded: bool = True
) -> tuple[list[NDArray[np.float64]], list[str], NDArray[np.int64] | None, float | None, float | None]:
    """Spike times (s) and name of each unit, their electrode group, and, if `bounded`, when observation began and ended, s.

    Raises:
        InputError: as :func:`read_units`.
    """
    first = last = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older files make pynwb warn about what does not concern a reader
        try:
            io: Any = NWBHDF5IO(path=str(path), mode="r", load_namespaces=True)
        except Exception as error:  # h5py and hdmf raise many kinds on damaged files
            raise InputError(f"{path}: expected an NWB file, could not open it: {error}") from None
        with io:
            try:
                units = io.read().units
            except Exception as error:
                raise InputError(f"{path}: expected an NWB 2 file, could not read it: {error}") from None
            if units is None or len(units) == 0 or "spike_times" not in units.colnames:
                raise InputError(
                    f"{path}: expected a units table with spike_times, found none: it holds no sorted population"
                )
            try:
                trains = [np.asarray(units["spike_times"][k], np.float64) for k in range(len(units))]
                names = [str(k) for k in units.id[:]]
                group = _groups(units)
                if bounded:
                    first, last = _observed(units, path)
            except OSError as error:
                raise InputError(f"{path}: damaged file, could not read its units: {error}") from None
    return trains, names, group, first, last


def has_units(path: Path) -> bool:
    """Whether the file has a units table and no current-clamp sweep; False also if it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            series = [item for item in (file.get("acquisition") or {}).values() if isinstance(item, h5py.Group)]  # pyright: ignore
            clamped = any(str(item.attrs.get("neurodata_type")) == "CurrentClampSeries" for item in series)
            return "units" in file and not clamped
    except OSError:
        return False


def _groups(units: Any) -> NDArray[np.int64] | None:
    if "electrode_group" not in units.colnames:
        return None
    names = [str(units["electrode_group"][k].name) for k in range(len(units))]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _observed(units: Any, path: Path) -> tuple[float | None, float | None]:
    """The time in which all units were observed, s, where the table says so."""
    if "obs_intervals" not in units.colnames:
        return None, None
    found = [np.asarray(units["obs_intervals"][k], np.float64).reshape(-1, 2) for k in range(len(units))]
    if any(len(intervals) != 1 for intervals in found):
        raise InputError(
            f"{path}: units were observed in {max(map(len, found))} intervals, outside of which no spike means nothing: give "
            f"start and stop (s) of one of them"
        )
    edges = np.concatenate(found)
    return float(edges[:, 0].max()), float(edges[:, 1].min())
