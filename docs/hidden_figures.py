"""The figure of docs/hidden_inputs.md: `python docs/hidden_figures.py`, two minutes on one core."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from neuroinf.evaluation.figures import COLOURS
from neuroinf.fits.hidden_descent import Descent
from neuroinf.fits.logit_regression import regress

ROOT = Path(__file__).resolve().parent
sys.path.append(str(ROOT.parent / "benchmarks"))
from hidden_study import both_signs, descent  # noqa: E402

FloatArray = NDArray[np.float64]
BINS, EPOCHS = 1000, 20_000


def least_loss(drive: FloatArray, y: FloatArray, hidden_weight: float, variance: float) -> float:
    """The loss with the best hidden activity there is for this hidden weight, the other weights being right.

    Args:
        drive: Of the observed inputs and bias (T,).
        y: Rates (T,).
        hidden_weight: Of the model.
        variance: That the penalty asks of the hidden activity.
    """

    def loss(h: FloatArray) -> tuple[float, FloatArray]:
        rate = expit(drive + hidden_weight * h)
        off = h.var(ddof=1) - variance
        slope = 2 * (rate - y) * rate * (1 - rate) * hidden_weight / len(y)
        return float(np.square(rate - y).mean() + off**2), slope + 4 * off * (h - h.mean()) / (len(y) - 1)

    exact = logit(y) - drive
    exact *= np.sqrt(variance) / exact.std(ddof=1)  # of the right shape, and what the penalty asks
    starts = (exact * (1 if hidden_weight >= 0 else -1), np.random.default_rng(0).standard_normal(len(y)))
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10}
    return min(minimize(loss, h, jac=True, method="L-BFGS-B", options=options).fun for h in starts)


def valleys(ax: Axes, drive: FloatArray, y: FloatArray, true: float, variance: float, found: Descent) -> None:
    """Loss by the hidden weight, and the way of gradient descent."""
    weights = np.concatenate((np.linspace(-1.1, -0.02, 55), [0.0], np.linspace(0.02, 1.1, 55)))
    weights = np.unique(np.concatenate((weights, [-abs(true), abs(true)])))
    profile = np.array([least_loss(drive, y, w, variance) for w in weights])
    apart = (logit(y) - drive).var(ddof=1)
    with np.errstate(divide="ignore"):
        exact = np.square(apart / weights**2 - variance)
    ax.plot(
        weights, exact, color=COLOURS[1], linestyle="--", linewidth=1.2, label="h explains every rate: only the penalty"
    )
    ax.plot(weights, np.maximum(profile, 1e-9), color=COLOURS[0], linewidth=1.6, label="least over all h")
    floor = float(np.square(expit(drive) - y).mean())
    ax.axhline(floor, color="0.4", linestyle=":", linewidth=1, label=f"no hidden input: {floor:.1e}")
    ax.set(yscale="log", ylim=(1e-8, 1e3), xlim=(-1.1, 1.1), xlabel="hidden weight v_h (1)", ylabel="loss (1)")
    for sign, name in ((-1, "w_h"), (1, "-w_h")):
        ax.annotate(name, (sign * abs(true), 2e-8), ha="center", fontsize=8)
    end = float(found.hidden_weight[0])
    ax.annotate("", (end, 5e1), (1.0, 5e1), arrowprops={"arrowstyle": "->", "color": "black"})
    ax.text(0.62, 1e2, "descent", ha="center", fontsize=8)
    ax.legend(fontsize=7, loc="lower right", framealpha=0.9)
    ax.set_title("two valleys, mirror images; at 0, h would be infinite", loc="left", fontsize=9)


def paths(ax: Axes, weights: dict[str, FloatArray], epochs: FloatArray, true: float) -> None:
    """The hidden weight during descent."""
    for (label, path), style in zip(weights.items(), ("-", "--"), strict=True):
        ax.plot(
            epochs / 1000, path, color=COLOURS[0 if style == "-" else 1], linestyle=style, linewidth=1.6, label=label
        )
    ax.axhline(0, color="black", linewidth=1)
    for value in (true, -true):
        ax.axhline(value, color="0.5", linestyle=":", linewidth=1)
        ax.text(20.2, value, f"{value:+.2f}", va="center", fontsize=7)
    ax.text(0.3, 0.03, "never crossed", fontsize=8)
    ax.set(xlabel="passes through the data (thousands)", ylabel="hidden weight v_h (1)", ylim=(-0.4, 1.1), xlim=(0, 20))
    ax.legend(fontsize=7)
    ax.set_title("both start at +1 and stay there", loc="left", fontsize=9)


def scatter(ax: Axes, true: FloatArray, found: list[FloatArray], labels: list[str], title: str) -> None:
    """Hidden activity found against the true one."""
    ax.plot([-4, 4], [-4, 4], color="0.5", linewidth=1, linestyle=":", label="the truth")
    for values, marker, label, colour in zip(found, ("o", "x"), labels, COLOURS, strict=False):
        r = np.corrcoef(true, values)[0, 1]
        ax.plot(
            true,
            values,
            marker,
            color=colour,
            markersize=2.5,
            alpha=0.6,
            label=f"{label}: r = {r:+.2f}",
            markeredgewidth=0.7,
        )
    ax.set(xlabel="true hidden input h* (1)", ylabel="found h (1)", xlim=(-4, 4), ylim=(-4, 4))
    ax.legend(fontsize=7, loc="lower center", markerscale=2)
    ax.set_title(title, loc="left", fontsize=9)


def hidden_inputs(folder: Path) -> None:
    """Draw the figure."""
    theta, data = both_signs(BINS)
    # the same inputs for both, so that they differ in the sign alone
    data.x[1], data.y[1] = data.x[0], expit(theta[1, :9] @ data.x[0, :9] + theta[1, 9] + theta[1, 10] * data.x[0, 9])
    data.variance[1] = data.variance[0]
    found, recorded = descent(theta, data, BINS, EPOCHS)
    y, x, true = data.y[:, :BINS], data.x[..., :BINS], data.x[0, 9, :BINS]

    figure = Figure(figsize=(11, 8), layout="constrained")
    first, second, third, fourth = figure.subplots(2, 2).flat
    drive = theta[0, :9] @ x[0, :9] + theta[0, 9]
    valleys(first, drive, y[0], theta[0, 10], float(data.variance[0]), found)
    names = [f"true weight {w:+.2f}" for w in theta[:, 10]]
    history = np.stack(recorded.hidden_weight)
    paths(second, dict(zip(names, history.T, strict=True)), found.history["epoch"][:, 0], theta[0, 10])
    scatter(third, true, list(found.hidden), names, f"gradient descent, {EPOCHS:,} passes, {found.seconds / 2:.0f} s")
    fit = regress(y, x[:, :9])
    # the regression does not know the sign either: shown for both as if it were positive
    positive = list(fit.residual / fit.hidden_weight[:, None])
    scatter(fourth, true, positive, names, "least squares on logit y, 1 ms: residual / |w_h|")
    figure.savefig(folder / "hidden_sign.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    hidden_inputs(ROOT / "figures")
