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
from numpy.typing import NDArray

from neuroinf.sweeps.drivers import Effect, order, varying
from neuroinf.sweeps.runs import Run, Runs

FEW = 8  # values that get a place each
LOGARITHMIC = 30.0  # ratio of largest to smallest above which an axis is logarithmic
# the light end of the map is left out: it would not be seen on white
DARKEST, LIGHTEST = 0.0, 0.9
JITTER = 0.03  # of an axis, by which lines through the same place are parted
_MARKS = {"driver": "driver", "without effect": "no effect", "undecided": "undecided"}


def parallel_coordinates(found: Runs, effects: Sequence[Effect], seed: int = 0) -> Figure:
    """A panel for each sweep, since only its runs are comparable; its keys in the order of their effect, the metric last.

    Dark lines are the best runs. Places are parted a little, so that lines through the same value are seen.

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
        explained = "; %: share of the ranks' variance beyond the other keys" if panel == 0 else ""
        axis.set_title(f"{sweep}: {len(own)} runs, dark the best{explained}", loc="left", fontsize=9)
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
    for x, (_, ticks) in enumerate([*columns, scores]):
        axis.axvline(x, color="black", lw=0.8)
        for place, text in ticks:
            axis.text(
                x + 0.02,
                place,
                text,
                fontsize=7,
                va="center",
                bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.75},
            )
    axis.set_xlim(-0.05, len(places) - 0.7)
    axis.set_ylim(-0.08, 1.08)
    axis.set_yticks([])
    axis.set_xticks(across, [*(_label(effect) for effect in effects), f"{found.metric}\n(score)"], fontsize=8)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def _label(effect: Effect) -> str:
    strength = f"{100 * effect.partial:.0f} %"
    if effect.correlation is not None:
        strength = f"$\\rho$ = {effect.correlation.rho:+.2f}, {strength}"
    return f"{effect.key}\n{_MARKS[effect.verdict]} ({strength})"


def _places(values: list[Any], numeric: bool) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """Heights from 0 to 1, nan where there is no value, and ticks."""
    there = [value for value in values if value is not None]
    levels = sorted(set(there)) if numeric else sorted({json.dumps(v, sort_keys=True, default=str) for v in there})
    if not there:
        return np.full(len(values), np.nan), []
    if not numeric or len(levels) <= FEW:
        heights = {level: i / (len(levels) - 1) if len(levels) > 1 else 0.5 for i, level in enumerate(levels)}
        keys = (
            values if numeric else [None if v is None else json.dumps(v, sort_keys=True, default=str) for v in values]
        )
        ticks = [(height, f"{level:.3g}" if numeric else str(level).strip('"')) for level, height in heights.items()]
        return np.array([math.nan if key is None else heights[key] for key in keys]), ticks
    low, high = float(levels[0]), float(levels[-1])
    logarithmic = low > 0 and high / low > LOGARITHMIC
    scaled = np.array([math.nan if v is None else math.log(v) if logarithmic else float(v) for v in values])
    low, high = (math.log(low), math.log(high)) if logarithmic else (low, high)
    marks = np.linspace(low, high, 5)
    ticks = [((m - low) / (high - low), f"{math.exp(m) if logarithmic else m:.3g}") for m in marks]
    return (scaled - low) / (high - low), ticks


__all__ = ["parallel_coordinates"]
