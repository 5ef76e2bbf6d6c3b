"""From a population as it was recorded to what is learnt from: bins, groups of neurons, normalisation, parts in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.populations import Matrix, PopulationData
from neuroinf.errors import InputError


def bin_activity(data: PopulationData, factor: int) -> PopulationData:
    r"""Longer bins: the sum of `factor` neighbouring counts, or the mean of as many samples of a trace.

    What does not fill a last bin is left out: a bin that was filled up with zeros would be a time at which all neurons fall silent.

    .. math:: \hat x_j = \sum_{i < f} x_{j f + i} \text{ (counts)}, \qquad \frac{1}{f} \sum_{i < f} x_{j f + i} \text{ (traces)},
        \qquad j < \lfloor T / f \rfloor

    Rates and latents of simulations are treated as the activity and as a trace.

    Raises:
        InputError: if the factor is below 1 or above the bins of the shortest sequence.
    """
    shortest = min(len(x) for x in data.activity)
    if not 1 <= factor <= shortest:
        raise InputError(
            f"{data.name}: bins: expected a factor from 1 to {shortest}, the shortest sequence's bins, found {factor}"
        )

    def binned(x: Matrix, total: bool) -> Matrix:
        kept = x[: len(x) // factor * factor].reshape(-1, factor, x.shape[1]).astype(np.float64)
        return (kept.sum(1) if total else kept.mean(1)).astype(np.float32)

    counts = data.kind == "counts"
    return replace(
        data,
        activity=tuple(binned(x, counts) for x in data.activity),
        dt=data.dt * factor,
        factors=None if data.factors is None else tuple(binned(x, False) for x in data.factors),
        rates=None if data.rates is None else tuple(binned(x, counts) for x in data.rates),
    )


# -- groups of neurons -----------------------------------------------------------------------------------------------


def by_depth(data: PopulationData) -> PopulationData:
    """Groups are the planes: one for each z that occurs, numbered from the lowest z."""
    return replace(data, group=np.unique(_positions(data)[:, 2], return_inverse=True)[1].astype(np.int64))


def by_grid(data: PopulationData, columns: int, rows: int) -> PopulationData:
    """Groups are the blocks of a grid over x and y, of equal width and height; block (i, j) of x and y is i * rows + j.

    Raises:
        InputError: if a number is below 1, there are no positions, or all neurons have the same x or y.
    """
    if columns < 1 or rows < 1:
        raise InputError(f"{data.name}: grid: expected at least 1 column and row, found {columns} and {rows}")
    blocks = []
    for axis, parts in ((0, columns), (1, rows)):
        x = _positions(data)[:, axis]
        width = np.ptp(x)
        if parts > 1 and width == 0:
            raise InputError(
                f"{data.name}: grid: all neurons have the same {'xy'[axis]}, which cannot be divided into {parts}"
            )
        blocks.append(np.minimum((x - x.min()) / (width or 1.0) * parts, parts - 1).astype(np.int64))
    return replace(data, group=blocks[0] * rows + blocks[1])


def by_kmeans(data: PopulationData, groups: int, seed: int) -> PopulationData:
    """Groups are k-means clusters of the positions, numbered by the distance of their centres from the lowest corner.

    Raises:
        InputError: if there are no positions, or more groups than neurons.
    """
    from sklearn.cluster import KMeans

    positions = _positions(data)
    if not 1 <= groups <= len(np.unique(positions, axis=0)):
        raise InputError(
            f"{data.name}: k-means: expected 1 to {len(positions)} groups, one position in each, found {groups}"
        )
    means = KMeans(n_clusters=groups, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
    found = means.fit(positions)
    # sklearn's numbers are arbitrary
    order = np.argsort(((found.cluster_centers_ - positions.min(0)) ** 2).sum(1))
    return replace(data, group=np.argsort(order)[found.labels_].astype(np.int64))


def equalised(data: PopulationData, seed: int, size: int | None = None) -> PopulationData:
    """The same number of neurons of each group, drawn without replacement, in the order of the groups.

    Args:
        data: Grouped neurons.
        seed: Of the draw; each group has a stream of its own.
        size: Number in each group; None: as many as the smallest group has.

    Raises:
        InputError: if a group has fewer.
    """
    sizes = [int((data.group == label).sum()) for label in data.groups]
    size = min(sizes) if size is None else size
    if not 1 <= size <= min(sizes):
        raise InputError(
            f"{data.name}: equal groups: expected 1 to {min(sizes)} neurons of each, as the smallest group has, found {size}"
        )
    chosen = [
        np.sort(
            np.random.default_rng([seed, int(label)]).choice(np.flatnonzero(data.group == label), size, replace=False)
        )
        for label in data.groups
    ]
    return data.select(np.concatenate(chosen))


def _positions(data: PopulationData) -> NDArray[np.float64]:
    if data.positions is None:
        raise InputError(
            f"{data.name}: expected positions x, y, z of the neurons to group them by, found none in the data"
        )
    return data.positions


# -- normalisation ---------------------------------------------------------------------------------------------------


def rate_preserving(data: PopulationData) -> PopulationData:
    r"""Activity in units of its group's mean: one number for each group, so that rates keep their proportions in time and between
    neurons.

    .. math:: \hat x_{t, i} = x_{t, i} / \langle x_{t, j} \rangle_{t,\, j \in g_i}

    Raises:
        InputError: if a group's mean is not positive.
    """
    means = {int(label): float(data.mean[data.group == label].mean()) for label in data.groups}
    _refuse_means(data, means)
    scale = np.array([means[int(label)] for label in data.group])
    return _as_traces(data, lambda x, _: x / scale)


def population_mode_removed(data: PopulationData) -> PopulationData:
    r"""The published study's normalisation: in each bin, activity in units of its group's mean over neurons in that bin.

    .. math:: \hat x_{t, i} = x_{t, i} / \langle x_{t, j} \rangle_{j \in g_i}

    Each bin then has mean 1: what all neurons of a group do together is divided out. Of a simulation's rates the same factors are
    taken.

    Raises:
        InputError: if a group's mean in a bin is not positive.
    """
    return _as_traces(data, lambda x, seen: x / _bin_means(data, seen))


def _bin_means(data: PopulationData, x: NDArray[np.float64]) -> NDArray[np.float64]:
    means = np.empty_like(x)
    for label in data.groups:
        members = data.group == label
        mean = x[:, members].mean(1)
        if not (mean > 0).all():
            t = int(np.argmin(mean > 0))
            raise InputError(
                f"{data.name}: the mean of group {label} in bin {t} is {mean[t]:g}, by which nothing can be divided: take longer "
                f"bins, or the rate-preserving normalisation"
            )
        means[:, members] = mean[:, None]
    return means


def _refuse_means(data: PopulationData, means: dict[int, float]) -> None:
    for label, mean in means.items():
        if not mean > 0:
            raise InputError(
                f"{data.name}: the mean activity of group {label} is {mean:g}: it must be positive for "
                f"activity to be given in its units"
            )


def _as_traces(
    data: PopulationData, scaled: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
) -> PopulationData:
    """Apply a scaling that depends on the observed activity to it, and to the rates."""
    seen = [x.astype(np.float64) for x in data.activity]
    rates = data.rates
    return replace(
        data,
        kind="trace",
        activity=tuple(scaled(x, x).astype(np.float32) for x in seen),
        rates=None
        if rates is None
        else tuple(scaled(r.astype(np.float64), x).astype(np.float32) for r, x in zip(rates, seen, strict=True)),
    )


# -- parts in time ---------------------------------------------------------------------------------------------------


def split_time(data: PopulationData, fractions: Sequence[float] = (0.8, 0.2)) -> tuple[PopulationData, ...]:
    """Each sequence cut in time: its first part, its second and so on; a bin is in one part.

    Args:
        data: What is divided.
        fractions: Of each sequence's bins; they sum to 1.

    Raises:
        InputError: if they do not, or a part of a sequence would have no bin.
    """
    parts = np.asarray(fractions, np.float64)
    if parts.ndim != 1 or not len(parts) or not (parts > 0).all() or abs(parts.sum() - 1) > 1e-9:
        raise InputError(f"{data.name}: time: expected positive fractions that sum to 1, found {list(fractions)}")
    edges = np.concatenate([[0.0], np.cumsum(parts)])
    edges[-1] = 1.0
    # rounding must not move the edge of 0.8 of 2,500 bins to 1,999
    bounds = [np.floor(edges * len(x) + 1e-6).astype(int) for x in data.activity]
    for s, edge in enumerate(bounds):
        if (np.diff(edge) < 1).any():
            raise InputError(
                f"{data.name}: time: sequence {s} of {len(data.activity[s])} bins is too short for the fractions {list(fractions)}"
            )
    return tuple(
        data.cut([(s, int(edge[i]), int(edge[i + 1])) for s, edge in enumerate(bounds)]) for i in range(len(parts))
    )
