"""What the GLM networks know of neurons with a hidden input: acceptance numbers A6 to A10, each beside its bar.

    python benchmarks/glm_posterior.py [--rate checkpoints/glm.ckpt] [--counts CHECKPOINT ...] [--neurons 1000]
        [--only A6 A7 ...] [--folder FOLDER]

Neurons are drawn from the checkpoint's prior with one hidden input, of the law of the observed ones, and simulated anew from
the seeds below; no simulation was seen in training. The fits beside the network are those of `evaluate.py`. With 1,000
neurons an honest 90 % interval covers 0.872 to 0.927 in all but one of a thousand cases.

| number | inputs | what is printed |
|---|---|---|
| A6 | Gaussian | hidden activity: median correlation, its sign aside; relative error of the weights; seconds for one neuron |
| A7 | as in training; Gaussian | SBC (chi-squared) and coverage of w, b and the hidden weight's size, 100 to 10,000 bins |
| A8 | Gaussian; Poisson | probability of a positive hidden weight; how often the likelier sign is the true one |
| A9 | Gaussian and Poisson, correlated | bias of the weights, the sign given, over that of the regression; width; coverage |
| A10 | Gaussian, spikes out | held-out log-likelihood; coverage; contraction with the number of bins |

Of A10, "network above" compares medians of the loss against the true parameters; the line below it is the mean difference on the
same neurons with its standard error, which tells whether chance has decided.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.errors import InputError
from neuroinf.evaluation.comparison import Condition, Method, run
from neuroinf.evaluation.glm_findings import glm_findings
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.evaluation.methods import Amortized, Fitted
from neuroinf.evaluation.symmetry import fold_comparison, symmetry_scores
from neuroinf.fits import per_neuron_fits
from neuroinf.inference import Estimator, load
from neuroinf.simulators import GLM
from neuroinf.stimuli import GaussianInputs, PoissonInputs, Stimulus
from neuroinf.symmetry import SignSymmetry

SEEDS = {"A6": 6_000, "A7": 7_000, "A8": 8_000, "A9": 9_000, "A10": 10_000}
LONGEST = 10_000.0  # ms, of the networks' training
CORRELATIONS = (0.0, 0.2, 0.5, 0.8)
FITTED = 300  # neurons of the slower fits


@dataclass(frozen=True)
class Measured:
    """What evaluation says of the methods on one set of neurons, as in metrics.json.

    Args:
        metrics: By method, the hidden weight without its sign.
        signs: The entry "symmetries" of w_hidden, by method.
        entries: "predictive", "hidden" and "confounding".
    """

    metrics: dict[str, Any]
    signs: dict[str, dict[str, float]]
    entries: dict[str, Any]


def simulated(estimator: Estimator, stimulus: Stimulus | None, neurons: int, seed: int, folder: Path) -> HeldOut:
    """New neurons under a stimulus, each with inputs of its own; None: those of the training, with all that varies there."""
    trained = estimator.simulation
    if trained is None or not isinstance(trained.simulator, GLM):
        raise InputError(f"{estimator.path}: expected a checkpoint of a network for GLM neurons")
    simulation = replace(trained, n=neurons, seed=seed, waveforms=4 * neurons, sweeps=1)
    if stimulus is not None:
        neuron = trained.simulator
        one = GLM(
            neuron.inputs, 1, coupled=neuron.coupled, filters=neuron.filters, coupling=neuron.coupling,
            history=neuron.history, nonlinearity=neuron.nonlinearity, output=neuron.output,
        )  # fmt: skip
        simulation = replace(simulation, simulator=one, stimulus=stimulus)
    folder.mkdir(parents=True, exist_ok=True)
    file = Dataset(generate(simulation, folder / f"{seed}_{neurons}.h5", progress=False))
    return HeldOut(file, simulation, np.arange(file.n), estimator.observation)


def measure(estimator: Estimator, test: HeldOut, bins: int, findings: bool = True) -> Measured:
    """The network and the fits on the first bins of each neuron."""
    condition = Condition(f"{bins} bins", {}, duration=bins * test.observation.dt)
    symmetry = SignSymmetry.of(test.simulation.simulator, estimator.prior)
    methods: dict[str, Method] = {"amortized": Amortized(estimator, test.truth, symmetry)}
    fits = per_neuron_fits(test.simulation, estimator.prior, test.observation.dt, np.random.default_rng(0))
    if findings:
        methods |= {name: Fitted(name, fit, test, FITTED, condition) for name, fit in fits.items() if fit.most is None}
    answered = run(methods, test.observe, test.truth, estimator.prior, [condition])
    folded, raw = fold_comparison(symmetry, answered), answered.given(condition)
    entries = glm_findings(test, condition, raw, FITTED)[0] if findings else {}
    signs = symmetry_scores(symmetry, test.truth, raw).get("w_hidden", {})
    return Measured(folded.metrics(condition), signs, entries)


def gaussian(estimator: Estimator, duration: float = LONGEST, correlation: float = 0.0) -> Stimulus:
    """Observed inputs and a hidden one, standard normal."""
    return GaussianInputs(_inputs(estimator), duration, estimator.observation.dt, correlation=correlation)


def poisson(estimator: Estimator, duration: float = LONGEST, correlation: float = 0.0) -> Stimulus:
    """Observed inputs and a hidden one, counts of mean 1."""
    return PoissonInputs(_inputs(estimator), duration, estimator.observation.dt, correlation=correlation)


def a6(estimator: Estimator, neurons: int, folder: Path) -> None:
    """Hidden activity from rates."""
    test = simulated(estimator, gaussian(estimator, 2000.0), neurons, SEEDS["A6"], folder)
    for bins, least, most in ((100, 0.90, 0.15), (1000, 0.98, 0.06)):
        found = measure(estimator, test, bins).entries["hidden"]
        network, fit = found["amortized"], found.get("per_neuron_fit", {})
        line(f"A6 {bins} bins: |r|, median", f">= {least}", network["r"], network["r"] >= least, fit.get("r"))
        line(f"A6 {bins} bins: |r|, 5 % quantile", "-", network["r_5"], None, fit.get("r_5"))
        line(f"A6 {bins} bins: coverage of h, 90 % intervals", "-", network["coverage_90"])
        error = network["weight_error"]
        line(f"A6 {bins} bins: weights, relative error", f"<= {most}", error, error <= most, fit.get("weight_error"))
        seconds = forward_seconds(estimator, test, bins)
        line(f"A6 {bins} bins: one forward pass (s)", "< 1", seconds, seconds < 1)


@torch.inference_mode()
def forward_seconds(estimator: Estimator, test: HeldOut, bins: int) -> float:
    """From one neuron's observation to its posterior; the first call, which loads compiled code, left out."""
    x = test.first(2).observe(Condition("", {}, duration=bins * test.observation.dt))
    estimator.density.posterior(estimator.features(x[:1]))
    begin = time.perf_counter()
    estimator.density.posterior(estimator.features(x[1:]))
    return time.perf_counter() - begin


