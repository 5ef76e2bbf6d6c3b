"""Spike trains of some neurons of known populations, and the external input of the populations where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.recordings.arrays import load_npz
from neuroinf.recordings.nwb_units import read_trains

FloatArray = NDArray[np.float64]
KEYS = ("id", "t", "population", "unit", "start", "stop", "input", "dt")


@dataclass(frozen=True)
class NetworkRecording:
    """Spikes of K neurons of M populations.

    Attributes:
        spikes: Sorted times of each neuron, ms, from the beginning of the recording.
        groups: Population of each neuron (K,), from 0.
        duration: ms.
        inputs: External input of each population (M, T) in steps of dt, 1/s (voltage in units of the escape noise per second);
            None: not known. Zeros say that there was none.
        dt: Step of the inputs, ms.
        name: What it is called in messages and figures.

    Raises:
        InputError: if numbers do not fit one another, or are impossible.
    """

    spikes: tuple[FloatArray, ...]
    groups: NDArray[np.int64]
    duration: float
    inputs: FloatArray | None = None
    dt: float = 4.0
    name: str = "recording"

    def __post_init__(self) -> None:
        groups = np.asarray(self.groups)
        if groups.ndim != 1 or len(groups) != len(self.spikes) or groups.dtype.kind not in "iu" or not len(groups):
            raise InputError(
                f"{self.name}: expected the population, a whole number from 0, of each of {len(self.spikes)} neurons, found "
                f"{groups.dtype} of shape {groups.shape}"
            )
        if groups.min() < 0:
            raise InputError(f"{self.name}: expected populations from 0, found {groups.min()}")
        if not (np.isfinite(self.duration) and self.duration > 0):
            raise InputError(f"{self.name}: expected a duration above 0 ms, found {self.duration}")
        trains = []
        for k, times in enumerate(self.spikes):
            train = np.sort(np.asarray(times, np.float64))
            if train.ndim != 1 or not np.isfinite(train).all():
                raise InputError(f"{self.name}: neuron {k}: expected finite spike times, ms, found others")
            if len(train) and (train[0] < 0 or train[-1] > self.duration):
                raise InputError(
                    f"{self.name}: neuron {k}: expected spikes from 0 to {self.duration:g} ms, found {train[0]:g} to {train[-1]:g}"
                )
            trains.append(train)
        object.__setattr__(self, "spikes", tuple(trains))
        object.__setattr__(self, "groups", groups.astype(np.int64))
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"{self.name}: dt: expected a step of the input above 0 ms, found {self.dt:g}")
        if self.inputs is not None:
            inputs = np.asarray(self.inputs)
            if inputs.ndim != 2 or inputs.dtype.kind not in "fiu" or not np.isfinite(inputs).all():
                raise InputError(
                    f"{self.name}: input: expected finite numbers (populations, steps), found {inputs.dtype} of shape "
                    f"{inputs.shape}"
                )
            object.__setattr__(self, "inputs", inputs.astype(np.float64))

    @property
    def neurons(self) -> int:
        """K."""
        return len(self.spikes)

    def window(self, start: float, stop: float) -> NetworkRecording:
        """What happened from start to stop, ms."""
        if not 0 <= start < stop <= self.duration + 1e-6:
            raise InputError(
                f"{self.name}: expected a window within 0 to {self.duration:g} ms, found {start:g} to {stop:g}"
            )
        spikes = tuple(train[(train >= start) & (train < stop)] - start for train in self.spikes)
        inputs = None if self.inputs is None else self.inputs[:, round(start / self.dt) : max(1, round(stop / self.dt))]
        return NetworkRecording(spikes, self.groups, stop - start, inputs, self.dt, self.name)

    def take(self, neurons: Sequence[int]) -> NetworkRecording:
        """Some of the neurons."""
        spikes = tuple(self.spikes[k] for k in neurons)
        return NetworkRecording(spikes, self.groups[list(neurons)], self.duration, self.inputs, self.dt, self.name)


def simulated_recording(
    times: ArrayLike,
    units: ArrayLike,
    groups: ArrayLike,
    duration: float,
    inputs: ArrayLike | None = None,
    dt: float = 4.0,
    name: str = "simulation",
) -> NetworkRecording:
    """One row of a simulator of networks: times (ms) and recorded neuron of each spike, and the neurons' groups."""
    when, which = np.asarray(times, np.float64), np.asarray(units, np.int64)
    groups = np.asarray(groups, np.int64)
    spikes = tuple(when[which == k] for k in range(len(groups)))
    return NetworkRecording(spikes, groups, duration, None if inputs is None else np.asarray(inputs), dt, name)


