"""Activity of a population in bins, wherever it comes from: what is known of its neurons and, if simulated, of its latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.datasets.schema import Dataset
from neuroinf.errors import InputError

Matrix = NDArray[np.float32]
Kind = Literal["counts", "trace"]


@dataclass(frozen=True)
class PopulationData:
    """Sequences of one population's activity.

    Attributes:
        activity: Each sequence :math:`(T_s, K)`: spike counts or traces of the K neurons in its bins.
        dt: Bin, ms.
        kind: "counts": whole numbers from 0; "trace": any real numbers.
        group: Group of each neuron (K,), such as its layer; zeros if there is one.
        names: Of the neurons.
        factors: The true latents of each sequence :math:`(T_s, D)`, of simulations.
        rates: The expected activity given the latents :math:`(T_s, K)`, of simulations.
        positions: x, y and z of each neuron (K, 3), micrometres.
        name: What it is called in messages.

    Raises:
        InputError: if the parts do not fit each other, or a value is not finite, or no count.
    """

    activity: tuple[Matrix, ...]
    dt: float
    kind: Kind
    group: NDArray[np.int64]
    names: tuple[str, ...]
    factors: tuple[Matrix, ...] | None = None
    rates: tuple[Matrix, ...] | None = None
    positions: NDArray[np.float64] | None = None
    name: str = "population"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"{self.name}: dt: expected a positive number of ms, found {self.dt}")
        if not self.activity or not all(x.ndim == 2 and x.size for x in self.activity):
            raise InputError(
                f"{self.name}: expected sequences of activity (bins, neurons), found {[x.shape for x in self.activity]}"
            )
        for what, values in (("group", self.group), ("names", self.names), ("positions", self.positions)):
            if values is not None and len(values) != self.neurons:
                raise InputError(
                    f"{self.name}: {what}: expected one for each of {self.neurons} neurons, found {len(values)}"
                )
        for what, parts in (("activity", self.activity), ("factors", self.factors), ("rates", self.rates)):
            if parts is None:
                continue
            found, wanted = [len(x) for x in parts], [len(x) for x in self.activity]
            if found != wanted or len({x.shape[1] for x in parts}) != 1:
                raise InputError(
                    f"{self.name}: {what}: expected as many bins as the activity has, and one width, found "
                    f"{[x.shape for x in parts][:3]}"
                )
            for s, x in enumerate(parts):
                if not np.isfinite(x).all():
                    t, k = np.argwhere(~np.isfinite(x))[0]
                    raise InputError(
                        f"{self.name}: {what} must be finite, found {x[t, k]} in sequence {s}, bin {t}, column {k}"
                    )
        if self.kind == "counts":
            for s, x in enumerate(self.activity):
                bad = (x < 0) | (x != np.round(x))
                if bad.any():
                    t, k = np.argwhere(bad)[0]
                    raise InputError(
                        f"{self.name}: counts must be whole numbers from 0, found {x[t, k]:g} in sequence {s}, bin {t}, neuron "
                        f"{self.names[k]}; give kind trace for continuous activity"
                    )

    @property
    def neurons(self) -> int:
        """K."""
        return self.activity[0].shape[1]

    @property
    def bins(self) -> int:
        """Of all sequences together."""
        return sum(len(x) for x in self.activity)

    @property
    def groups(self) -> NDArray[np.int64]:
        """The groups' labels, sorted."""
        return np.unique(self.group)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean activity of each neuron (K,), per bin."""
        total = np.sum([x.sum(0, dtype=np.float64) for x in self.activity], axis=0)
        return total / self.bins

    def select(self, neurons: ArrayLike) -> PopulationData:
        """The same sequences of some neurons, by their indices or a mask (K,)."""
        index = np.arange(self.neurons)[np.asarray(neurons) if np.size(neurons) else []]
        if not index.size:
            raise InputError(f"{self.name}: expected neurons to keep, found none chosen of {self.neurons}")
        return replace(
            self,
            activity=tuple(np.ascontiguousarray(x[:, index]) for x in self.activity),
            group=self.group[index],
            names=tuple(self.names[i] for i in index),
            rates=None if self.rates is None else tuple(np.ascontiguousarray(x[:, index]) for x in self.rates),
            positions=None if self.positions is None else self.positions[index],
        )

    def of_group(self, label: int) -> PopulationData:
        """The neurons of one group."""
        return self.select(self.group == label)

    def take(self, sequences: Sequence[int]) -> PopulationData:
        """Some of the sequences."""
        return self.cut([(s, 0, len(self.activity[s])) for s in sequences])

    def cut(self, stretches: Sequence[tuple[int, int, int]]) -> PopulationData:
        """Stretches of sequences: (sequence, first bin, one past the last bin)."""

        def parts(arrays: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
            return tuple(arrays[s][start:stop] for s, start, stop in stretches)

        return replace(
            self,
            activity=parts(self.activity),
            factors=None if self.factors is None else parts(self.factors),
            rates=None if self.rates is None else parts(self.rates),
        )

    def describe(self) -> str:
        """A few lines on what it holds."""
        lengths = [len(x) for x in self.activity]
        span = f"{lengths[0]:,}" if len(set(lengths)) == 1 else f"{min(lengths):,} to {max(lengths):,}"
        what = "spike counts" if self.kind == "counts" else "traces"
        lines = [
            f"population {self.name}: {what} of {self.neurons:,} neurons, {len(lengths):,} sequence(s) of {span} bins of "
            f"{self.dt:g} ms"
        ]
        if len(self.groups) > 1:
            sizes = ", ".join(f"{label}: {int((self.group == label).sum()):,}" for label in self.groups)
            lines.append(f"groups (neurons in each): {sizes}")
        mean = self.mean
        if self.kind == "counts":
            rate = mean / self.dt * 1000
            silent = int((mean == 0).sum())
            lines.append(
                f"rates: {rate.min():.3g} to {rate.max():.3g} Hz, median {np.median(rate):.3g} Hz; {silent} neuron(s) "
                f"without a spike"
            )
        else:
            lines.append(f"mean activity: {mean.min():.3g} to {mean.max():.3g}")
        if self.factors is not None:
            lines.append(f"true latents: {self.factors[0].shape[1]}")
        return "\n".join(lines)


def population(
    activity: NDArray[Any] | Sequence[Any],
    dt: float,
    kind: Kind,
    *,
    group: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    positions: ArrayLike | None = None,
    name: str = "population",
) -> PopulationData:
    """A population from arrays: one sequence (T, K), S of equal length (S, T, K), or a list of them."""
    given = list(activity) if isinstance(activity, Sequence | np.ndarray) else [activity]
    if given and np.ndim(given[0]) == 1:
        given = [activity]
    parts = tuple(np.ascontiguousarray(x, dtype=np.float32) for x in given)
    if not parts or parts[0].ndim != 2:
        raise InputError(
            f"{name}: expected activity (bins, neurons), or sequences of it, found {[x.shape for x in parts][:3]}"
        )
    neurons = parts[0].shape[1]
    return PopulationData(
        parts,
        float(dt),
        kind,
        np.zeros(neurons, np.int64) if group is None else np.asarray(group, np.int64),
        tuple(str(k) for k in (range(neurons) if names is None else names)),
        positions=None if positions is None else np.asarray(positions, np.float64),
        name=name,
    )


def simulated(path: Path | str, rows: ArrayLike | None = None) -> PopulationData:
    """The population of a file made by `neuroinf simulate`, with its true latents and rates.

    Args:
        path: The file.
        rows: Which of its rows; None: all.

    Raises:
        InputError: if the file is damaged or holds no population.
    """
    file = Dataset(path)
    if "activity" not in file.groups:
        raise InputError(
            f"{path}: expected simulations of a population (response/activity), found {list(file.channels)}"
        )
    index = np.arange(file.n) if rows is None else np.asarray(rows, np.int64)
    activity = file.rows(index).continuous["activity"]
    latents = {name: file.latent(name, index) for name in ("factors", "rates")}
    file.close()

    def turned(values: NDArray[np.float32]) -> tuple[Matrix, ...]:
        return tuple(np.ascontiguousarray(x.T) for x in values)

    group = file.groups["activity"]
    return PopulationData(
        turned(activity),
        file.record_dt,
        "counts" if file.channels["activity"] == "count" else "trace",
        group,
        tuple(str(k) for k in range(len(group))),
        turned(latents["factors"]),
        turned(latents["rates"]),
        name=Path(path).name,
    )
