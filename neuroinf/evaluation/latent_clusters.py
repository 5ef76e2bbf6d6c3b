r"""Do neurons of one group (layer, depth, block) share latents? With the controls: held-out neurons, shuffled labels.

A neuron is described by which others its loadings are made of, whichever axes the latents have and whichever sign the neuron, and
by the leading eigenvectors of that. They are made without labels; labels enter the classifier of the training neurons alone, and
accuracy is that on the others.

The neurons are the samples. Latents of separate networks, one for each group, are not: all latents of a group then come from one
training on one input, and differ from another group's whether or not the groups do. The null hypothesis, that labels do not depend
on the neurons, makes every permutation of the labels equally probable only where each neuron could have been in any group.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import Lasso
from sklearn.metrics import adjusted_rand_score

from neuroinf.errors import InputError

FloatArray = NDArray[np.float64]

# of the classifier; beginnings of k-means
NEIGHBOURS, STARTS = 10, 20
# alpha: agreement is the same to .005 from .02 to .1 in populations of seeds 0 to 19
SPARSITY = 0.05


@dataclass(frozen=True)
class GroupTest:
    """Whether groups can be told apart in neurons that the classifier was not trained on.

    Attributes:
        accuracy: Share of held-out neurons whose group is found.
        chance: Share of the largest group.
        shuffled: Accuracy of each shuffle of the labels.
        p: Of the hypothesis that groups do not matter: the rank of the accuracy among those of shuffles, ties broken at random, so
            that it is uniform on 1/(S + 1), ..., 1 if the hypothesis is true.
    """

    accuracy: float
    chance: float
    shuffled: FloatArray
    p: float


def embedding(loadings: ArrayLike, dimensions: int) -> FloatArray:
    r"""Neurons by which others their loadings are made of: leading eigenvectors of the graph of sparse regressions.

    .. math:: u_i = C_i (C^T C)^{-1/2}, \quad \tilde u_i = u_i / |u_i|, \qquad
        w_i = \arg\min_w \tfrac12 \Big| \tilde u_i - \sum_{j \ne i} w_j \tilde u_j \Big|^2 + \alpha |w|_1, \qquad
        G_{ij} = \frac{|w_{ij}|}{\max_k |w_{ik}|} + \frac{|w_{ji}|}{\max_k |w_{jk}|}

    and of :math:`d_i^{-1/2} (G + I)_{ij} d_j^{-1/2}` the eigenvectors. A neuron needs the fewest others where these are of its own
    group, even if groups have some latents in common, which makes neurons of two groups alike. C enters by the projector on its
    columns alone: any invertible change of the latents gives the same, and so does any sign of a neuron.

    Args:
        loadings: Loadings C (K, D).
        dimensions: Eigenvectors.

    Returns:
        Rows of unit length (K, dimensions).

    Raises:
        InputError: if a neuron has no loading, or there are fewer neurons than latents or dimensions.

    Source:
        Costeira and Kanade (1998), Int J Comput Vis 29:159 (the projector); Elhamifar and Vidal (2013), IEEE Trans Pattern Anal
        35:2765 (sparse regressions); Ng, Jordan and Weiss (2001), NIPS 14 (eigenvectors).
    """
    c = np.asarray(loadings, np.float64)
    if c.ndim != 2 or not 1 <= max(dimensions, c.shape[1]) <= len(c) or dimensions < 1:
        raise InputError(
            f"embedding: expected loadings (neurons, latents), and from 1 to as many dimensions as neurons, found {c.shape} and "
            f"{dimensions}"
        )
    fine = np.isfinite(c).all(1) & (c != 0).any(1)
    if not fine.all():
        k = int(np.argmin(fine))
        raise InputError(f"embedding: expected finite loadings, not all of them 0, found {c[k][:5]} of neuron {k}")
    directions = np.linalg.qr(c)[0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    weights = np.zeros((len(c), len(c)))
    # sklearn divides the squared error by the number of rows
    regression = Lasso(SPARSITY / c.shape[1], fit_intercept=False, max_iter=10_000, tol=1e-8)
    for i, direction in enumerate(directions):
        others = np.arange(len(c)) != i
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what has not converged to 1e-8 is a graph's weight
            weights[i, others] = np.abs(regression.fit(directions[others].T, direction).coef_)
    weights /= np.maximum(weights.max(1, keepdims=True), 1e-12)
    graph = weights + weights.T + np.eye(len(c))
    degree = graph.sum(1)
    _, vectors = np.linalg.eigh(graph / np.sqrt(np.outer(degree, degree)))
    leading = vectors[:, -dimensions:]
    return leading / np.maximum(np.linalg.norm(leading, axis=1, keepdims=True), 1e-12)


def group_accuracy(nearest: NDArray[np.int64], groups: NDArray[np.int64], fold: NDArray[np.int64]) -> float:
    """Share of neurons whose group most of the nearest neurons of the other folds have.

    Args:
        nearest: Of each neuron all others' indices, nearest first (K, K - 1).
        groups: Group of each neuron (K,), from 0.
        fold: Its fold (K,).
    """
    apart = fold[nearest] != fold[:, None]
    voting = apart & (np.cumsum(apart, 1) <= NEIGHBOURS)
    votes = np.stack([(voting & (groups[nearest] == g)).sum(1) for g in range(groups.max() + 1)], 1)
    return float((votes.argmax(1) == groups).mean())


def group_test(
    features: ArrayLike, groups: ArrayLike, rng: np.random.Generator, shuffles: int = 199, folds: int = 5
) -> GroupTest:
    """Held-out accuracy of the groups, and how often shuffled labels reach it.

    Args:
        features: Of each neuron (K, F), such as :func:`embedding`, made without the labels.
        groups: Group of each neuron (K,).
        rng: Of folds, shuffles and ties.
        shuffles: S.
        folds: Parts of the neurons.

    Raises:
        InputError: if there are fewer than two groups, or a group has fewer neurons than there are folds.
    """
    x, labels = _checked(features, groups)
    values, sizes = np.unique(labels, return_counts=True)
    if len(values) < 2 or sizes.min() < folds:
        raise InputError(
            f"group_test: expected at least 2 groups of at least {folds} neurons, one for each fold, found sizes {sizes.tolist()}"
        )
    groups_from_0 = np.searchsorted(values, labels)
    fold = rng.permutation(len(x)) % folds
    distance = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :-1]
    accuracy = group_accuracy(nearest, groups_from_0, fold)
    shuffled = np.array([group_accuracy(nearest, rng.permutation(groups_from_0), fold) for _ in range(shuffles)])
    ties = int((shuffled == accuracy).sum())
    rank = 1 + int((shuffled > accuracy).sum()) + int(rng.integers(ties + 1))
    return GroupTest(accuracy, float(sizes.max() / len(labels)), shuffled, rank / (shuffles + 1))


def cluster_agreement(features: ArrayLike, groups: ArrayLike, rng: np.random.Generator) -> float:
    """Adjusted Rand index of the groups and of as many clusters, by k-means, found without them: 1 the same, 0 by chance."""
    x, labels = _checked(features, groups)
    k = len(np.unique(labels))
    means = KMeans(k, n_init=STARTS, random_state=int(rng.integers(2**31)))  # pyright: ignore[reportArgumentType]
    return float(adjusted_rand_score(labels, means.fit_predict(x)))


def _checked(features: ArrayLike, groups: ArrayLike) -> tuple[FloatArray, NDArray[np.int64]]:
    x, labels = np.asarray(features, np.float64), np.asarray(groups, np.int64)
    if x.ndim != 2 or labels.shape != (len(x),):
        raise InputError(f"expected features (neurons, F) and one group for each, found {x.shape} and {labels.shape}")
    return x, labels
