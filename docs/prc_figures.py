"""Draw the demonstrations of docs/prc.md into docs/figures, each with its published numbers checked: `make docs-figures`.

Every number is printed beside what was published; the first that is off ends the program with one line and exit code 1.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.simulators import Cascade
from neuroinf.simulators.cascade_figure import draw
from neuroinf.stimuli import AlphaInput, BiexponentialInput, ShortSquare, Steps, Stimulus

Floats = NDArray[np.float64]
ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
# told apart by lightness and by dashes, so that a print in grey is read like the screen
STYLES: list[dict[str, Any]] = [
    {"color": "#000000", "linestyle": "-", "linewidth": 1.2},
    {"color": "#2a78b5", "linestyle": "--", "linewidth": 1.2},
    {"color": "#e59f3c", "linestyle": "-", "linewidth": 1.8},
    {"color": "#777777", "linestyle": ":", "linewidth": 1.6},
]
REST: dict[str, Any] = {"color": "0.6", "linestyle": (0, (1, 2)), "linewidth": 0.9, "zorder": 0}
# the published program begins an event one step before its delay
EARLY = 0.1
# peak voltage at amplitudes 0, 0.4, ... 14.8: blocked as printed by the published program, control to four decimals
BLOCKED = """2.01210078e-3 3.73774384e-2 7.30845858e-2 .109274149 .146144348 .183974400 .223157166 .264244529 .308009992
.355534207 .408320070 .468444250 .538749986 .623079346 .726527375 .855669312 1.01865816 1.22501166 1.48482436 1.80711765
2.19720681 2.65345813 3.16458331 3.70917872 4.25874859 4.78368405 5.25973920 5.67219345 6.01646382 6.29594355 6.51877007
6.69491583 6.83421188 6.94530551 7.03529059 7.10972739 7.17284182 7.22777828"""
CONTROL = """.0259 .0536 .0917 .1317 .1744 .2221 .2803 .3617 .4894 .6986 1.0403 1.5808 2.3704 3.3760 4.4420 5.3721 6.0609
6.5199 6.8133 7.0039 7.1349 7.2324 7.3111 7.3787 7.4396 7.4963 7.5499 7.6013 7.6510 7.6993 7.7463 7.7923 7.8374 7.8816 7.9251
7.9680 8.0102 8.0519"""


def check(what: str, found: Any, published: Any, within: float) -> None:
    """Print a number beside the published one; exit if they differ by more than `within`."""
    ours, theirs = np.atleast_1d(np.asarray(found, float)), np.atleast_1d(np.asarray(published, float))
    off = float(np.abs(ours - theirs).max(initial=0.0)) if ours.shape == theirs.shape else np.inf
    few = len(ours) <= 12 and len(theirs) <= 12
    beside = f"{_short(ours)} (published {_short(theirs)})" if few else f"{len(ours)} values"
    print(f"{what}: {beside}, off by {off:.2g}, bar {within:g}")
    if not off <= within:
        sys.exit(f"prc_figures: {what}: expected {_short(theirs)} within {within:g}, found {_short(ours)}")


def _short(values: Floats) -> str:
    return " ".join(f"{value:.4g}" for value in values) or "none"


def cascade(name: str, **fixed: float) -> Cascade:
    """A published neuron without free parameters."""
    return Cascade(str(ROOT / "configs" / "cascades" / f"{name}.yaml"), parameters=[], fixed=fixed)


def respond(simulator: Cascade, stimulus: Floats, dt: float) -> Any:
    """Responses to waveforms (n, I, T)."""
    return simulator.simulate(np.zeros((len(stimulus), 0)), stimulus, dt)


def waveform(stimulus: Stimulus) -> Floats:
    return stimulus.sample(np.random.default_rng(0))


def panels(rows: int, columns: int, size: tuple[float, float], **layout: Any) -> tuple[Figure, NDArray[Any]]:
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **layout)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, name: str) -> None:
    # no version of matplotlib in the file: the same picture gives the same bytes
    figure.savefig(FIGURES / f"prc_{name}.png", metadata={"Software": None})


def crossing(x: Floats, y: Floats, level: float) -> float:
    """Where a rising curve reaches a level."""
    return float(np.interp(level, y, x))


def amplification() -> None:
    """Parallel Na and Ca that drive NMDA: peaks against the amplitude of the event, with and without block."""
    simulator = cascade("parallel")
    amplitudes = np.arange(0, 15, 0.4)
    events = np.stack([waveform(BiexponentialInput(600.0, 0.1, float(a), 20 - EARLY))[0] for a in amplitudes])
    figure, ((left, right),) = panels(1, 2, (8, 3.2))
    shown = waveform(BiexponentialInput(600.0, 0.1, 7.0, 20 - EARLY))[0]
    for block, label, published, within, peak, half, ceiling, style in (
        (0.0, "control", CONTROL, 6e-5, (6.683, 51.1), 5.43, 8.05, STYLES[0]),
        (1.0, "Na and Ca blocked", BLOCKED, 1e-5, (1.348, 54.2), 9.41, 7.23, STYLES[1]),
    ):
        stimulus = np.stack([events, np.full_like(events, block)], axis=1)
        peaks = respond(simulator, stimulus, 0.1)["voltage"].max(axis=1)
        check(f"amplification, {label}: 38 peaks", peaks, np.array(published.split(), float), within)
        check(f"amplification, {label}: amplitude whose peak is 4", crossing(amplitudes, peaks, 4.0), half, 0.02)
        check(f"amplification, {label}: peak at amplitude 14.8", peaks[-1], ceiling, 5e-3)
        trace = respond(simulator, np.stack([shown, np.full_like(shown, block)])[None], 0.1)["voltage"][0]
        found = [trace.max(), 0.1 * trace.argmax()]
        check(f"amplification, {label}: peak and its time (ms) at amplitude 7", found, peak, 0.051)
        left.plot(0.1 * np.arange(4000), trace[:4000], **style, label=label)
        right.plot(amplitudes, peaks, **style, marker=".", markersize=4, label=label)
    left.axhline(6 / (1 + np.exp(0.8 / 0.1)), **REST, label="rest")
    right.axhline(4, **REST, label="half height")
    left.set(xlabel="time (ms)", ylabel="NMDA voltage (a.u.)", title="one event of amplitude 7")
    right.set(xlabel="amplitude of the event (a.u.)", ylabel="peak voltage (a.u.)", title="amplification")
    for ax in (left, right):
        ax.legend(frameon=False, fontsize=8)
    save(figure, "amplification")


def second_peak() -> None:
    """The recurrent neuron: its spike travels back and evokes a second dendritic peak."""
    dt, simulator = 0.002, cascade("recurrent")
    alone = cascade("recurrent", threshold=10.0)
    figure, axes = panels(2, 1, (8, 4.2), sharex=True)
    dendrite, soma = axes[:, 0]
    for peak, most, style in ((1.0, 0.2273, STYLES[3]), (1.5, 0.4291, STYLES[1]), (1.75, 0.9253, STYLES[0])):
        current = waveform(AlphaInput(50.0, dt, peak))[None]
        response = respond(simulator, current, dt)
        check(f"second peak: largest dendritic voltage at input {peak:g}", response["dendrite"].max(), most, 5e-3)
        check(f"second peak: somatic spikes at input {peak:g}", len(response["spikes"][0]), peak == 1.75, 0)
        time = dt * np.arange(current.shape[2])
        dendrite.plot(time, response["dendrite"][0], **style, label=f"input {peak:g}")
        soma.plot(time, response["soma"][0], **style)
        if peak == 1.75:
            check("second peak: its time (ms)", dt * response["dendrite"].argmax(), 8.46, 0.03)
            check("second peak: onset of the spike (ms)", response["spikes"][0], [7.464], 0.03)
            without = respond(alone, current, dt)["dendrite"][0]
            print(f"second peak: without the spike the dendrite reaches {without.max():.3f}")
            dendrite.plot(time, without, color="#e59f3c", linewidth=1.8, zorder=0, label="input 1.75, no spike")
    dendrite.axhline(3 / (1 + np.exp(1.9 / 0.3)), **REST, label="rest")
    soma.axhline(0.19, color="0.4", linestyle="-.", linewidth=0.9, label="threshold")
    soma.axhline(0.0, **REST, label="rest")
    dendrite.set(ylabel="dendrite (a.u.)", title="a back-propagating spike evokes a second dendritic peak")
    soma.set(xlabel="time (ms)", ylabel="soma (a.u.)", xlim=(-0.3, 30))
    for ax in (dendrite, soma):
        ax.legend(frameon=False, fontsize=8)
    save(figure, "second_peak")


def bursting() -> None:
    """The dendro-somatic loop under steps into soma, dendrite and both."""
    levels: list[list[float]] = [[0, 10, 0, 0, 0, 10], [0, 0, 0, 10, 0, 10]]
    stimulus = waveform(Steps([10, 100, 50, 100, 50, 100], levels, 0.1, scale=0.2))
    response = respond(cascade("dendrosomatic"), stimulus[None], 0.1)
    train, time = response["spikes"][0], 0.1 * np.arange(stimulus.shape[1])
    onsets = [24.0, 48.5, 77.6, 106.8, 323.2, 328.4, 335.2, 360.7, 369.2, 391.7, 400.8]
    check("bursting: spikes (ms)", train, onsets, 1e-6)
    counts = [int(((train >= a) & (train < a + 100)).sum()) for a in (10, 160, 310)]
    check("bursting: spikes with current into soma, dendrite, both", counts, [4, 0, 7], 0)
    alone = slice(1600, 2600)
    check("bursting: largest soma, dendrite alone", response["soma"][0, alone].max(), 0.237, 1e-3)
    check("bursting: largest dendrite, dendrite alone", response["dendrite"][0, alone].max(), 0.238, 1e-3)
    figure, axes = panels(3, 1, (8, 4.6), sharex=True)
    current, soma, dendrite = axes[:, 0]
    current.plot(time, stimulus[0], **STYLES[0], label="into the soma")
    current.plot(time, stimulus[1], **STYLES[1], label="into the dendrite")
    soma.plot(time, response["soma"][0], **STYLES[0])
    soma.eventplot([train], lineoffsets=[2.0], linelengths=0.5, colors="#2a78b5", linewidths=1.2)
    soma.axhline(1.5, color="0.4", linestyle="-.", linewidth=0.9, label="threshold")
    dendrite.plot(time, response["dendrite"][0], **STYLES[0])
    for ax in (current, soma, dendrite):
        ax.axhline(0.0, **REST)
    current.set(ylabel="current (a.u.)", title="bursts need current into soma and dendrite")
    soma.set(ylabel="soma (a.u.);\nbars: spikes")
    dendrite.set(xlabel="time (ms)", ylabel="dendrite (a.u.)")
    current.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.51, 0.5))
    soma.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.48, 1.08))
    save(figure, "bursting")


def event(duration: float, amplitude: float, onset: float) -> Floats:
    return waveform(BiexponentialInput(duration, 0.1, amplitude, onset - EARLY, decay=20.0))[0]


def coincidence_and_gain() -> None:
    """The dendro-somatic loop: a dendritic event boosts a somatic one that comes with it or after it."""
    simulator = cascade("dendrosomatic")
    figure, axes = panels(1, 2, (8, 3.0), width_ratios=[1.4, 1])
    left, right = axes[0]
    for row, (late, onsets) in enumerate(((-15, [5.2, 11.2]), (0, [5.6, 9.0, 14.7]), (15, [5.7]))):
        stimulus = np.stack([event(100.0, 4.0, 30.0), event(100.0, 3.0, 30.0 + late)])
        response = respond(simulator, stimulus[None], 0.1)
        check(
            f"coincidence: spikes after the soma's event (ms), dendrite {late:+d} ms",
            response["spikes"][0] - 30,
            onsets,
            1e-6,
        )
        left.plot(0.1 * np.arange(1000) - 30, response["soma"][0] + 4 * (2 - row), **STYLES[0])
        left.axhline(4 * (2 - row), **REST)
        left.plot([late], [4 * (2 - row) + 2.3], marker="v", color="#2a78b5", markersize=5)
        left.text(48, 4 * (2 - row) + 0.7, f"{late:+d} ms", fontsize=8)
    left.set(xlabel="time after the soma's event (ms)", ylabel="soma (a.u.), shifted", xlim=(-20, 60))
    left.set_title("coincidence; triangle: dendrite's event", fontsize=10)
    dense = np.arange(2.0, 5.01, 0.1)
    for dendrite, counts, label, style in (
        (0.0, [1, 1, 2], "alone", STYLES[0]),
        (3.0, [1, 3, 4], "with dendrite", STYLES[1]),
    ):
        found = {}
        for name, amplitudes in (("checked", np.array([3.0, 4.0, 5.0])), ("drawn", dense)):
            stimulus = np.stack([[event(50.0, float(a), 10.0), event(50.0, dendrite, 10.0)] for a in amplitudes])
            found[name] = [len(train) for train in respond(simulator, stimulus, 0.1)["spikes"]]
        check(f"gain: spikes at soma 3, 4, 5, dendrite {dendrite:g}", found["checked"], counts, 0)
        right.plot(dense, found["drawn"], drawstyle="steps-mid", **style, label=label)
    right.axhline(0, **REST)
    right.set(xlabel="amplitude of the soma's event (a.u.)", ylabel="spikes")
    right.set_title("gain", fontsize=10)
    right.legend(frameon=False, fontsize=8)
    save(figure, "coincidence_gain")


CONDITIONS = (
    ("Na spikes", (2.0, 5.0, 1.0), [0.10, 16.73, 18.93, 20.90, 26.80], (3.55, 5.5), -35.0),
    ("extended timescale", (30.0, 5.0, 1.0), [0.10, 2.45, 6.03, 12.57, 26.65], (0.79, 31.5), -1.0),
    ("extended sensitivity", (2.0, 30.0, 7.0), [0.20, 2.70, 6.33, 12.10, 26.40], (0.69, 32.7), -15.0),
    ("last cell", (15.0, 4.0, 1.0), [0.27, 5.55, 16.57, 20.74, 26.80], (1.26, 13.9), 0.0),
)


def exploration() -> None:
    """One L-NL subunit: largest voltage against the amplitude of a pulse, and its response to noise."""
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    grid = figure.add_gridspec(4, 2)
    right: Axes = figure.add_subplot(grid[:, 0])
    amplitudes = np.linspace(0, 60, 100)
    noise = np.random.default_rng(1).standard_normal(10_000) / np.sqrt(0.1e-3)
    traces: list[Axes] = []
    for row, ((label, (tau, loc, width), peaks, (slope, at), shift), style) in enumerate(
        zip(CONDITIONS, STYLES, strict=True)
    ):
        simulator = cascade("lnl", tau_nl=tau, loc=loc, width=width)
        found = largest(simulator, amplitudes)
        check(
            f"L-NL, {label}: at pulses of 0, 10, 20, 30, 60",
            largest(simulator, np.array([0.0, 10, 20, 30, 60])),
            peaks,
            0.02,
        )
        rise = np.diff(found) / np.diff(amplitudes)
        check(f"L-NL, {label}: steepest slope", rise.max(), slope, 0.02)
        # the published place is a point of the grid, 0.6 apart
        check(f"L-NL, {label}: where", amplitudes[rise.argmax()] + 0.3, at, 0.61)
        right.plot(amplitudes, found, **style, label=label)
        ax = figure.add_subplot(
            grid[row, 1], sharex=traces[0] if traces else None, sharey=traces[0] if traces else None
        )
        voltage = respond(simulator, (shift + noise)[None, None], 0.1)["nonlinear"][0]
        ax.plot(0.1 * np.arange(len(noise)), voltage, color="black", linewidth=0.8)
        ax.axhline(0, **REST)
        ax.set_title(f"{label}, noise of mean {shift:g}", loc="left", fontsize=8)
        traces.append(ax)
    for ax in traces[:-1]:
        ax.tick_params(labelbottom=False)
    traces[-1].set_xlabel("time (ms)")
    traces[1].set_ylabel("output of the sigmoid (a.u.)")
    right.axhline(0, **REST)
    right.set(xlabel="amplitude of a 5 ms pulse (a.u.)", ylabel="largest voltage (a.u.)")
    right.legend(frameon=False, fontsize=8)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    save(figure, "lnl")


def largest(simulator: Cascade, amplitudes: Floats) -> Floats:
    """Largest voltage during pulses of 5 ms."""
    pulses = [waveform(ShortSquare(200.0, 0.1, float(a), 20.0, 5.0, unit="1")) for a in amplitudes]
    return respond(simulator, np.stack(pulses), 0.1)["dendrite"].max(axis=1)


if __name__ == "__main__":
    FIGURES.mkdir(exist_ok=True)
    draw(cascade("parallel").description, FIGURES / "prc_parallel_graph.png")
    amplification()
    second_peak()
    bursting()
    coincidence_and_gain()
    exploration()
    print(f"all published numbers met; figures in {FIGURES.relative_to(ROOT)}")
