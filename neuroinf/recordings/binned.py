"""Recordings in bins: a neuron's rate or counts, and what its inputs did in each bin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.recordings.arrays import load_h5, load_npz

FloatArray = NDArray[np.float64]
KEYS = ("rate", "spikes", "stimulus", "dt")


@dataclass(frozen=True)
class BinnedRecording:
    """One neuron in T bins.

    Attributes:
        dt: Bin, ms.
        channel: What the response is: "rate" or "count".
        response: (T,).
        inputs: Observed inputs, then coupled neurons' counts (I, T); None if the model takes none.
        name: What it is called in messages.
    """

    dt: float
    channel: str
    response: FloatArray
    inputs: FloatArray | None
    name: str = "recording"


def binned(
    channel: str,
    inputs: int,
    dt: float,
    rate: ArrayLike | None,
    spikes: ArrayLike | None,
    stimulus: ArrayLike | None,
    given_dt: float | None,
    name: str = "arrays",
    largest: float = math.inf,
) -> BinnedRecording:
    """A checked recording for a network that reads bins.

    Args:
        channel: What the network reads: "rate" or "count".
        inputs: How many input rows it reads; 0: none.
        dt: Its bin, ms.
        rate: Rates (T,).
        spikes: Counts per bin (T,), without `given_dt`; or with it spike times, ms, and the stimulus says how many bins.
        stimulus: (I, T), or (T,) for one input.
        given_dt: Bin of the stimulus, ms: must be the network's.
        name: What to call it in messages.
        largest: Counts may reach it, rates lie between it and 0.

    Raises:
        InputError: if it is not what the network reads, or shapes or values cannot be right.
    """
    if given_dt is not None and abs(given_dt - dt) > 1e-6 * dt:
        raise InputError(
            f"{name}: the network reads bins of {dt:g} ms, found dt {given_dt:g} ms: bin the recording anew"
        )
    wanted, other = (rate, spikes) if channel == "rate" else (spikes, rate)
    if wanted is None or other is not None:
        here, there = ("rate", "spikes") if channel == "rate" else ("spikes", "rate")
        found = f"{there} instead" if wanted is None and other is not None else "none" if wanted is None else "both"
        raise InputError(f"{name}: the network reads {here} (T,), one number per bin of {dt:g} ms, found {found}")
    x = None
    if inputs:
        if stimulus is None:
            raise InputError(
                f"{name}: the network reads {inputs} observed input(s), stimulus ({inputs}, T); found none"
            )
        x = np.atleast_2d(_numbers(stimulus, f"{name}: stimulus"))
        if x.ndim != 2 or x.shape[0] != inputs:
            turned = "; it may be transposed" if x.ndim == 2 and x.shape[1] == inputs else ""
            raise InputError(f"{name}: stimulus: expected shape ({inputs}, T), found {x.shape}{turned}")
    elif stimulus is not None:
        raise InputError(f"{name}: the network's stimulus is fixed, expected the response alone, found a stimulus too")
    y = _numbers(wanted, f"{name}: {'rate' if channel == 'rate' else 'spikes'}")
    if y.ndim != 1 or not len(y):
        raise InputError(f"{name}: expected one response (T,), found shape {y.shape}")
    if channel == "count" and given_dt is not None and x is not None:
        if (np.diff(y) < 0).any() or y[0] < 0 or y[-1] > x.shape[1] * dt:
            raise InputError(
                f"{name}: spikes: with dt they are sorted times from 0 to {x.shape[1] * dt:g} ms, found {y.min():g} to "
                f"{y.max():g}; counts per bin are given without dt"
            )
        y = np.bincount(np.minimum((y / dt).astype(np.int64), x.shape[1] - 1), minlength=x.shape[1]).astype(np.float64)
    if x is not None and len(y) != x.shape[1]:
        raise InputError(f"{name}: expected as many bins of response as of stimulus, found {len(y)} and {x.shape[1]}")
    if channel == "count":
        bad = (y < 0) | (y > largest) | (y != np.round(y))
        expected = "counts, whole numbers from 0 " + ("on" if largest == math.inf else f"to {largest:g}")
    else:
        bad = (y <= 0) | (y >= largest)
        expected = "rates above 0" + ("" if largest == math.inf else f" and below {largest:g}")
    if bad.any():
        first = int(np.argmax(bad))
        raise InputError(f"{name}: expected {expected}, found {y[first]:g} in bin {first}")
    return BinnedRecording(dt, channel, y, x, name)


def _numbers(values: ArrayLike, what: str) -> FloatArray:
    if np.iscomplexobj(values):
        raise InputError(f"{what}: expected real numbers, found complex ones")
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: expected real numbers, found {error}") from None
    if not np.isfinite(array).all():
        raise InputError(f"{what}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    return array


def read_binned(path: Path, channel: str, inputs: int, dt: float, largest: float = math.inf) -> BinnedRecording:
    """A recording from the arrays `rate` or `spikes`, `stimulus` and optionally `dt` in an .npz or .h5 file.

    Without `dt` spikes are counts per bin, with it times, ms. The other arguments are those of :func:`binned`.

    Raises:
        InputError: if the file is missing or damaged, or its arrays are not what the network reads.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a recording, found {'a folder' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.lower()
    if suffix not in (".npz", ".h5"):
        raise InputError(f"{path}: this network reads bins, from an .npz or .h5 file, found {suffix or 'no suffix'}")
    arrays = load_npz(path) if suffix == ".npz" else load_h5(path)
    unknown = sorted(set(arrays) - set(KEYS))
    if unknown:
        raise InputError(f"{path}: expected the arrays rate or spikes, stimulus and optionally dt, found {unknown[0]}")
    step = arrays.get("dt")
    if step is not None and (step.size != 1 or step.dtype.kind not in "fiu"):
        raise InputError(f"{path}: dt: expected one number in ms, found {step.dtype} {step.shape}")
    given = None if step is None else float(step.reshape(()))
    rate, spikes, stimulus = (arrays.get(key) for key in ("rate", "spikes", "stimulus"))
    return binned(channel, inputs, dt, rate, spikes, stimulus, given, path.name, largest)
