"""Which swept keys drive a metric, and which have no effect: rank statistics within each sweep, put together."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neuroinf.sweeps.runs import Run

FloatArray = NDArray[np.float64]
PERMUTATIONS = 9999
LEVEL = 0.05
NEGLIGIBLE = 0.1  # of |rho|, below which a key that is no driver is said to have no effect
# below this many runs a sweep's correlation has no standard error
FEWEST = 5
Verdict = Literal["driver", "without effect", "undecided"]


@dataclass(frozen=True)
class Correlation:
    r"""Spearman's rank correlation with its 95 % interval; of several sweeps their mean on Fisher's scale.

    .. math:: \bar z = \frac{\sum_g (n_g - 3)\, \mathrm{artanh} \rho_g}{\sum_g (n_g - 3)}, \quad
              \mathrm{se} = \sqrt{\frac{1 + \bar\rho^2 / 2}{\sum_g (n_g - 3)}}

    Source:
        Bonett and Wright, Psychometrika 65:23 (2000), for the standard error.
    """

    rho: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Effect:
    """What a key does to the metric's rank.

    Args:
        key: The swept key.
        numeric: Whether its values are numbers, hence have an order.
        correlation: Pooled; None if not numeric.
        by_sweep: The same of each sweep in which the key varies.
        share: Of the ranks' variance that it explains by itself: a parabola in its ranks, or its levels' means.
        partial: Of the variance that the other keys leave, what it explains beyond them.
        p: Of `partial`, by permutations within sweeps.
        adjusted: p by Holm's procedure over all keys.
        verdict: "driver" if adjusted is below 0.05; "without effect" if it is no driver, p is not below 0.05 and |rho| is
            below 0.1 (of a key without order: p alone); else "undecided".
    """

    key: str
    numeric: bool
    correlation: Correlation | None
    by_sweep: dict[str, Correlation]
    share: float
    partial: float
    p: float
    adjusted: float
    verdict: Verdict


def effects(
    runs: list[Run], maximize: bool, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> list[Effect]:
    """Of all keys that vary within a sweep, the strongest first.

    Runs are ranked within their sweep: sweeps may differ in data, hence in the level of the metric. A run that was
    stopped early ranks behind all that came farther, one that diverged behind all.

    Args:
        runs: R of them.
        maximize: Whether more of the metric is better: rank 0 is the worst then.
        rng: Of the permutations.
        permutations: Number.
    """
    sweeps = np.array([run.sweep for run in runs])
    response = np.empty(len(runs))
    for sweep in np.unique(sweeps):
        own = np.flatnonzero(sweeps == sweep)
        response[own] = _ranks(order([runs[i] for i in own], maximize))
    columns = {key: _columns(runs, sweeps, key) for key in varying(runs)}
    found = []
    for key, own in columns.items():
        others = np.hstack([c for k, c in columns.items() if k != key] or [np.empty((len(runs), 0))])
        # with hardly more runs than columns there is nothing left to explain
        if len(runs) < 3 * (others.shape[1] + own.shape[1]):
            others = np.empty((len(runs), 0))
        partial, p = _partial(response, own, others, sweeps, rng, permutations)
        share, _ = _partial(response, own, others[:, :0], sweeps, rng, 0)
        correlations = _correlations(runs, sweeps, response, key) if is_numeric(runs, key) else {}
        found.append((key, _pooled(list(correlations.values())), correlations, share, partial, p))
    if not found:
        return []
    adjusted = _holm(np.array([p for *_, p in found]))
    made = [
        Effect(
            key, is_numeric(runs, key), pooled, each, share, partial, p, float(holm), _verdict(pooled, p, float(holm))
        )
        for (key, pooled, each, share, partial, p), holm in zip(found, adjusted, strict=True)
    ]
    return sorted(made, key=lambda effect: (effect.adjusted, -effect.partial))


def varying(runs: list[Run]) -> list[str]:
    """Keys that have several values within a sweep."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.sweep, []).append(run)
    return [
        key
        for key in keys
        if any(len({_level(run.config[key]) for run in own if key in run.config}) > 1 for own in groups.values())
    ]


def is_numeric(runs: list[Run], key: str) -> bool:
    """Whether all values are numbers."""
    values = [run.config[key] for run in runs if key in run.config]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def order(runs: list[Run], maximize: bool) -> list[float]:
    """Numbers in the order of the runs' quality, larger for larger scores: how far they came, then the score."""
    sign = -1.0 if maximize else 1.0

    def badness(run: Run) -> tuple[int, float, float]:
        if run.score is None:
            return (2, 0.0, 0.0)
        return (1, -float(run.steps), sign * run.score) if run.stopped else (0, 0.0, sign * run.score)

    places = {place: float(i) for i, place in enumerate(sorted({badness(run) for run in runs}))}
    return [sign * places[badness(run)] for run in runs]


