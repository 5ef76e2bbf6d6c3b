"""The figure of docs/hierarchical_glm.md: `python docs/hierarchical_figures.py` (half a minute)."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.evaluation.figures import COLOURS
from neuroinf.fits.hierarchical_glm import explained, fit_ladder, predict
from neuroinf.fits.hierarchical_start import draw
from neuroinf.simulators import HierarchicalGLM

FloatArray = NDArray[np.float64]

STUDENTS = ("1L", "1N", "2N", "3N", "4N")
TEACHERS, STEPS, RATE = 10, 5000, 0.005  # of 3N; bins of 1 ms; spikes per bin and input
SHOWN = slice(1000, 1500)
LOOKS = {"1L": (":", 1.6), "2N": ("-.", 1.2), "3N": ("--", 1.4)}


def students(seed: int) -> tuple[FloatArray, dict[str, FloatArray]]:
    """A 3N teacher's test voltage and what students fitted to another 5 s of it predict."""
    rng = np.random.default_rng([1, seed])
    x, test = ((rng.random((20, STEPS)) < RATE).astype(np.float64) for _ in range(2))
    models = [HierarchicalGLM.named(name, 10, 10) for name in STUDENTS]
    teacher = models[STUDENTS.index("3N")]
    theta = draw(teacher, x, 1.0, rng)
    fits = fit_ladder(predict(teacher, theta, x, 1.0), x, models, 1.0, rng)
    predictions = {name: found.voltage(test, 1.0) for name, found in zip(STUDENTS, fits, strict=True)}
    return predict(teacher, theta, test, 1.0), predictions


def main() -> None:
    """Draws the voltages of one teacher and the unexplained variance of all."""
    found = [students(seed) for seed in range(TEACHERS)]
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1.0))

    truth, predictions = found[0]
    time = np.arange(STEPS)[SHOWN] - SHOWN.start
    left.plot(time, truth[SHOWN], color="0.75", linewidth=4.0, label="teacher, 3N")
    for k, (name, (style, width)) in enumerate(LOOKS.items()):
        r2, _ = explained(truth, predictions[name])
        label = f"student {name}, R² {r2:.4f}"
        left.plot(time, predictions[name][SHOWN], style, color=COLOURS[k], linewidth=width, label=label)
    left.axhline(truth.mean(), color="black", linewidth=0.8, label="mean, R² 0")
    left.set(xlabel="time (ms)", ylabel="held-out soma voltage (mV)", xlim=(0, time[-1]), ylim=(-72, -36))
    left.legend(fontsize=7.5, loc="upper center", ncols=2)

    missing = np.array([[1 - explained(v, p[name])[0] for name in STUDENTS] for v, p in found])
    right.axhline(1.0, color="black", linewidth=0.8)
    right.text(4.1, 1.1, "baseline: the mean", fontsize=8, ha="right", va="bottom")
    right.axhline(0.01, color="black", linewidth=0.8, linestyle=":")
    right.text(4.1, 0.0105, "R² 0.99", fontsize=8, ha="right", va="bottom")
    for row in missing:
        right.plot(range(len(STUDENTS)), row, "o-", color="0.7", markersize=3, linewidth=0.6)
    right.plot(range(len(STUDENTS)), np.median(missing, axis=0), "D", color="black", markersize=6, label="median")
    right.set_xticks(range(len(STUDENTS)), STUDENTS)
    right.set(yscale="log", ylim=(1e-5, 3.0), xlabel="student's architecture", ylabel="unexplained variance 1 − R²")
    right.set_title(f"{TEACHERS} 3N teachers, 5 s of training", fontsize=9)
    right.legend(fontsize=8, loc="lower left")
    path = Path(__file__).parent / "figures" / "hierarchical_glm.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    print(path)


if __name__ == "__main__":
    main()
