"""Draw the figures of the documentation into docs/figures: `make docs-figures`.

With the argument `trust` and a checkpoint (checkpoints/glif.ckpt if none is named), those of docs/trust.md alone, and the
numbers of its table:

    python docs/make_figures.py trust checkpoints/glif.ckpt
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from input_figures import inputs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from trust_figures import trust

from neuroinf.stimuli import (
    LongSquare,
    Mixture,
    Noise1,
    Noise2,
    OrnsteinUhlenbeck,
    PinkNoise,
    Ramp,
    ShortSquare,
    Stimulus,
    Sum,
    TripleShortSquare,
)

FIGURES = Path(__file__).parent / "figures"
# told apart by lightness and by dashes, so that a print in grey is read like the screen
STYLES: list[dict[str, Any]] = [
    {"color": "#000000", "linestyle": "-", "linewidth": 1.0},
    {"color": "#2a78b5", "linestyle": "--", "linewidth": 1.0},
    {"color": "#e59f3c", "linestyle": "-", "linewidth": 1.6},
]


def waveforms(stimulus: Stimulus, n: int, seed: int) -> NDArray[np.float64]:
    """The first n waveforms of one generator :math:`(n, T)`."""
    rng = np.random.default_rng(seed)
    return np.stack([stimulus.sample(rng)[0] for _ in range(n)])


def panels(rows: int = 1, right: float = 0.0) -> tuple[Figure, list[Axes], Axes | None]:
    """A figure of `rows` panels that share both axes, beside one of relative width `right`, if that is not 0."""
    figure = Figure(figsize=(8, 2.0 + 0.8 * rows), dpi=120, layout="constrained")
    grid = figure.add_gridspec(rows, 2 if right else 1, width_ratios=[1, right] if right else None)
    left: list[Axes] = []
    for row in range(rows):
        shared = left[0] if left else None
        left.append(figure.add_subplot(grid[row, 0], sharex=shared, sharey=shared))
    beside = figure.add_subplot(grid[:, 1]) if right else None
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
    for ax in left[:-1]:
        ax.tick_params(labelbottom=False)
    return figure, left, beside


def draw_time(axes: Sequence[Axes], stimulus: Stimulus, n: int, seed: int, first: float, last: float) -> None:
    """n waveforms of a stimulus against time, from first to last ms, in one panel or in as many."""
    time = stimulus.dt * np.arange(round(stimulus.duration / stimulus.dt))
    shown = (time >= first) & (time < last)
    for k, waveform in enumerate(waveforms(stimulus, n, seed)):
        style = STYLES[k] if len(axes) == 1 else STYLES[0]
        axes[k % len(axes)].plot(time[shown], waveform[shown], drawstyle="steps-post", zorder=-k, **style)
    axes[-1].set_xlabel("time (ms)")
    axes[-1].xaxis.set_major_locator(MaxNLocator(6))
    axes[len(axes) // 2].set_ylabel(f"current ({stimulus.unit})")
    axes[0].margins(x=0.01)


def save(figure: Figure, title: str, name: str) -> None:
    figure.axes[0].set_title(title, loc="left", fontsize=10)
    # no version of matplotlib in the file: the same picture gives the same bytes
    figure.savefig(FIGURES / f"{name}.png", metadata={"Software": None})


def plain(
    name: str,
    title: str,
    stimulus: Stimulus,
    n: int = 1,
    rows: int = 1,
    seed: int = 2,
    shown: tuple[float, float] | None = None,
) -> None:
    """A figure of waveforms alone, from shown[0] to shown[1] ms."""
    figure, left, _ = panels(rows)
    draw_time(left, stimulus, n, seed, *(shown or (0.0, stimulus.duration)))
    save(figure, title, name)


def pink_noise() -> None:
    figure, left, right = panels(2, 0.4)
    assert right is not None
    draw_time(left, PinkNoise(3000.0), 2, 2, 0.0, 3000.0)
    epoch = waveforms(PinkNoise(3000.0, amplitudes=[1.0]), 1, 2)[0]
    frequency = np.fft.rfftfreq(3000, 1e-3)
    band = (frequency > 0.99) & (frequency < 100.01)
    # one-sided density of a 3 s epoch, per Hz
    power = 2 * np.abs(np.fft.rfft(epoch)) ** 2 * 1e-3 / 3000
    right.loglog(frequency[band], power[band], ".", color=STYLES[0]["color"], markersize=3, label="3 s epoch")
    right.loglog(frequency[band], 0.5 * power[band][0] / frequency[band], color="0.5", linestyle=":", label="slope -1")
    right.set_xlabel("frequency (Hz)")
    right.set_ylabel("power (rheobase²/Hz)")
    right.legend(frameon=False, fontsize=8)
    save(figure, "PinkNoise over 3 s: two draws", "pink_noise")


def ornstein_uhlenbeck() -> None:
    figure, left, right = panels(3, 0.4)
    assert right is not None
    draw_time(left, OrnsteinUhlenbeck(1000.0, start=100, stop=900), 3, 2, 0.0, 1000.0)
    lags = np.arange(0, 61)
    for tau, style in zip((2.0, 5.0, 20.0), STYLES, strict=True):
        x = waveforms(OrnsteinUhlenbeck(60_000.0, 1.0, 0.0, 1.0, tau), 1, 2)[0]
        found = [np.mean(x[: len(x) - lag] * x[lag:]) for lag in lags]
        right.plot(lags, found, **style, label=f"tau {tau:g} ms")
        right.plot(lags[::5], np.exp(-lags[::5] / tau), ".", color=style["color"], markersize=4)
    right.set_xlabel("lag (ms)")
    right.set_ylabel("autocorrelation (1)")
    right.legend(frameon=False, fontsize=8, title="dots: exp(-lag/tau)", title_fontsize=8)
    save(figure, "OrnsteinUhlenbeck: three draws of mean, sd and tau", "ornstein_uhlenbeck")


def frozen(name: str, make: type[Noise1] | type[Noise2]) -> None:
    figure, left, right = panels(1, 0.7)
    assert right is not None
    draw_time(left, make(), 1, 0, 0.0, 22000.0)
    draw_time([right], make(3000.0, layout="compact"), 1, 0, 0.0, 3000.0)
    right.set_title("compact, 3 s", loc="left", fontsize=10)
    save(figure, f"{make.__name__}, published layout", name)


def mixture() -> None:
    parts: list[Stimulus] = [PinkNoise(3000.0), OrnsteinUhlenbeck(3000.0), LongSquare(3000.0)]
    plain("mixture", "Mixture of pink noise, OU noise and long squares: three draws", Mixture(parts), 3, 3, seed=6)


def test_pulse() -> None:
    pulse = LongSquare(3000.0, amplitude=-0.2, start=100, stop=200)
    total = Sum([pulse, PinkNoise(3000.0, start=500, epoch=800)])
    plain("sum", "Sum: a test pulse before pink noise", total)


def squares_and_ramps() -> None:
    plain("long_square", "LongSquare: three draws of the amplitude", LongSquare(3000.0), 3, seed=4)
    plain("short_square", "ShortSquare: one draw", ShortSquare(1200.0, 0.1), shown=(1000, 1050))
    triple = TripleShortSquare(3000.0, 0.1)
    plain("triple_short_square", "TripleShortSquare: two draws of amplitude and spacing", triple, 2, shown=(1980, 2700))
    plain("ramp", "Ramp: three draws of onset and final amplitude", Ramp(3000.0, start=(0, 1000)), 3)


def stimuli() -> None:
    pink_noise()
    frozen("noise_1", Noise1)
    frozen("noise_2", Noise2)
    ornstein_uhlenbeck()
    squares_and_ramps()
    mixture()
    test_pulse()
    inputs(FIGURES)


if __name__ == "__main__":
    FIGURES.mkdir(exist_ok=True)
    if sys.argv[1:2] != ["trust"]:
        stimuli()
    trust(Path(sys.argv[2] if len(sys.argv) > 2 else "checkpoints/glif.ckpt"), FIGURES)
    print(f"figures drawn in {FIGURES}")