def _level(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _ranks(values: list[float]) -> FloatArray:
    """Mid-ranks, centred, of unit variance; zeros if all are equal."""
    ranks = stats.rankdata(values)
    ranks = ranks - ranks.mean()
    spread = ranks.std()
    return ranks / spread if spread > 0 else ranks


def _columns(runs: list[Run], sweeps: NDArray[Any], key: str) -> FloatArray:
    """What stands for a key in a regression (R, c): ranks and their squares, or a column for each level; centred."""
    numeric = is_numeric(runs, key)
    levels = sorted({_level(run.config[key]) for run in runs if key in run.config})
    columns = np.zeros((len(runs), 2 if numeric else len(levels)))
    for sweep in np.unique(sweeps):
        # a sweep that does not set the key says nothing of it: zeros
        own = np.array([i for i in np.flatnonzero(sweeps == sweep) if key in runs[i].config], dtype=np.int64)
        values = [runs[i].config[key] for i in own]
        if not values:
            continue
        if numeric:
            ranks = _ranks([float(value) for value in values])
            columns[own] = np.stack([ranks, ranks**2], 1)
        else:
            columns[own] = [[_level(value) == level for level in levels] for value in values]
        columns[own] -= columns[own].mean(0)
    return columns


def _basis(columns: FloatArray) -> FloatArray:
    """Orthonormal columns of the same span."""
    if not columns.size:
        return columns[:, :0]
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, size > 1e-8 * size.max()] if size.max() > 0 else left[:, :0]


def _partial(
    y: FloatArray,
    own: FloatArray,
    others: FloatArray,
    sweeps: NDArray[Any],
    rng: np.random.Generator,
    permutations: int,
) -> tuple[float, float]:
    """Share of what the others leave that a key explains, and its p: residuals are permuted within sweeps.

    Source:
        Freedman and Lane, J Bus Econ Stat 1:292 (1983).
    """
    base = _basis(others)
    beyond = _basis(own - base @ (base.T @ own))
    residual = y - base @ (base.T @ y)

    def share(left: FloatArray) -> FloatArray:
        """Of each column."""
        total = (left**2).sum(0)
        return ((beyond.T @ left) ** 2).sum(0) / np.where(total > 0, total, 1.0)

    found = float(share(residual[:, None])[0])
    if permutations == 0:
        return found, math.nan
    shuffled = np.tile(residual[:, None], permutations)
    for sweep in np.unique(sweeps):
        own_rows = np.flatnonzero(sweeps == sweep)
        shuffled[own_rows] = rng.permuted(shuffled[own_rows], axis=0)
    shuffled -= base @ (base.T @ shuffled)
    p = (1 + int((share(shuffled) >= found - 1e-12).sum())) / (1 + permutations)
    return found, p


def _correlations(runs: list[Run], sweeps: NDArray[Any], response: FloatArray, key: str) -> dict[str, Correlation]:
    """Of each sweep in which the key varies, and that has runs enough."""
    found = {}
    for sweep in dict.fromkeys(sweeps):
        own = [i for i in np.flatnonzero(sweeps == sweep) if key in runs[i].config]
        values = [runs[i].config[key] for i in own]
        if len(own) < FEWEST or len(set(values)) < 2 or len(set(response[own])) < 2:
            continue
        rho = float(stats.spearmanr(values, response[own])[0])  # pyright: ignore[reportArgumentType]
        found[str(sweep)] = _interval(rho, len(own), len(own) - 3)
    return found


def _interval(rho: float, n: int, freedom: int) -> Correlation:
    z = math.atanh(min(max(rho, -1 + 1e-9), 1 - 1e-9))
    half = stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / freedom)
    return Correlation(rho, math.tanh(z - half), math.tanh(z + half), n)


def _pooled(each: list[Correlation]) -> Correlation | None:
    if not each:
        return None
    weights = [c.n - 3 for c in each]
    z = np.average([math.atanh(min(max(c.rho, -1 + 1e-9), 1 - 1e-9)) for c in each], weights=weights)
    return _interval(math.tanh(float(z)), sum(c.n for c in each), sum(weights))


def _holm(p: FloatArray) -> FloatArray:
    """Adjusted for the number of tests: the smallest by all of them, the next by one less, never falling."""
    up = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[up] = np.maximum.accumulate(np.minimum(1.0, p[up] * np.arange(len(p), 0, -1)))
    return adjusted


def _verdict(pooled: Correlation | None, p: float, adjusted: float) -> Verdict:
    if adjusted < LEVEL:
        return "driver"
    small = pooled is None or abs(pooled.rho) < NEGLIGIBLE
    return "without effect" if p >= LEVEL and small else "undecided"


__all__ = ["Correlation", "Effect", "effects", "varying"]
