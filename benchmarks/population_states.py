"""Of circuits inferred from a window in which two populations take turns, how many do so themselves?

    python benchmarks/population_states.py [--checkpoint checkpoints/neulvm.ckpt] [--windows 6] [--samples 20]
        [--seed 20221] [--output FILE]

Windows of 10 s of networks at the published parameters, three neurons of each population, in which the leader changes and
either leads for a second at least. Draws of each posterior are simulated microscopically for 100 s. "Like the truth": the leader
changes, and leading and other population are within 2 Hz of the true network's levels. Bar: 80 % of the draws.

| posterior | |
|---|---|
| prior | no recording |
| amortized | the network's |
| amortized, two states | its draws of which infinite populations have two states |
| circuits | found by simulation: they agree with the window in the rates of its two states, and take turns in 10 s themselves |

Seconds are of a processor, and for one window.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.evaluation.mesoscopic_predictive import free_runs, microscopic, pooled_levels
from neuroinf.evaluation.mesoscopic_windows import FIRST_SEED, Window, windows
from neuroinf.evaluation.population_statistics import dominance
from neuroinf.fits.competing_posterior import competing_posterior
from neuroinf.fits.state_rates import state_rates
from neuroinf.inference import load
from neuroinf.population_inference import infer_population
from neuroinf.priors import CompetingPrior
from neuroinf.simulators import MicroscopicNetwork

FloatArray = NDArray[np.float64]
DRAWS, LONG, LEAST, BAR = 4000, 100_000.0, 1000.0, 0.8
DT = 4.0


def line(*parts: str) -> None:
    """One row of the table."""
    print(f"{parts[0]:<16}{parts[1]:<24}" + "".join(f"{part:>16}" for part in parts[2:]), flush=True)


def chosen(circuit: Any, number: int, seed: int) -> list[Window]:
    """The first windows in which either population leads for a second."""
    found, networks = [], 1
    while len(found) < number:
        found = [w for w in windows(circuit, 10 * networks, networks, seed=seed) if _both(w)]
        networks += 1
    return found[:number]


def _both(window: Window) -> bool:
    states = dominance(window.rates, DT)
    return min(np.count_nonzero(states == s) for s in (0, 1)) * DT >= LEAST


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/neulvm.ckpt"))
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument(
        "--seed", type=int, default=FIRST_SEED, help="of the first network: another gives other windows"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.checkpoint)
    simulator = model.simulation.simulator if model.simulation is not None else None
    assert isinstance(simulator, MicroscopicNetwork)
    circuit, number = simulator.circuit, options.samples
    parameters: Any = model.prior.parameters
    part, network = CompetingPrior(parameters, circuit, [3.0, 150.0]), microscopic(circuit)
    truth = pooled_levels(free_runs(network, np.repeat(circuit.truth[None], 4, 0), 3, LONG, 1))
    print(f"truth: leading {truth.winner:.1f} Hz, other {truth.loser:.1f} Hz; draws of each window: {number}")
    line(
        "window",
        "posterior",
        "switch",
        "levels",
        "like the truth",
        "error of J_E",
        "error, all 12",
        "truth in 90 %",
        "seconds",
    )
    scores: dict[str, list[list[float]]] = {}
    for k, window in enumerate(chosen(circuit, options.windows, options.seed)):
        begin = time.process_time()
        posterior, activity = infer_population(model, window.scored)
        amortized, seconds = posterior.sample(DRAWS, seed=k), time.process_time() - begin
        begin = time.process_time()
        restricted = amortized[part.competes(amortized)]
        given = {
            "prior": (model.prior.sample(number, np.random.default_rng(k)), 0.0),
            "amortized": (amortized, seconds),
            "amortized, two states": (restricted, seconds + time.process_time() - begin),
        }
        try:
            observed = state_rates(window.scored, activity.mean, DT)
            agreeing = competing_posterior(circuit, model.prior, observed, amortized, window.scored.duration, k)
            given["circuits"] = (agreeing.samples, seconds + agreeing.seconds)
            worth = (
                f"{agreeing.accepted:.0%} of the proposals accepted, {agreeing.switching:.0%} of the circuits switched"
            )
            print(f"{window.name}, circuits: {worth}", flush=True)
        except InputError as error:
            print(error)
        for name, (samples, cost) in given.items():
            runs = free_runs(network, samples[:number], 3, LONG, k + 1)
            like = np.mean([run.like(truth) for run in runs])
            changes = np.mean([run.changes > 0 for run in runs])
            levels = np.mean([run.like(truth) or _near(run.levels, truth) for run in runs])
            error = np.abs(samples.mean(0) / circuit.truth - 1)
            low, high = np.quantile(samples, [0.05, 0.95], axis=0)
            held = np.mean((low <= circuit.truth) & (circuit.truth <= high))
            row = [changes, levels, like, error[3:5].mean(), error.mean(), held, cost]
            scores.setdefault(name, []).append([float(value) for value in row])
            line(window.name, name, *[f"{value:.2f}" for value in row])
    for name, rows in scores.items():
        mean = np.mean(rows, 0)
        line(
            "mean",
            name,
            *[f"{value:.2f}" for value in mean],
            "" if name == "prior" else "yes" if mean[2] >= BAR else "NO",
        )
    if options.output is not None:
        options.output.write_text(json.dumps(scores, indent=2) + "\n")


def _near(found: Any, truth: Any) -> bool:
    return max(abs(found.winner - truth.winner), abs(found.loser - truth.loser)) < 2.0


if __name__ == "__main__":
    main()
