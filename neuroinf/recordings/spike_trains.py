"""Populations from arrays: spike trains by unit and time, and activity that is already in bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.errors import InputError

BIN = 50.0  # ms
SPIKES = ("id", "t", "group", "tetrode")
ACTIVITY = ("activity", "dt", "kind", "group", "names", "positions")


def binned_trains(
    trains: Sequence[NDArray[np.float64]],
    dt: float | None = None,
    start: float | None = None,
    stop: float | None = None,
    *,
    names: Sequence[str] | None = None,
    group: ArrayLike | None = None,
    name: str = "spike trains",
) -> PopulationData:
    r"""Counts :math:`(T, K)` of K spike trains, :math:`T = \lfloor (\mathrm{stop} - \mathrm{start}) / dt \rfloor`.

    Only whole bins are made: spikes after the last whole one are left out, and no bin is filled up.

    Args:
        trains: Spike times of each unit, s.
        dt: Bin, ms; 50 by default.
        start: Beginning of the first bin, s; the first spike by default.
        stop: The last bin ends no later, s; the last spike by default.
        names: Of the units.
        group: Of each unit (K,).
        name: What it is called in messages.

    Raises:
        InputError: if there is no spike, a time is not finite, or there is no whole bin from start to stop.
    """
    dt = BIN if dt is None else float(dt)
    if not (np.isfinite(dt) and dt > 0):
        raise InputError(f"{name}: expected dt a positive number of ms, found {dt}")
    every = np.concatenate([np.zeros(0), *trains])
    if not len(every) or not np.isfinite(every).all():
        bad = [(k, t) for k, train in enumerate(trains) for t in np.asarray(train)[~np.isfinite(train)]]
        found = f"{bad[0][1]} in train {bad[0][0]}" if bad else "no spike"
        raise InputError(f"{name}: expected finite spike times, s, found {found}")
    start = float(every.min()) if start is None else float(start)
    stop = float(every.max()) if stop is None else float(stop)
    # 0.1 s in bins of 10 ms are 10, whatever rounding makes of it
    bins = int(np.floor((stop - start) / dt * 1000 + 1e-6))
    if bins < 1:
        raise InputError(f"{name}: expected at least a bin of {dt:g} ms, found {start:g} to {stop:g} s; times are in s")
    counts = np.zeros((bins, len(trains)), np.float32)
    for k, times in enumerate(trains):
        index = np.floor((np.asarray(times) - start) * 1000 / dt + 1e-9).astype(np.int64)
        counts[:, k] = np.bincount(index[(index >= 0) & (index < bins)], minlength=bins)
    return population(counts, dt, "counts", group=group, names=names, name=name)


def from_spike_arrays(
    arrays: Mapping[str, NDArray[Any]], name: str, dt: float | None, start: float | None, stop: float | None
) -> PopulationData:
    """A population from `id` and `t` (s) of each spike, and optionally a `group` or `tetrode` of each unit."""
    unknown = sorted(set(arrays) - set(SPIKES))
    if unknown or not {"id", "t"} <= set(arrays):
        raise InputError(f"{name}: expected the arrays id, t and optionally group, found {', '.join(sorted(arrays))}")
    unit, t = arrays["id"], arrays["t"]
    if unit.dtype.kind not in "iu" or t.dtype.kind not in "fiu" or unit.ndim != 1 or unit.shape != t.shape:
        raise InputError(
            f"{name}: expected id (whole numbers) and t (s) of each spike, found {unit.dtype} {unit.shape} and {t.dtype} {t.shape}"
        )
    labels, back = np.unique(unit, return_inverse=True)
    t = t.astype(np.float64)
    trains = [t[back == k] for k in range(len(labels))]
    group = arrays.get("group", arrays.get("tetrode"))
    if group is not None and (group.dtype.kind not in "iu" or group.shape != labels.shape):
        raise InputError(
            f"{name}: group: expected a whole number for each of {len(labels)} units, found {group.dtype} {group.shape}"
        )
    return binned_trains(trains, dt, start, stop, names=[str(k) for k in labels], group=group, name=name)


def from_activity_arrays(arrays: Mapping[str, NDArray[Any]], name: str) -> PopulationData:
    """A population from `activity` (T, K) or (S, T, K) and `dt` (ms); whole numbers from 0 are counts unless `kind` says not."""
    unknown = sorted(set(arrays) - set(ACTIVITY))
    if unknown or not {"activity", "dt"} <= set(arrays):
        raise InputError(
            f"{name}: expected spike trains (id, t) or activity and dt, optionally kind, group, names and positions, found "
            f"{', '.join(sorted(arrays)) or 'none'}"
        )
    activity, dt = arrays["activity"], arrays["dt"]
    if activity.dtype.kind not in "fiu" or activity.ndim not in (2, 3):
        raise InputError(
            f"{name}: activity: expected real numbers (bins, neurons) or (sequences, bins, neurons), found {activity.dtype} "
            f"of shape {activity.shape}"
        )
    if dt.size != 1 or dt.dtype.kind not in "fiu":
        raise InputError(f"{name}: dt: expected one number in ms, found {dt.dtype} {dt.shape}")
    whole = bool((activity >= 0).all() and (activity == np.round(activity)).all())
    kind = str(arrays["kind"]) if "kind" in arrays else "counts" if whole else "trace"
    if kind not in ("counts", "trace"):
        raise InputError(f"{name}: kind: expected counts or trace, found {kind!r}")
    neurons, width = activity.shape[-1], {"group": (), "names": (), "positions": (3,)}
    for key, rest in width.items():
        if key in arrays and arrays[key].shape != (neurons, *rest):
            raise InputError(f"{name}: {key}: expected shape {(neurons, *rest)}, found {arrays[key].shape}")
    names = [str(k) for k in arrays["names"]] if "names" in arrays else None
    return population(
        activity,
        float(dt.reshape(())),
        "counts" if kind == "counts" else "trace",
        group=arrays.get("group"),
        names=names,
        positions=arrays.get("positions"),
        name=name,
    )
