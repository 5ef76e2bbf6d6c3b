"""Neurons of a recording put into groups that fire together: a stand-in for populations where nothing else is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError


def correlated_groups(
    trains: Sequence[ArrayLike], duration: float, groups: int = 3, bin: float = 50.0, seed: int = 0
) -> NDArray[np.int64]:
    """Group of each neuron (K,), by k-means on the rows of the matrix of correlations of their spike counts.

    The group whose neurons fire most, on average, is the last one, which circuits such as the winner-take-all one have for
    their inhibitory population; the others are in the order of their sizes, the largest first. Correlations with a neuron that
    does not vary count as 0.

    Args:
        trains: Spike times of each neuron, ms.
        duration: ms.
        groups: How many.
        bin: Of the counts, ms.
        seed: Of the starts of k-means.

    Raises:
        InputError: for fewer neurons than groups, or less than two bins.
    """
    from sklearn.cluster import KMeans

    bins = int(duration / bin + 1e-6)
    if not 1 <= groups <= len(trains):
        raise InputError(f"groups: expected 1 to {len(trains)}, the number of neurons, found {groups}")
    if bins < 2:
        raise InputError(f"groups: expected two bins of {bin:g} ms at least, found {duration:g} ms")
    counts = np.array([np.histogram(np.asarray(train), bins, (0.0, bins * bin))[0] for train in trains], np.float64)
    away = counts - counts.mean(1, keepdims=True)
    size = np.sqrt((away**2).sum(1))
    away /= np.where(size > 0, size, 1.0)[:, None]
    means = KMeans(n_clusters=groups, n_init=10, random_state=seed)  # pyright: ignore[reportArgumentType]
    label = means.fit(away @ away.T).labels_
    assert label is not None
    number = np.bincount(label, minlength=groups)
    rate = np.bincount(label, counts.mean(1), groups) / number
    busiest = int(rate.argmax())
    order = [*sorted(set(range(groups)) - {busiest}, key=lambda k: (-number[k], -rate[k])), busiest]
    return np.argsort(order)[label].astype(np.int64)