def read_network(
    path: str | Path, start: float | None = None, stop: float | None = None, populations: Sequence[int] | None = None
) -> NetworkRecording:
    """A recording from a file.

    ======  =====================================================================================================
    .npz    ``id`` and ``t`` (s) of each spike; ``population`` (whole numbers from 0) of each neuron, in the order of
            their ids, or of ``unit``, a list of ids that may also have neurons without a spike; optionally ``start``
            and ``stop`` (s), and the ``input`` (populations, steps), 1/s, with its ``dt`` (ms)
    .nwb    its ``units`` table; electrode groups are populations
    ======  =====================================================================================================

    Args:
        path: The file.
        start: Beginning, s; by default the file's, or its first spike.
        stop: End, s; by default the file's, or its last spike.
        populations: Of each neuron, instead of what the file says.

    Raises:
        InputError: if the file is missing, damaged, or not of these forms.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected spike trains, found {'a folder' if path.is_dir() else 'no such file'}")
    inputs, dt = None, 4.0
    if path.suffix.lower() == ".nwb":
        trains, _, found, first, last = read_trains(path)
    elif path.suffix.lower() == ".npz":
        arrays = load_npz(path)
        trains, found = _trains(arrays, path.name)
        first, last = (_number(arrays, key, path.name) for key in ("start", "stop"))
        step = _number(arrays, "dt", path.name)
        inputs, dt = arrays.get("input"), dt if step is None else step
    else:
        raise InputError(f"{path}: expected spike trains as .npz or .nwb, found {path.suffix or 'no suffix'}")
    groups = found if populations is None else np.asarray(populations)
    if groups is None:
        raise InputError(f"{path}: expected the population of each neuron, found none: give population")
    every = np.concatenate([np.zeros(0), *trains])
    if not len(every) or not np.isfinite(every).all():
        raise InputError(f"{path}: expected finite spike times, s, found {'others' if len(every) else 'none'}")
    earliest, latest = float(every.min()), float(every.max())
    of_file = path.suffix.lower() == ".npz" and start is None and stop is None
    start = start if start is not None else first if first is not None else earliest
    stop = stop if stop is not None else last if last is not None else latest
    if not stop > start:
        raise InputError(f"{path}: expected stop after start, found {start:g} to {stop:g} s")
    if of_file and not start <= earliest <= latest <= stop:
        # as when times are in ms: what the arrays say of themselves must agree
        raise InputError(
            f"{path}: t: expected times from {start:g} to {stop:g} s, its own start and stop, found {earliest:g} to {latest:g} s"
        )
    spikes = tuple((train[(train >= start) & (train <= stop)] - start) * 1000 for train in trains)
    return NetworkRecording(spikes, groups, (stop - start) * 1000, inputs, dt, path.name)


def _trains(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[list[FloatArray], NDArray[Any] | None]:
    unknown = sorted(set(arrays) - set(KEYS))
    if unknown or not {"id", "t"} <= set(arrays):
        raise InputError(
            f"{name}: expected the arrays id, t, population and optionally {', '.join(KEYS[3:])}, found {', '.join(sorted(arrays))}"
        )
    ids, t = arrays["id"], arrays["t"]
    if ids.dtype.kind not in "iu" or t.dtype.kind not in "fiu" or ids.ndim != 1 or ids.shape != t.shape:
        raise InputError(
            f"{name}: expected id (whole numbers) and t (s) of each spike, found {ids.dtype} {ids.shape} and {t.dtype} {t.shape}"
        )
    units = arrays.get("unit", np.unique(ids))
    if units.ndim != 1 or not np.isin(ids, units).all() or len(np.unique(units)) != len(units):
        raise InputError(f"{name}: unit: expected every id once, found {units.shape[0] if units.ndim else 1} entries")
    return [t[ids == unit].astype(np.float64) for unit in units], arrays.get("population")


def _number(arrays: Mapping[str, NDArray[Any]], key: str, name: str) -> float | None:
    if key not in arrays:
        return None
    if arrays[key].size != 1 or arrays[key].dtype.kind not in "fiu":
        raise InputError(f"{name}: {key}: expected one number, found {arrays[key].dtype} {arrays[key].shape}")
    return float(arrays[key].reshape(()))
