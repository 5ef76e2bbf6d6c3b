"""Parallel coordinates: a line for each run through its values to its rank."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from neuroinf.sweeps.drivers import Effect, order, varying
from neuroinf.sweeps.runs import Run, Runs

Ticks = list[tuple[float, str]]
FEW = 8  # values that get a place each
LOGARITHMIC = 30.0  # ratio of largest to smallest above which an axis is logarithmic
# the light end of the map is left out: it would not be seen on white
DARKEST, LIGHTEST = 0.0, 0.9
JITTER = 0.03  # of an axis, by which lines through the same place are parted
_MARKS = {"driver": "driver", "without effect": "no effect", "undecided": "undecided"}


def parallel_coordinates(found: Runs, effects: Sequence[Effect], seed: int = 0) -> Figure:
    """A panel for each sweep, since only its runs are comparable; its keys in the order of their effect, the metric last.

    Dark thick lines are the best runs. Places are parted a little, so that lines through the same value are seen. Each key
    has its verdict below it and the share that it explains, of all sweeps together, and the correlation in this sweep.

    Args:
        found: The runs.
        effects: Of the keys.
        seed: Of the parting.
    """
    panels = list(dict.fromkeys(run.sweep for run in found.runs))
    width = max(6.4, 1.9 * (len(effects) + 1) + 1.2)
    figure = Figure(figsize=(width, 2.7 * len(panels) + 0.4), layout="constrained")
    axes: NDArray[Any] = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    rng = np.random.default_rng(seed)
    colours = ScalarMappable(Normalize(0, 1), matplotlib.colormaps["magma"])
    for panel, (axis, sweep) in enumerate(zip(axes, panels, strict=True)):
        own = [run for run in found.runs if run.sweep == sweep]
        keys = varying(own)
        _panel(axis, own, [effect for effect in effects if effect.key in keys], found, rng, colours)
        explained = "; %: share of the ranks' variance beyond the other keys, all sweeps together" if panel == 0 else ""
        axis.set_title(f"{sweep}: {len(own)} runs, dark and thick the best{explained}", loc="left", fontsize=9)
    return figure


def _panel(
    axis: Axes,
    runs: list[Run],
    effects: Sequence[Effect],
    found: Runs,
    rng: np.random.Generator,
    colours: ScalarMappable,
) -> None:
    quality = np.argsort(np.argsort(order(runs, found.maximize))) / max(len(runs) - 1, 1)
    best_first = 1 - quality if found.maximize else quality
    columns = [_places([run.config.get(effect.key) for run in runs], effect.numeric) for effect in effects]
    scores = _places([run.score for run in runs], True)
    places = np.array([c[0] for c in columns] + [scores[0]])
    parted = places + JITTER * rng.uniform(-1, 1, places.shape) * np.array(
        [[len(c[1]) <= FEW] for c in [*columns, scores]]
    )
    parted[-1] = places[-1]
    across = np.arange(len(places))
    for i in np.argsort(-best_first):  # the best on top
        shade = DARKEST + (LIGHTEST - DARKEST) * best_first[i]
        axis.plot(across, parted[:, i], color=colours.to_rgba(shade), lw=2.0 - 1.3 * best_first[i])
    last = len(places) - 1
    for x, (_, ticks, _) in enumerate([*columns, scores]):
        axis.axvline(x, color="black", lw=0.8)
        outside = x in (0, last)  # there are no lines on that side
        for place, text in ticks:
            axis.text(
                x - 0.03 if x == 0 else x + 0.03,
                place,
                text,
                fontsize=7,
                va="center",
                ha="right" if x == 0 else "left",
                zorder=5,
                bbox=None if outside else {"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.9},
            )
    axis.set_xlim(-0.3, last + 0.3)
    axis.set_ylim(-0.08, 1.08)
    axis.set_yticks([])
    labels = [_label(effect, runs[0].sweep, log) for effect, (_, _, log) in zip(effects, columns, strict=True)]
    axis.set_xticks(across, [*labels, f"{found.metric}{_scale(scores[2])}\n(score)"], fontsize=8)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def _label(effect: Effect, sweep: str, logarithmic: bool) -> str:
    strength = f"{_MARKS[effect.verdict]}, {100 * effect.partial:.0f} %"
    own = effect.by_sweep.get(sweep)
    correlation = "" if own is None else f"\n$\\rho$ = {own.rho:+.2f}"
    return f"{effect.key}{_scale(logarithmic)}\n{strength}{correlation}"


def _scale(logarithmic: bool) -> str:
    return " (log)" if logarithmic else ""


def _places(values: list[Any], numeric: bool) -> tuple[NDArray[np.float64], Ticks, bool]:
    """Heights from 0 to 1, nan where there is no value, ticks, and whether the axis is logarithmic."""
    there = [value for value in values if value is not None]
    if not there:
        return np.full(len(values), np.nan), [], False
    if not numeric:
        return _levels([None if v is None else json.dumps(v, sort_keys=True, default=str).strip('"') for v in values])
    if len(set(there)) <= FEW and len(set(there)) < len(there):  # values that come again were chosen from a list
        return _levels(values)
    low, high = float(min(there)), float(max(there))
    logarithmic = low > 0 and high / low > LOGARITHMIC
    numbers = np.array([math.nan if v is None else float(v) for v in values])
    if logarithmic:
        locator, numbers, low, high = LogLocator(subs=(1.0, 2.0, 5.0)), np.log(numbers), math.log(low), math.log(high)
        marks = [float(mark) for mark in locator.tick_values(min(there), max(there))]
        ticks = [(math.log(mark), mark) for mark in marks]
    else:
        ticks = [(float(mark), float(mark)) for mark in MaxNLocator(5).tick_values(low, high)]
    room = high - low or 1.0
    inside = [((at - low) / room, f"{mark:.6g}") for at, mark in ticks if low <= at <= high]
    return (numbers - low) / room, inside, logarithmic


def _levels(values: list[Any]) -> tuple[NDArray[np.float64], Ticks, bool]:
    """The same distance between each two values."""
    levels = sorted({value for value in values if value is not None})
    heights = {level: i / (len(levels) - 1) if len(levels) > 1 else 0.5 for i, level in enumerate(levels)}
    ticks = [(height, level if isinstance(level, str) else f"{level:.6g}") for level, height in heights.items()]
    return np.array([math.nan if value is None else heights[value] for value in values]), ticks, False


__all__ = ["parallel_coordinates"]
