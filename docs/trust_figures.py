"""The figures and numbers of docs/trust.md, from a checkpoint: `python docs/make_figures.py trust [CHECKPOINT]`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

import neuroinf
from neuroinf.evaluation import calibration, calibration_figures
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.figures import COLOURS, panels
from neuroinf.evaluation.held_out import held_out
from neuroinf.evaluation.methods import Amortized
from neuroinf.priors import Prior

# observation noise, mV: within what the released network was trained on, and twice beyond it
NOISE = {"good": 0.5, "bad": 4.0}
NEURONS = 1000
SHOWN = 0


def answers(checkpoint: Path) -> tuple[Prior, NDArray[np.float64], dict[str, Estimates]]:
    """The prior, the true parameters (n, P) of the test neurons, and the network's answers under either noise."""
    estimator = neuroinf.load(checkpoint)
    with TemporaryDirectory() as folder:
        test = held_out(estimator, None, Path(folder), NEURONS, ())
        network, found = Amortized(estimator, test.truth), {}
        for name, noise in NOISE.items():
            condition = Condition(f"{noise:g} mV noise", {"voltage": noise})
            found[name] = network(test.observe(condition), condition)
        return estimator.prior, test.truth, found


def one_neuron(prior: Prior, truth: NDArray[np.float64], found: dict[str, Estimates]) -> Figure:
    """Both posteriors of one neuron, parameter by parameter, with the truth; a panel spans the prior."""
    figure, axes = panels(len(prior.names), height=2.4)
    for j, (ax, name, unit) in enumerate(zip(axes, prior.names, prior.units, strict=True)):
        for k, label in enumerate(NOISE):
            samples = found[label].samples
            assert samples is not None
            height, edges = np.histogram(prior.to_unit(samples[SHOWN])[:, j], 25)
            x = prior.from_unit(np.tile(edges[:, None], len(prior.names)))[:, j]
            look = {"color": COLOURS[k], "linestyle": "-" if k == 0 else "--", "linewidth": 1.4}
            ax.stairs(height / height.max(), x, label=f"{label}: {NOISE[label]:g} mV noise", **look)
        ax.plot(truth[SHOWN, j], 0, "^", color="black", markersize=8, clip_on=False, label="truth", zorder=5)
        if prior.is_log[j]:
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel=f"{name} ({unit})", xlim=(prior.low[j], prior.high[j]), ylim=(0, 1.1), yticks=[])
        ax.set_ylabel("density / largest")
    axes[0].legend(fontsize=7, loc="upper left")
    figure.suptitle("one neuron, two posteriors; each panel spans the prior, which is flat in it", fontsize=11)
    return figure


def trust(checkpoint: Path, folder: Path) -> None:
    """Draw every figure of the page, and print the numbers of its table as Markdown."""
    prior, truth, found = answers(checkpoint)
    one_neuron(prior, truth, found).savefig(folder / "trust_one_neuron.png", dpi=100, metadata={"Software": None})
    rows: dict[str, list[str]] = {}
    for label, estimates in found.items():
        assert estimates.samples is not None and estimates.log_prob is not None
        assert estimates.sample_log_prob is not None
        for name, _, figure in calibration_figures.drawn(truth, estimates, prior):
            figure.savefig(folder / f"trust_{label}_{name}.png", dpi=100, metadata={"Software": None})
        u, samples = prior.to_unit(truth), prior.to_unit(estimates.samples)
        ranks = calibration.sbc_ranks(u, samples)
        for title, values in (
            ("coverage of 90 % intervals", calibration.coverage(u, samples)),
            ("SBC, smallest p of the parameters", [calibration.ecdf_p(ranks, samples.shape[1]).min()]),
            ("expected coverage, p", [calibration.expected_coverage(estimates.log_prob, estimates.sample_log_prob)[2]]),
            ("TARP, p", [calibration.tarp(u, samples, np.random.default_rng(0))[2]]),
            ("contraction, mean", calibration.contraction(u, samples, prior.unit_moments[1] ** 2).mean(axis=0)),
            ("z-score, root mean square", np.sqrt((calibration.z_score(u, samples) ** 2).mean(axis=0))),
        ):
            low, high = min(values), max(values)
            p = "below 1e-4" if low < 1e-4 else f"{low:.2g}"
            rows.setdefault(title, []).append(p if len(values) == 1 else f"{low:.3f} to {high:.3f}")
    print("| | good | bad |\n|---|---|---|")
    for title, cells in rows.items():
        print(f"| {title} | {' | '.join(cells)} |")
