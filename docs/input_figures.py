"""Figures of correlated inputs: `inputs(folder)`, drawn by docs/make_figures.py."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.stimuli import CoxInputs, Modes, SourceMixture, Stimulus

INPUTS, LONG, SHOWN, WINDOW, SEED = 10, 200_000.0, 1000, 20, 3
# told apart by lightness and by shape
MARKS: list[dict[str, Any]] = [
    {"color": "#000000", "marker": "o", "s": 9},
    {"color": "#2a78b5", "marker": "^", "s": 12, "facecolors": "none", "linewidths": 0.8},
    {"color": "#e59f3c", "marker": "s", "s": 9},
]


def inputs(folder: Path) -> None:
    """Rasters of the three correlated generators, and measured against designed count correlations."""
    figure = Figure(figsize=(8, 5.2), dpi=120, layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=[1, 0.85])
    scatter = figure.add_subplot(grid[:, 1])
    factors = np.random.default_rng(SEED).uniform(0.1, 0.7, INPUTS)
    unequal = np.outer(factors, factors)
    np.fill_diagonal(unequal, 1.0)
    rates = np.linspace(20, 60, INPUTS).tolist()
    shown: list[tuple[str, Stimulus, list[Stimulus]]] = [
        (
            "CoxInputs, c = 0.4",
            CoxInputs(INPUTS, LONG, rates=30.0, cv=2.0, correlation=0.4, tau=20.0),
            [
                CoxInputs(
                    INPUTS,
                    LONG,
                    rates=rates,
                    cv=2.0,
                    correlation=(0.8 * unequal + 0.2 * np.eye(INPUTS)).tolist(),
                    tau=20.0,
                )
            ],
        ),
        (
            "SourceMixture, c = 0.3",
            SourceMixture(INPUTS, LONG, rates=30.0, correlation=0.3),
            [SourceMixture(INPUTS, LONG, rates=rates, correlation=(0.7 * unequal + 0.3 * np.eye(INPUTS)).tolist())],
        ),
        (
            "Modes, evenness 0.8",
            Modes(INPUTS, LONG, modes=4, evenness=0.8, rate=30.0, cv=1.5, tau=20.0),
            [Modes(INPUTS, LONG, evenness=e, rate=30.0, cv=1.5, tau=20.0) for e in (0.2, 0.5)],
        ),
    ]
    for row, ((title, stimulus, others), mark) in enumerate(zip(shown, MARKS, strict=True)):
        ax = figure.add_subplot(grid[row, 0])
        spikes = stimulus.sample(np.random.default_rng(SEED))[:, :SHOWN]
        trains = [np.flatnonzero(train) * stimulus.dt for train in spikes]
        ax.eventplot(
            trains, lineoffsets=np.arange(1, INPUTS + 1).tolist(), linelengths=0.8, linewidths=0.7, color="black"
        )
        ax.set_title(title, loc="left", fontsize=10)
        ax.set_ylabel("input")
        ax.set_yticks([1, 5, 10])
        ax.set_xlim(-0.01 * SHOWN, 1.01 * SHOWN)
        if row == 2:
            ax.set_xlabel("time (ms)")
        else:
            ax.tick_params(labelbottom=False)
        pairs = [designed_and_measured(s, SEED + k) for k, s in enumerate([stimulus, *others])]
        scatter.scatter(*np.concatenate(pairs, axis=1), **mark, label=type(stimulus).__name__, zorder=3 - row)
    scatter.axline((0, 0), slope=1, color="0.5", linewidth=0.8, linestyle=":", label="design")
    for sign in (-1, 1):
        label = "acceptance, 0.05" if sign > 0 else None
        scatter.axline((0, 0.05 * sign), slope=1, color="0.7", linewidth=0.8, linestyle="--", label=label)
    scatter.set_title("200 s, all pairs", loc="left", fontsize=10)
    scatter.set_xlabel("designed correlation of 20 ms counts")
    scatter.set_ylabel("measured correlation of 20 ms counts")
    scatter.set_aspect("equal")
    scatter.legend(frameon=False, fontsize=8)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "correlated_inputs.png", metadata={"Software": None})


def designed_and_measured(stimulus: Stimulus, seed: int) -> NDArray[np.float64]:
    """Count correlations of all pairs (2, pairs): designed, and measured in one recording."""
    pairs = np.triu_indices(INPUTS, 1)
    windows = stimulus.sample(np.random.default_rng(seed)).reshape(INPUTS, -1, WINDOW).sum(2)
    if isinstance(stimulus, Modes):
        design = stimulus.count_design
    else:
        assert isinstance(stimulus, CoxInputs | SourceMixture)
        design = stimulus.design
    return np.stack([design[pairs], np.corrcoef(windows)[pairs]])
