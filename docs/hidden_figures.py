"""The figure of docs/hidden_inputs.md: `python docs/hidden_figures.py`, a few minutes on one core."""

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
from neuroinf.fits.logit_regression import Regression, regress

ROOT = Path(__file__).resolve().parent
sys.path.append(str(ROOT.parent / "benchmarks"))
from hidden_study import both_signs, descent  # noqa: E402  # pyright: ignore[reportMissingImports]

FloatArray = NDArray[np.float64]
BINS, EPOCHS, REPEATS = 1000, 20_000, 6
LOWEST = 1e-8  # loss shown
LOOKS = (("-", COLOURS[0]), ("--", COLOURS[1]))  # of a negative and of a positive true hidden weight
CLOSED = {"color": "black", "linestyle": ":", "linewidth": 1.4}


def least_loss(drive: FloatArray, y: FloatArray, hidden_weight: float, variance: float) -> float:
    """The loss with the best hidden activity there is for this hidden weight, the other weights being the regression's.

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


def ridge(
    ax: Axes, fit: Regression, x: FloatArray, y: FloatArray, true: float, variance: float, way: FloatArray
) -> None:
    """Least loss by the hidden weight, and the way (E, 2) of gradient descent: hidden weight and loss.

    From the regression's hidden weight on the loss can be 0: some v, c and h explain every rate with any larger one.
    """
    drive = fit.weights[0] @ x + fit.bias[0]
    edge = float((logit(y) - drive).std(ddof=1) / np.sqrt(variance))
    right = edge * np.concatenate((np.linspace(0, 0.95, 20), 1 - np.geomspace(0.04, 1e-3, 12)))
    # computed on either side: the symmetry is found, not drawn
    weights = np.concatenate(([-edge], -right[:0:-1], right, [edge]))
    losses = [LOWEST, *(least_loss(drive, y, w, variance) for w in weights[1:-1]), LOWEST]
    ax.fill_between(weights, LOWEST, losses, color="0.88")
    ax.plot(weights, losses, color="0.35", linewidth=1.8)
    for sign, text in ((-1, "loss 0: $w_h h^*$"), (1, "loss 0: the mirror image\n$(-w_h)(-h^*)$")):
        ax.plot([sign * edge, sign * 1.15], [LOWEST, LOWEST], color="0.35", linewidth=6, solid_capstyle="butt")
        ax.text(sign * 0.7, 3.5e-8, text, ha="center", fontsize=9)
    ax.plot(way[:, 0], way[:, 1], color=COLOURS[0], linewidth=1.6)
    ax.plot(*way[0], "o", color=COLOURS[0], markersize=7)
    ax.plot(*way[-1], "s", color=COLOURS[0], markersize=7)
    ax.text(1.1, 0.2, "gradient descent:\nstarts at +1", ha="right", fontsize=9, color=COLOURS[0])
    ax.text(way[-1, 0] + 0.06, way[-1, 1], "ends here", fontsize=9, va="center", color=COLOURS[0])
    ax.plot(true, LOWEST, "*", color="black", markersize=16, clip_on=False, zorder=5)
    ax.text(-0.7, 6e-7, f"★ the true neuron, {true:+.2f}", ha="center", fontsize=9)
    ax.text(0, 8e-3, "a ridge: at 0 no h\nexplains the rate", ha="center", fontsize=9)
    ax.set(yscale="log", ylim=(LOWEST, 3), xlim=(-1.15, 1.15), xlabel="hidden weight $v_h$ of the model (1)")
    ax.set_ylabel("least training loss (1)")
    ax.set_title("A  Both signs fit perfectly; a ridge keeps them apart", loc="left", fontsize=10.5, weight="bold")


def correlations(ax: Axes, found: Descent, theta: FloatArray, closed: float) -> None:
    """Correlation by epoch, a line for every input and start."""
    thousands = found.history["epoch"][:, 0] / 1000
    for sign, (style, colour) in zip((-1, 1), LOOKS, strict=True):
        rows = np.flatnonzero(np.sign(theta[:, -1]) == sign)
        r = found.history["r"][:, rows]
        ax.plot(thousands, r, color=colour, linewidth=0.6, alpha=0.45)
        label = f"true hidden weight {theta[rows[0], -1]:+.2f}"
        ax.plot(thousands, np.median(r, axis=1), color=colour, linestyle=style, linewidth=2.2, label=label)
        ax.axhline(sign * closed, **CLOSED, label="closed form, 1 ms; sign unknown" if sign > 0 else None)
    ax.axhline(0, color="0.7", linewidth=0.8)
    ax.set(xlabel="passes through the data (thousands)", xlim=(0, EPOCHS / 1000), ylim=(-1.08, 1.08))
    ax.set_ylabel("correlation r of found and true hidden input (1)")
    ax.legend(fontsize=8.5, loc="center right", framealpha=1)
    ax.set_title("B  The sign of r is that of the true hidden weight", loc="left", fontsize=10.5, weight="bold")


def losses(above: Axes, below: Axes, found: Descent, theta: FloatArray, closed: FloatArray) -> None:
    """Validation loss by epoch over that of the closed form (R,), and training loss."""
    thousands = found.history["epoch"][:, 0] / 1000
    ratio = found.history["val_loss"] / closed
    for sign, (style, colour) in zip((-1, 1), LOOKS, strict=True):
        rows = np.sign(theta[:, -1]) == sign
        above.plot(thousands, ratio[:, rows], color=colour, linewidth=0.6, alpha=0.45)
        middle = np.median(ratio[:, rows], axis=1)
        above.plot(thousands, middle, color=colour, linestyle=style, linewidth=2.2)
        train = np.median(found.history["train_loss"][:, rows], axis=1)
        below.plot(thousands, train, color=colour, linestyle=style, linewidth=2.2)
    above.axhline(1, **CLOSED)
    above.text(0.3, 0.93, "closed form", fontsize=9, va="center")
    above.set(ylim=(0.9, 1.75), xlim=(0, EPOCHS / 1000), ylabel="validation loss\n/ closed form's (1)")
    above.tick_params(labelbottom=False)
    above.text(9, 1.5, "down, then up: a U", fontsize=9, ha="center")
    below.text(9, 2e-2, "h learns every training rate by heart", fontsize=9, ha="center")
    below.set(yscale="log", xlim=(0, EPOCHS / 1000), xlabel="passes through the data (thousands)")
    below.set_ylabel("training\nloss (1)")
    above.set_title("C  The same losses for both signs; overtrained", loc="left", fontsize=10.5, weight="bold")


def scatter(ax: Axes, true: FloatArray, found: FloatArray, fit: Regression) -> None:
    """Hidden activity found against the true one, of a neuron with a negative hidden weight."""
    ax.plot([-4, 4], [-4, 4], color="0.6", linewidth=1)
    ax.text(3.0, 3.45, "true", fontsize=8.5, color="0.4", ha="center", rotation=38)
    closed = -fit.residual[0] / fit.hidden_weight[0]
    for values, marker, colour, name in (
        (found, "o", COLOURS[0], f"gradient descent, {EPOCHS:,} passes"),
        (closed, "+", "black", "closed form, its sign told"),
    ):
        r = np.corrcoef(true, values)[0, 1]
        label = f"{name}: r = {r:+.3f}"
        ax.plot(true, values, marker, color=colour, markersize=3.5, alpha=0.55, markeredgewidth=0.8, label=label)
    ax.set(xlabel="true hidden input h* (1)", ylabel="found h (1)", xlim=(-4, 4), ylim=(-4, 5.6))
    ax.legend(fontsize=8.5, loc="upper center", markerscale=1.8)
    ax.set_title("D  What the study saw: a mirror image", loc="left", fontsize=10.5, weight="bold")


def hidden_inputs(folder: Path) -> None:
    """Draw the figure."""
    theta, data = both_signs(BINS, REPEATS)
    found, recorded = descent(theta, data, BINS, EPOCHS)
    y, x, true = data.y[:, :BINS], data.x[..., :BINS], data.x[:, 9, :BINS]
    fit = regress(y, x[:, :9])
    size = [abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(fit.hidden, true, strict=True)]
    rate = expit(np.einsum("ri,rit->rt", fit.weights, data.x[:, :9, BINS:]) + fit.bias[:, None])
    validation = np.square(rate - data.y[:, BINS:]).mean(axis=1)

    figure = Figure(figsize=(12, 9), layout="constrained")
    grid = figure.add_gridspec(4, 2)
    first, second, fourth = (figure.add_subplot(grid[where]) for where in (np.s_[:2, 0], np.s_[:2, 1], np.s_[2:, 1]))
    way = np.column_stack((np.stack(recorded.hidden_weight)[:, 0], found.history["train_loss"][:, 0]))
    ridge(first, fit, x[0, :9], y[0], theta[0, 10], float(data.variance[0]), way)
    correlations(second, found, theta, float(np.median(size)))
    losses(figure.add_subplot(grid[2, 0]), figure.add_subplot(grid[3, 0]), found, theta, validation)
    scatter(fourth, true[0], found.hidden[0], fit)
    figure.savefig(folder / "hidden_inputs.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    hidden_inputs(ROOT / "figures")
