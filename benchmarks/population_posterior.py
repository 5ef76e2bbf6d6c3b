"""What a checkpoint knows of hidden populations: parameters and activity, each number beside its bar.

    python benchmarks/population_posterior.py [--checkpoint checkpoints/neulvm.ckpt] [--rows 1000] [--networks 8]
        [--only parameters | activity] [--seed 60000] [--output FILE]

Test rows are drawn from the checkpoint's prior and simulated anew, those of the published parameters likewise; no simulation was
seen in training. Unless a line says otherwise, 3 neurons of each population were recorded for 10 s. A draw is stable if every
population fires at 0.5 Hz or more and none is near its highest rate; the others are kept, counted, and stand in the lines on all.

| part | what is printed |
|---|---|
| draws | how many of each status; relative error of each parameter's posterior mean on stable draws, beside the prior's mean |
| calibration | p of the test of uniform ranks (Kolmogorov, Smirnov), coverage of 90 % intervals, smallest and largest of all |
| conditions | the same for other durations, numbers of neurons, without knowledge of the input, and for 60 s |
| activity | correlation with true rates, both smoothed by 20 ms, and coverage of a bin's 90 % intervals |
| seconds | of one new recording, parameters and activity |
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.stats import kstest

from neuroinf.datasets.simulation import Simulation
from neuroinf.evaluation.calibration import coverage, sbc_ranks
from neuroinf.evaluation.population_statistics import activity_correlation, dominance
from neuroinf.inference import Estimator, load
from neuroinf.population_inference import infer_population
from neuroinf.recordings.network_recording import NetworkRecording, simulated_recording
from neuroinf.simulators import MicroscopicNetwork

FloatArray = NDArray[np.float64]
SEED = 60_000
DRAWS = 500
LEAST_RATE = 0.5  # Hz, of every population of a stable draw
INITIAL = 400.0  # ms: the published fit starts from recorded neurons smoothed by this
WINDOW = 10_000.0  # ms
BLOCK = 100  # rows at once


def line(what: str, bar: str, value: str, passed: bool | None = None) -> None:
    """One row of the table."""
    print(f"{what:<72} {bar:>14} {value:>34} {'' if passed is None else 'yes' if passed else 'NO':>4}", flush=True)


class Draws:
    """Simulations from the prior: recordings, parameters (n, P), rates (n, M, T), and whether each is stable."""

    def __init__(self, simulation: Simulation, n: int, duration: float, seed: int) -> None:
        network = simulation.simulator
        assert isinstance(network, MicroscopicNetwork)
        rng = np.random.default_rng(seed)
        self.theta = simulation.prior.sample(n, rng)
        self.recordings: list[NetworkRecording] = []
        rates, saturated = [], []
        bins = round(duration / simulation.dt)
        for start in range(0, n, BLOCK):
            part = self.theta[start : start + BLOCK]
            x = np.stack([_inputs(simulation, bins, rng) for _ in part])
            found = network.simulate(part, x, simulation.dt, [seed + start + i for i in range(len(part))])
            rates.append(np.asarray(found["latent/rates"]))
            saturated.append(np.asarray(found["saturated"]))
            for i in range(len(part)):
                self.recordings.append(
                    simulated_recording(found["spikes"][i], found["units"][i], network.groups, duration, x[i])
                )
        self.rates, self.saturated = np.concatenate(rates), np.concatenate(saturated)
        self.silent = self.rates.mean(-1).min(1) < LEAST_RATE
        self.stable = ~self.silent & ~self.saturated


def _inputs(simulation: Simulation, bins: int, rng: np.random.Generator) -> FloatArray:
    """External input of as many bins, in rows of the training's stimulus one after the other."""
    parts = [simulation.stimulus.sample(rng)]
    while sum(part.shape[1] for part in parts) < bins:
        parts.append(simulation.stimulus.sample(rng))
    return np.concatenate(parts, 1)[:, :bins]


def some(recording: NetworkRecording, number: int, known: bool = True) -> NetworkRecording:
    """The first neurons of each population."""
    kept = [np.flatnonzero(recording.groups == m)[:number] for m in np.unique(recording.groups)]
    return replace(recording.take(np.concatenate(kept).tolist()), inputs=recording.inputs if known else None)


def posterior_draws(model: Estimator, recordings: Sequence[NetworkRecording]) -> tuple[FloatArray, float]:
    """Draws (n, S, P) from the posterior of each recording, and seconds of each."""
    begin, found = time.perf_counter(), []
    for i, recording in enumerate(recordings):
        found.append(model.infer(recording).sample(DRAWS, seed=i))
    return np.stack(found), (time.perf_counter() - begin) / len(recordings)