def a7(estimator: Estimator, neurons: int, folder: Path) -> None:
    """Calibration of every parameter."""
    for number, (law, stimulus) in enumerate((("training", None), ("Gaussian", gaussian(estimator)))):
        test = simulated(estimator, stimulus, neurons, SEEDS["A7"] + number, folder)
        for bins in (100, 1000, 10_000):
            if bins * test.observation.dt > test.duration:
                continue
            entry = measure(estimator, test, bins, findings=False).metrics["amortized"]
            p, covered = entry["sbc_p"], entry["coverage_90"]
            for name in p:
                honest = p[name] > 0.01 and 0.85 <= covered[name] <= 0.95
                text = f"{p[name]:.3f}, {covered[name]:.3f}"
                line(f"A7 {law}, {bins} bins: {name}: SBC p, coverage", "> 0.01, 0.85-0.95", text, honest)


def a8(estimator: Estimator, neurons: int, folder: Path) -> None:
    """The hidden weight's sign."""
    for number, (law, stimulus) in enumerate(
        (("Gaussian", gaussian(estimator, 1000.0)), ("Poisson", poisson(estimator, 1000.0)))
    ):
        test = simulated(estimator, stimulus, neurons, SEEDS["A8"] + number, folder)
        for bins in (100, 1000):
            found = measure(estimator, test, bins, findings=False).signs["amortized"]
            if law == "Gaussian":
                share = found["undecided"]
                line(f"A8 {law}, {bins} bins: P(w_h > 0) in 0.4-0.6, share", "all", share, share == 1)
                line(f"A8 {law}, {bins} bins: two modes, share", "all", found["bimodal"], found["bimodal"] == 1)
            else:
                enough = found["right"] >= 0.95 if bins == 1000 else None
                line(
                    f"A8 {law}, {bins} bins: right sign, share",
                    ">= 0.95" if bins == 1000 else "-",
                    found["right"],
                    enough,
                )
            line(f"A8 {law}, {bins} bins: Brier score of the sign", "guessing: 0.25", found["brier"])


