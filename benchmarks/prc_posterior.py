"""What the networks know of the four cascade systems: capabilities 3, 4, 5, 6 and 8, each number beside its bar.

    python benchmarks/prc_posterior.py [--only parallel recurrent soma dendrosomatic lnl reference generalisation pairs]
        [--checkpoints checkpoints] [--data ../shared/reference/prc] [--neurons 1000]

The checkpoints are prc_parallel.ckpt, prc_recurrent.ckpt, prc_recurrent_soma.ckpt, prc_dendrosomatic.ckpt and prc_lnl.ckpt in
one folder. Neurons are drawn from each checkpoint's prior and simulated anew from the seed below; no simulation was seen in
training. With 1,000 neurons an honest 90 % interval covers 0.872 to 0.927 in all but one of a thousand cases.

| table | what is printed |
|---|---|
| parallel, recurrent, dendrosomatic, lnl | R2 (own scale; natural units), SBC, coverage, loss against the prior, seconds |
| parallel, recurrent | the same R2 from one sweep only, and at the points of the published program's grid |
| soma | the recurrent neuron from its soma: posterior over prior, seen and unseen parameters |
| reference | another program's simulations; the ridge at the foot of the sigmoid; no spike at all |
| generalisation | spikes under the coincidence and gain protocols, from the posterior mean |
| pairs | the same seed gives the same file; seconds for 20,000 sweeps |
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from prc_answers import DRAWS, answer, marginal_losses
from prc_protocols import alphas, coincidence_and_gain, potentials, reference, shown, simulation_of, trained
from prc_refinement import NEARBY, refined
from scipy.stats import kstest

from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.evaluation.calibration import coverage, sbc_ranks
from neuroinf.evaluation.metrics import r2
from neuroinf.evaluation.spike_trains import coincidence_factor
from neuroinf.inference import Estimator, load
from neuroinf.stimuli import Stimulus

FloatArray = NDArray[np.float64]

SEED = 50_000
UNSEEN = ("loc", "width", "gain", "dendrite_tau", "na_tau")
# the published program's sliders and grid, as far as they lie within the priors
GRIDS: dict[str, dict[str, list[float]]] = {
    "parallel": {
        f"{subunit}_{name}": values
        for subunit in ("na", "ca", "nmda")
        for name, values in (
            ("loc", [0.1, 0.5, 1.0, 1.5, 2.0]),
            ("width", [0.1, 0.3, 0.6, 1.0]),
            ("gain", [1.0, 2.0, 4.0, 6.0]),
        )
    },
    "recurrent": {
        "loc": [1.4, 1.6, 1.8, 2.0, 2.2, 2.3],
        "width": [0.2, 0.24, 0.28, 0.3],
        "gain": [3.0],
        "spike_height": [2.0],
        "threshold": [0.19, 0.23],
        "soma_tau": [40.0],
        "dendrite_tau": [20.0],
        "na_tau": [2.0],
    },
}


def line(what: str, bar: str, value: float | str, passed: bool | None = None) -> None:
    """One row of the table."""
    shown_value = value if isinstance(value, str) else f"{value:.4f}"
    print(
        f"{what:<76} {bar:>16} {shown_value:>28} {'' if passed is None else 'yes' if passed else 'NO':>4}", flush=True
    )


def posterior_table(
    name: str, estimator: Estimator, stimuli: Sequence[Stimulus], bar: float, neurons: int, one: int | None
) -> None:
    """R2, calibration, loss and time of one system; `one`: the sweep that is also shown alone."""
    prior, rng = estimator.prior, np.random.default_rng(SEED)
    theta = prior.sample(neurons, rng)
    x = shown(estimator, theta, stimuli, rng)
    found = answer(estimator, x, theta)
    means = prior.from_unit(prior.to_unit(found.draws).mean(0))
    own = r2(theta, means, prior)
    raw = 1 - ((found.draws.mean(0) - theta) ** 2).mean(0) / theta.var(0)
    line(f"{name}: R2, mean (own scale)", f">= {bar:.2f}", float(own.mean()), float(own.mean()) >= bar)
    line(f"{name}: R2, mean (natural units)", f">= {bar:.2f}", float(raw.mean()), float(raw.mean()) >= bar)
    if name == "parallel":
        ca = own[[i for i, p in enumerate(prior.names) if p.startswith("ca_")]].mean()
        line(f"{name}: R2, mean of Ca (own scale)", "> 0.55", float(ca), ca > 0.55)
    samples = found.draws.transpose(1, 0, 2)
    ranks = (sbc_ranks(theta, samples) + rng.random(theta.shape)) / (DRAWS + 1)
    covered = coverage(theta, samples)
    losses = marginal_losses(found, prior.to_unconstrained(torch.from_numpy(theta)).numpy())
    floor = 0.5 * np.log(2 * np.pi) + 0.5
    for j, parameter in enumerate(prior.names):
        p = float(kstest(ranks[:, j], "uniform").pvalue)
        honest = p > 0.01 and 0.85 <= covered[j] <= 0.95 and losses[j] < floor
        text = f"{own[j]:.2f} {raw[j]:.2f} {p:.3f} {covered[j]:.3f} {losses[j] - floor:+.2f}"
        line(f"{name}: {parameter}: R2 own, raw, SBC p, coverage, loss - prior", "> .01, .85-.95, < 0", text, honest)
    line(f"{name}: joint loss (prior {found.floor.mean():.2f})", "-", float(found.loss.mean()))
    if neurons >= 1000:
        line(
            f"{name}: {neurons} neurons x {len(stimuli)} sweeps, posterior (s)", "< 1", found.seconds, found.seconds < 1
        )
    if one is not None:
        alone = answer(estimator, x[:, one : one + 1], theta)
        single = r2(theta, prior.from_unit(prior.to_unit(alone.draws).mean(0)), prior)
        within = coverage(theta, alone.draws.transpose(1, 0, 2))
        line(f"{name}: one sweep: R2, mean (own scale)", "-", float(single.mean()))
        line(f"{name}: one sweep: coverage, least and most", "0.85-0.95", f"{within.min():.3f}, {within.max():.3f}")
    if name in GRIDS:
        points = np.stack([rng.choice(GRIDS[name][parameter], neurons) for parameter in prior.names], 1)
        on_grid = answer(estimator, shown(estimator, points, stimuli, rng), points)
        varied = points.std(0) > 0
        centre = prior.to_unit(on_grid.draws).mean(0)
        error = np.sqrt(((centre - prior.to_unit(points)) ** 2).mean(0))[varied].mean()
        line(f"{name}: published grid: error / width of the prior, mean", "-", float(error))
        held = coverage(points, on_grid.draws.transpose(1, 0, 2))
        line(f"{name}: published grid: coverage, mean", "-", float(held.mean()))


def soma_table(estimator: Estimator, neurons: int) -> None:
    """Capability 5: what the soma cannot see keeps its prior."""
    prior, rng = estimator.prior, np.random.default_rng(SEED)
    theta = prior.sample(neurons, rng)
    found = answer(estimator, shown(estimator, theta, alphas(), rng), theta, draws=8000)
    u = prior.to_unit(found.draws)
    ratio, shift = u.std(0) * np.sqrt(12), (u.mean(0) - 0.5) * np.sqrt(12)
    for j, name in enumerate(prior.names):
        low, middle, high = np.quantile(ratio[:, j], [0.05, 0.5, 0.95])
        far = float(np.quantile(np.abs(shift[:, j]), 0.95))
        if name in UNSEEN:
            text = f"{middle:.3f} ({low:.3f}-{high:.3f})"
            line(
                f"soma only: {name}: posterior sd / prior sd, 90 % of neurons",
                "0.9-1.1",
                text,
                low >= 0.9 and high <= 1.1,
            )
            line(f"soma only: {name}: |shift| / prior sd, 95 % quantile", "< 0.1", far, far < 0.1)
        else:
            bounded = bool(middle < 0.3) if name in ("soma_tau", "threshold") else None
            bar = "< 0.3" if bounded is not None else "-"
            line(
                f"soma only: {name}: posterior sd / prior sd, median (90 %)",
                bar,
                f"{middle:.3f} ({low:.3f}-{high:.3f})",
                bounded,
            )


def reference_table(estimator: Estimator, folder: Path) -> None:
    """Capability 6, and the ridge of capability 5."""
    prior, rng, seen = estimator.prior, np.random.default_rng(SEED), estimator.observation
    for path in sorted(folder.glob("recurrent_na_*.npz")):
        clean, truth, peaks = reference(estimator, path)
        name, values = path.stem.removeprefix("recurrent_na_"), np.array([truth[p] for p in prior.names])
        noisy = seen.add_noise(clean, rng)
        draws = answer(estimator, noisy[None], values[None], draws=4000).draws[:, 0]
        for j, parameter in enumerate(prior.names):
            low, high = np.quantile(draws[:, j], [0.025, 0.975])
            contracted = prior.to_unit(draws)[:, j].std() * np.sqrt(12)
            text = f"{values[j]:g} in {low:.3g} to {high:.3g} ({contracted:.2f})"
            held = bool(low <= values[j] <= high)
            line(f"reference {name}: {parameter}: 95 % interval (sd / prior sd)", "holds the truth", text, held)
        if "dataset1" in path.name:
            tau = float(draws[:, prior.names.index("soma_tau")].mean())
            line(f"reference {name}: soma_tau, untold (ms)", "30 +- 2", tau, abs(tau - 30) <= 2)
        fitted = refined(estimator, noisy[None], alphas(peaks), draws[None, :NEARBY])
        at = np.concatenate((draws.mean(0)[None], fitted, draws[:200]))
        simulated = shown(estimator, at, alphas(peaks), None)
        for channel in ("soma", "dendrite"):
            rows, level = seen.rows(channel).start, float(np.ravel(seen.noise[channel])[0])
            every = [np.sqrt(((one[:, rows] - noisy[:, rows]) ** 2).mean()) for one in simulated]
            for how, error in zip(("posterior mean", "refined"), every, strict=False):
                what = f"reference {name}: {channel}: predictive RMSE, {how}"
                line(what, f"<= {2 * level:g}", float(error), error <= 2 * level)
            line(f"reference {name}: {channel}: predictive RMSE, best of 200 draws", "-", float(min(every[2:])))
    quiet = {"loc": 1.8, "width": 0.2, "gain": 3.0, "spike_height": 2.0, "threshold": 1.0}
    quiet |= {"soma_tau": 40.0, "dendrite_tau": 20.0, "na_tau": 2.0}
    silent = np.array([[quiet[p] for p in prior.names]])
    x = shown(estimator, silent, alphas((1.25, 1.85, 2.1)), rng)
    draws = answer(estimator, x, silent.clip(prior.low, prior.high), draws=4000).draws[:, 0]
    for j, parameter in enumerate(prior.names):
        low, high = np.quantile(draws[:, j], [0.025, 0.975])
        if parameter == "threshold":
            line("no spike (5C2): threshold: 2.5 % quantile", "> 0.234", float(low), low > 0.234)
            share = float((draws[:, j] > 0.234).mean())
            line("no spike (5C2): threshold: posterior above 0.234", ">= 0.95", share, share >= 0.95)
        else:
            held = low <= silent[0, j] <= high
            line(
                f"no spike (5C2): {parameter}: 95 % interval", "holds the truth", f"{low:.3g} to {high:.3g}", bool(held)
            )
    ridge_table(estimator, rng)


def ridge_table(estimator: Estimator, rng: np.random.Generator) -> None:
    """Below the foot of the sigmoid only gain exp(-loc / width) matters."""
    prior = estimator.prior
    truth = {"loc": 1.9, "width": 0.3, "gain": 3.0, "spike_height": 2.0, "threshold": 0.19}
    truth |= {"soma_tau": 40.0, "dendrite_tau": 20.0, "na_tau": 2.0}
    theta = np.array([[truth[p] for p in prior.names]])
    draws = answer(estimator, shown(estimator, theta, alphas((1.0, 1.5)), rng), theta, draws=4000).draws[:, 0]
    log_gain, foot = _factors(prior.names, draws)
    before = _factors(prior.names, prior.sample(100_000, rng))
    r = float(np.corrcoef(log_gain, foot)[0, 1])
    line("ridge (5C1, subthreshold): correlation of log gain and loc / width", "> 0.8", r, r > 0.8)
    ratios = [log_gain.std() / before[0].std(), foot.std() / before[1].std()]
    product = (log_gain - foot).std() / (before[0] - before[1]).std()
    line("ridge: posterior sd / prior sd of log gain; of loc / width", "-", f"{ratios[0]:.3f}; {ratios[1]:.3f}")
    line("ridge: the same of log (gain exp(-loc / width))", "< both", float(product), product < min(ratios))


def _factors(names: Sequence[str], theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    loc, width, gain = (theta[:, names.index(name)] for name in ("loc", "width", "gain"))
    return np.log(gain), loc / width


def generalisation_table(estimator: Estimator, neurons: int) -> None:
    """Capability 8: stimuli that the network never saw."""
    prior, rng, simulation = estimator.prior, np.random.default_rng(SEED + 1), simulation_of(estimator)
    theta = prior.sample(neurons, rng)
    found = answer(estimator, shown(estimator, theta, trained(simulation), rng), theta)
    estimate = prior.from_unit(prior.to_unit(found.draws).mean(0))
    order = [prior.names.index(name) for name in simulation.simulator.parameters]
    exact, factors, active = [], [], []
    for stimulus in coincidence_and_gain():
        wave = stimulus.sample(rng)[None]
        pair = [simulation.simulator.simulate(t[:, order], wave, simulation.dt, 0)["spikes"] for t in (theta, estimate)]
        for true, predicted in zip(*pair, strict=True):
            exact.append(len(true) == len(predicted))
            active.append(len(true) > 0)
            factors.append(coincidence_factor(true, predicted, stimulus.duration) if len(true) else np.nan)
    share = float(np.mean(exact))
    line("coincidence and gain: spike count exact, share", ">= 0.8 (or next)", share, share >= 0.8)
    line("coincidence and gain: of responses with spikes", "-", float(np.mean(np.array(exact)[active])))
    factor = float(np.nanmean(factors))
    line("coincidence and gain: coincidence factor (2 ms), mean", ">= 0.8 (or last)", factor, factor >= 0.8)


def pairs_table(estimator: Estimator) -> None:
    """Capability 3."""
    with tempfile.TemporaryDirectory() as folder:
        few = replace(simulation_of(estimator), n=200)
        files = [Dataset(generate(few, Path(folder) / f"{i}.h5", workers=i + 1, progress=False)) for i in range(2)]
        first, second = (file.rows(np.arange(few.n)) for file in files)
        same = np.array_equal(files[0].parameters, files[1].parameters) and all(
            np.array_equal(first.continuous[name], second.continuous[name]) for name in first.continuous
        )
        line("pairs: the same seed, another number of processes: identical", "yes", "yes" if same else "no", same)
        begin = time.perf_counter()
        generate(replace(few, n=20_000), Path(folder) / "pairs.h5", workers=2, progress=False)
        seconds = time.perf_counter() - begin
        line("pairs: 20,000 of the parallel neuron, with file (s)", "< 120", seconds, seconds < 120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"), help="folder of the checkpoints")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/reference/prc"), help="folder of the reference data"
    )
    parser.add_argument("--neurons", type=int, default=1000)

    def network(name: str) -> Estimator:
        return load(options.checkpoints / f"prc_{name}.ckpt")

    def frozen(name: str, bar: float) -> None:
        estimator = network(name)
        posterior_table(name, estimator, trained(simulation_of(estimator)), bar, options.neurons, None)

    tables: dict[str, Callable[[], None]] = {
        "parallel": lambda: posterior_table("parallel", network("parallel"), potentials(), 0.74, options.neurons, 2),
        "recurrent": lambda: posterior_table("recurrent", network("recurrent"), alphas(), 0.91, options.neurons, 3),
        "soma": lambda: soma_table(network("recurrent_soma"), min(options.neurons, 300)),
        "dendrosomatic": lambda: frozen("dendrosomatic", 0.90),
        "lnl": lambda: frozen("lnl", 0.79),
        "reference": lambda: reference_table(network("recurrent"), options.data),
        "generalisation": lambda: generalisation_table(network("dendrosomatic"), options.neurons),
        "pairs": lambda: pairs_table(network("parallel")),
    }
    parser.add_argument("--only", nargs="*", choices=list(tables), default=list(tables))
    options = parser.parse_args(arguments)
    print(f"{'number':<76} {'bar':>16} {'measured':>28} {'met':>4}")
    for name in options.only:
        tables[name]()


if __name__ == "__main__":
    main()