def calibration(truth: FloatArray, samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """p of the ranks' uniformity and coverage (P,)."""
    u = (sbc_ranks(truth, samples) + np.random.default_rng(0).random(truth.shape)) / (samples.shape[1] + 1)
    return np.array([kstest(column, "uniform").pvalue for column in u.T]), coverage(truth, samples)


def parameters(model: Estimator, draws: Draws, few: Draws) -> dict[str, Any]:
    """The part on parameters."""
    names, truth = list(model.prior.names), draws.theta
    line(
        "draws of the prior: all, silent, at the cap, stable",
        "",
        f"{len(truth)}, {draws.silent.sum()}, {draws.saturated.sum()}, {draws.stable.sum()}",
    )
    samples, seconds = posterior_draws(model, [some(r, 3) for r in draws.recordings])
    mean, stable = samples.mean(1), draws.stable
    error = np.median(np.abs(mean / truth - 1)[stable], 0)
    middle = np.median(np.abs(model.prior.from_unit(np.full(truth.shape, 0.5)) / truth - 1)[stable], 0)
    strengths = [i for i, name in enumerate(names) if name.startswith("J_E")]
    both = float(np.median(np.abs(mean / truth - 1)[stable][:, strengths]))
    line("relative error of J_E1 and J_E2, median over stable draws", "<= 0.20", f"{both:.3f}", both <= 0.20)
    for name, value, guess in zip(names, error, middle, strict=True):
        line(f"  {name} (in brackets: the prior's mean)", "", f"{value:.3f} ({guess:.3f})")
    p, covered = calibration(truth, samples)
    line(
        "ranks uniform: smallest p of 12, all draws",
        f"> {0.05 / len(p):.4f}",
        f"{p.min():.4f} {names[int(p.argmin())]}",
        bool(p.min() > 0.05 / len(p)),
    )
    inside = bool(covered.min() >= 0.85 and covered.max() <= 0.95)
    line("90 % intervals cover, all draws", "0.85 - 0.95", f"{covered.min():.3f} - {covered.max():.3f}", inside)
    sp, sc = calibration(truth[stable], samples[stable])
    line("  the same of stable draws: smallest p, coverage", "", f"{sp.min():.4f}, {sc.min():.3f} - {sc.max():.3f}")
    line("seconds of one recording's parameters", "< 1", f"{seconds:.3f}", seconds < 1)
    document = {
        "error": dict(zip(names, error.tolist(), strict=True)),
        "J_E": both,
        "p": p.tolist(),
        "coverage": covered.tolist(),
    }
    conditions = {
        "2 s": [some(r, 3).window(0, 2000) for r in draws.recordings],
        "5 s": [some(r, 3).window(0, 5000) for r in draws.recordings],
        "1 neuron of each population": [some(r, 1) for r in draws.recordings],
        "8 neurons of each population": [some(r, 8) for r in draws.recordings],
        "input not known": [some(r, 3, known=False) for r in draws.recordings],
    }
    for name, recordings in conditions.items():
        document[name] = _condition(model, name, truth, stable, recordings, strengths)
    document["60 s"] = _condition(model, "60 s", few.theta, few.stable, [some(r, 3) for r in few.recordings], strengths)
    return document


def _condition(
    model: Estimator,
    name: str,
    truth: FloatArray,
    stable: NDArray[np.bool_],
    recordings: Sequence[NetworkRecording],
    strengths: list[int],
) -> dict[str, Any]:
    samples = posterior_draws(model, recordings)[0]
    p, covered = calibration(truth, samples)
    error = float(np.median(np.abs(samples.mean(1) / truth - 1)[stable][:, strengths]))
    line(
        f"{name} (n = {len(truth)}): error of J_E; smallest p; coverage",
        "",
        f"{error:.3f}; {p.min():.4f}; {covered.min():.3f} - {covered.max():.3f}",
    )
    return {"J_E": error, "p": p.tolist(), "coverage": covered.tolist()}


def activity(model: Estimator, draws: Draws, networks: int, seed: int) -> dict[str, Any]:
    """The part on activity."""
    circuit = draws_circuit(model)
    names, document = circuit.circuit.names, {}
    bins = round(10 * WINDOW / 4.0)
    found = circuit.simulate(
        np.repeat(circuit.circuit.truth[None], networks, 0), np.zeros((1, len(names), bins)), 4.0, seed + 3
    )
    seen, truth = [], []
    for i in range(networks):
        whole = some(
            simulated_recording(
                found["spikes"][i], found["units"][i], circuit.groups, 10 * WINDOW, np.zeros((len(names), bins))
            ),
            3,
        )
        for start in range(0, bins, round(WINDOW / 4.0)):
            part = found["latent/rates"][i][:, start : start + round(WINDOW / 4.0)]
            if len(np.unique(dominance(part, 4.0))) == 2:
                seen.append(whole.window(start * 4.0, start * 4.0 + WINDOW))
                truth.append(part)
    begin = time.perf_counter()
    answers = [infer_population(model, recording)[1] for recording in seen]
    seconds = (time.perf_counter() - begin) / len(seen)
    correlation = np.array([activity_correlation(a.mean, t, 4.0) for a, t in zip(answers, truth, strict=True)])
    initial = np.array(
        [activity_correlation(_initial(r, len(names)), t, 4.0) for r, t in zip(seen, truth, strict=True)]
    )
    covered = np.array(
        [((t >= a.low - 1e-6) & (t <= a.high + 1e-6)).mean(1) for a, t in zip(answers, truth, strict=True)]
    )
    for m, name in enumerate(names):
        bar = "" if name == "I" else ">= 0.966"
        low, middle, high = np.quantile(correlation[:, m], [0.25, 0.5, 0.75])
        passed = None if name == "I" else bool(middle >= 0.966)
        line(
            f"activity of {name}, {len(seen)} windows with a switch: correlation (quartiles)",
            bar,
            f"{middle:.3f} ({low:.3f} - {high:.3f})",
            passed,
        )
        line(
            "  recorded neurons smoothed by 400 ms; coverage of 90 % intervals",
            "0.85 - 0.95",
            f"{np.median(initial[:, m]):.3f}; {covered[:, m].mean():.3f}",
            bool(0.85 <= covered[:, m].mean() <= 0.95),
        )
        document[name] = {"correlation": correlation[:, m].tolist(), "coverage": float(covered[:, m].mean())}
    line("seconds of one recording's parameters and activity", "< 1", f"{seconds:.3f}", seconds < 1)
    some_rows = np.flatnonzero(draws.stable)[:200]
    of_prior = [infer_population(model, some(draws.recordings[i], 3))[1] for i in some_rows]
    inside = np.array(
        [
            ((draws.rates[i] >= a.low - 1e-6) & (draws.rates[i] <= a.high + 1e-6)).mean(1)
            for i, a in zip(some_rows, of_prior, strict=True)
        ]
    )
    for m, name in enumerate(names):
        value = float(inside[:, m].mean())
        line(
            f"activity of {name}, {len(some_rows)} stable draws of the prior: coverage",
            "0.85 - 0.95",
            f"{value:.3f}",
            0.85 <= value <= 0.95,
        )
        document[name]["coverage_prior"] = value
    return document | {"seconds": seconds}


def draws_circuit(model: Estimator) -> MicroscopicNetwork:
    """The simulator that the checkpoint was trained on, at the published parameters."""
    assert model.simulation is not None and isinstance(model.simulation.simulator, MicroscopicNetwork)
    return model.simulation.simulator


def _initial(recording: NetworkRecording, populations: int) -> FloatArray:
    """Recorded neurons' rate (M, T), smoothed: where the published fit starts."""
    edges = np.arange(round(recording.duration / 4.0) + 1) * 4.0
    rows = []
    for m in range(populations):
        own = np.flatnonzero(recording.groups == m)
        counts = np.histogram(np.concatenate([recording.spikes[k] for k in own]), edges)[0] / (len(own) * 0.004)
        rows.append(gaussian_filter1d(counts, INITIAL / 4.0))
    return np.array(rows)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/neulvm.ckpt"))
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--only", choices=["parameters", "activity"])
    parser.add_argument("--seed", type=int, default=SEED, help="of networks and draws: another gives other windows")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.checkpoint)
    simulation = model.simulation
    assert simulation is not None
    draws = Draws(simulation, options.rows, WINDOW, options.seed)
    document: dict[str, Any] = {}
    if options.only != "parameters":
        document["activity"] = activity(model, draws, options.networks, options.seed)
    if options.only != "activity":
        few = Draws(simulation, max(10, options.rows // 5), 60_000.0, options.seed + 1)
        document["parameters"] = parameters(model, draws, few)
    if options.output is not None:
        options.output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
