"""Recordings of a model's own channels, in its own units: soma and dendrite, several inputs, sweeps of one protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.recordings.arrays import load_h5, load_npz

FloatArray = NDArray[np.float64]


def observed_channels(
    observation: Observation, arrays: Mapping[str, ArrayLike], dt: float, samples: int | None, name: str
) -> NDArray[np.float32]:
    """The network's input (S, C, T) for sweeps of one neuron.

    Responses are taken at the end of each of the network's steps, inputs averaged over it.

    Args:
        observation: What the network sees.
        arrays: By channel, see :meth:`neuroinf.estimator.Estimator.infer_channels`.
        dt: Sampling step of the arrays, ms.
        samples: T that the network was trained on; None: any.
        name: What to call the recording in messages.

    Raises:
        InputError: if a channel is missing or unknown, shapes or steps do not fit, or a number is not finite.
    """
    missing = [channel for channel in observation.channels if channel not in arrays]
    unknown = [channel for channel in arrays if channel not in observation.channels]
    if missing or unknown:
        found = f"no {missing[0]}" if missing else unknown[0]
        raise InputError(f"{name}: the network reads {', '.join(observation.channels)}, and dt; found {found}")
    if not (math.isfinite(dt) and dt > 0):
        raise InputError(f"{name}: dt: expected a positive step in ms, found {dt}")
    continuous = {
        channel: np.atleast_2d(_numbers(arrays[channel], f"{name}: {channel}"))
        for channel in observation.channels
        if channel not in ("spikes", "stimulus")
    }
    shapes = {channel: values.shape for channel, values in continuous.items()}
    if "stimulus" in observation.channels:
        stimulus = _inputs(_numbers(arrays["stimulus"], f"{name}: stimulus"), observation.inputs, name)
        shapes["stimulus"] = (len(stimulus), stimulus.shape[-1])
    else:
        stimulus = None
    (first, (sweeps, length)), *others = shapes.items()
    for channel, shape in others:
        if shape != (sweeps, length):
            raise InputError(
                f"{name}: expected as many sweeps and samples of {channel} as of {first}, found {shape[0]} of {shape[1]} and "
                f"{sweeps} of {length}"
            )
    trains = _trains(arrays["spikes"], sweeps, length * dt, name) if "spikes" in observation.channels else None
    steps = round(length * dt / observation.dt)
    if samples is not None and steps != samples:
        raise InputError(
            f"{name}: the network reads sweeps of {samples * observation.dt:g} ms, from the beginning of the protocol, found "
            f"{length} samples of {dt:g} ms: {length * dt:g} ms"
        )
    try:
        return observation.assemble(
            sweeps,
            steps * observation.dt,
            {channel: (values, dt) for channel, values in continuous.items()},
            trains,
            None if stimulus is None else (stimulus, dt),
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def read_channels(path: Path) -> tuple[dict[str, NDArray[Any]], float]:
    """The arrays of an .npz or .h5 file but `dt`, and dt, ms.

    Raises:
        InputError: if the file is missing or damaged, or has no dt.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a recording, found {'a folder' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".h5"):
        raise InputError(
            f"{path}: this network reads a model's channels, from an .npz or .h5 file, found {suffix or path.name}"
        )
    arrays = load_npz(path) if suffix == ".npz" else load_h5(path)
    step = arrays.pop("dt", None)
    if step is None or step.size != 1 or step.dtype.kind not in "fiu":
        found = "none" if step is None else f"{step.dtype} {step.shape}"
        raise InputError(f"{path}: dt: expected one number, the sampling step in ms, found {found}")
    return arrays, float(step.reshape(()))


def _inputs(values: FloatArray, inputs: int, name: str) -> FloatArray:
    """Stimulus (S, K, T)."""
    given = values.shape
    if inputs == 1 and values.ndim <= 2:
        values = np.atleast_2d(values)[:, None]
    elif values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[1] != inputs:
        raise InputError(
            f"{name}: stimulus: expected {inputs} input(s), shape ({inputs}, T) or (sweeps, {inputs}, T), found {given}"
        )
    return values


def _trains(given: ArrayLike, sweeps: int, end: float, name: str) -> list[FloatArray]:
    times = _numbers(given, f"{name}: spikes")
    if sweeps != 1 or times.ndim != 1:
        raise InputError(
            f"{name}: spikes: expected times (ms) of a single sweep, found {times.shape} and {sweeps} sweeps"
        )
    if len(times) and (times.min() < 0 or times.max() > end or (np.diff(times) < 0).any()):
        raise InputError(
            f"{name}: spikes: expected sorted times from 0 to {end:g} ms, found {times.min():g} to {times.max():g}"
        )
    return [times]


def _numbers(values: ArrayLike, what: str) -> FloatArray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what}: expected real numbers, found {array.dtype}")
    if not np.isfinite(array).all():
        raise InputError(f"{what}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    return array.astype(np.float64)


__all__ = ["observed_channels", "read_channels"]