def a9(estimator: Estimator, neurons: int, folder: Path) -> None:
    """Correlated inputs."""
    laws: dict[str, Callable[..., Stimulus]] = {"Gaussian": gaussian, "Poisson": poisson}
    for law, make in laws.items():
        widths = []
        for number, c in enumerate(CORRELATIONS):
            seed = SEEDS["A9"] + number + (0 if law == "Gaussian" else 100)
            test = simulated(estimator, make(estimator, 1000.0, c), neurons, seed, folder)
            found = measure(estimator, test, 1000).entries["confounding"]["methods"]
            network, fit = found["amortized"], found.get("per_neuron_fit", {})
            where = f"A9 {law}, c = {c:g}"
            bounded = None if c == 0 else network["bias_over_fit"] <= 0.5
            line(f"{where}: bias, relative", "-", network["bias"], None, fit.get("bias"))
            line(f"{where}: bias over the regression's", "-" if c == 0 else "<= 0.5", network["bias_over_fit"], bounded)
            covered = network["coverage_90"]
            line(f"{where}: coverage of w, 90 % intervals", ">= 0.85", covered, covered >= 0.85)
            widths.append(network["width"])
            wider = None if len(widths) == 1 else widths[-1] > widths[-2]
            line(f"{where}: posterior sd of w", "-" if wider is None else "wider", network["width"], wider)


def a10(estimator: Estimator, neurons: int, folder: Path) -> None:
    """Spikes instead of rates."""
    neuron = estimator.simulation.simulator if estimator.simulation is not None else None
    output = neuron.output if isinstance(neuron, GLM) else "?"
    test = simulated(estimator, gaussian(estimator), neurons, SEEDS["A10"], folder)
    learnt: list[dict[str, float]] = []
    for bins in (100, 1000, 9000):
        found = measure(estimator, test, bins)
        predicted, entry = found.entries["predictive"], found.metrics["amortized"]
        bits = {name: scores["held_out_bits_per_bin"] for name, scores in predicted.items()}
        below = {name: scores["bits_per_bin_below_true"] for name, scores in predicted.items()}
        where = f"A10 {output}, {bins} bins"
        line(f"{where}: held-out bits per bin, true parameters", "-", bits["true_parameters"])
        for name in (
            "amortized",
            "least_squares_on_counts",
            "per_neuron_fit",
            "maximum_likelihood_with_hidden",
            "constant_rate",
        ):
            if bits.get(name) is None:
                continue
            beaten = below["amortized"] < below[name] if name in ("least_squares_on_counts", "per_neuron_fit") else None
            text = f"{bits[name]:.4f} ({below[name]:.5f} below true)"
            line(f"{where}: held-out bits per bin, {name}", "-" if beaten is None else "network above", text, beaten)
            if beaten is not None:
                above, error = (predicted[name][key] for key in ("amortized_above", "amortized_above_se"))
                text = f"{above:+.6f} +- {error:.6f}"
                line(f"{where}: network less {name}, mean over neurons +- s.e.", "-", text)
        for name, covered in entry["coverage_90"].items():
            line(f"{where}: coverage of {name}", "0.85-0.95", covered, 0.85 <= covered <= 0.95)
        learnt.append(entry["contraction"])
        for name, value in entry["contraction"].items():
            more = None if len(learnt) == 1 else value > learnt[-2][name]
            line(f"{where}: contraction of {name}", "-" if more is None else "grows", value, more)


def line(what: str, bar: str, value: float | str, passed: bool | None = None, fit: float | None = None) -> None:
    """One row of the table."""
    shown = value if isinstance(value, str) else f"{value:.4f}"
    beside = "" if fit is None else f"  (per_neuron_fit: {fit:.4f})"
    print(
        f"{what:<72} {bar:>18} {shown:>30} {'' if passed is None else 'yes' if passed else 'NO':>4}{beside}", flush=True
    )


def _inputs(estimator: Estimator) -> int:
    return estimator.observation.inputs + 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=Path, default=Path("checkpoints/glm.ckpt"), help="a network that reads rates")
    parser.add_argument("--counts", type=Path, nargs="*", default=[], help="networks that read spike counts")
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=list(SEEDS), default=list(SEEDS))
    parser.add_argument("--folder", type=Path, help="where the simulations are kept; by default they are deleted")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        print(f"{'number':<72} {'bar':>18} {'measured':>30} {'met':>4}")
        rates = {"A6": a6, "A7": a7, "A8": a8, "A9": a9}
        if any(name in rates for name in options.only):
            network = load(options.rate)
            for name, table in rates.items():
                if name in options.only:
                    table(network, options.neurons, folder / "rate")
        for number, path in enumerate(options.counts if "A10" in options.only else []):
            a10(load(path), options.neurons, folder / f"counts_{number}")


if __name__ == "__main__":
    main()
