"""C2ST of the released networks on the task "Bernoulli GLM" of the simulation-based inference benchmark.

    python benchmarks/bernoulli_glm.py checkpoints/bernoulli_glm.ckpt checkpoints/bernoulli_glm_raw.ckpt

For each checkpoint and each of the benchmark's first five observations: 10,000 posterior samples against the benchmark's
10,000 reference samples, told apart by its classifier (`neuroinf.evaluation.c2st`). A checkpoint whose encoder takes
statistics is given the task's ten, any other the 100 bins. Bars: a mean of 0.56 from the statistics, 0.60 from the bins.
Takes one to two minutes for each observation on one core. Before that, in seconds: the limit that no classifier's
accuracy exceeds, from the task's own likelihood, and how far the moments are off (`--quick` does only that).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.evaluation.c2st import benchmark_c2st, best_accuracy
from neuroinf.inference import Estimator, load
from neuroinf.networks.spike_statistics import SpikeStatistics
from neuroinf.posterior import Posterior

TASK = ("b", *(f"w_1_{lag}" for lag in range(1, 10)))  # the task's parameters in its own order
# mean over the benchmark's observations after 100,000 simulations: Lueckmann et al. 2021, tables of tasks T.5 and T.6
PUBLISHED = {"statistics": {"NPE": 0.559, "best": 0.522}, "raw": {"NPE": 0.607, "best": 0.552}}
BARS = {"statistics": 0.56, "raw": 0.60}


def posterior(estimator: Estimator, statistics: NDArray[np.float64], spikes: NDArray[np.float64]) -> Posterior:
    """From what the checkpoint reads: statistics (10,) or counts in bins (100,)."""
    if isinstance(estimator.encoder, SpikeStatistics):
        return estimator.infer(statistics=statistics)
    return estimator.infer(spikes=spikes)


def log_joint(
    answer: Posterior, theta: NDArray[np.float64], task: dict[str, NDArray[Any]], i: int
) -> NDArray[np.float64]:
    """Log-likelihood of observation i plus log prior, of theta (n, 10) in the task's order."""
    drive = theta @ task["design_matrix"].astype(np.float64).T
    prior = answer.prior.log_prob(torch.from_numpy(theta)).numpy()
    return (task["observation_raw"][i] * drive - np.logaddexp(0.0, drive)).sum(axis=1) + prior


def quick(
    answer: Posterior,
    samples: NDArray[np.float64],
    reference: NDArray[np.float64],
    task: dict[str, NDArray[Any]],
    i: int,
) -> dict[str, float]:
    """Of observation i: the best accuracy there is, and the largest errors of means, log sds and correlations."""
    pairs = [(log_joint(answer, theta, task, i), answer.log_prob(theta)) for theta in (reference, samples)]
    return {
        "limit": best_accuracy(*pairs[0], *pairs[1]),
        "mean": float(np.abs((samples.mean(axis=0) - reference.mean(axis=0)) / reference.std(axis=0)).max()),
        "log_sd": float(np.abs(np.log(samples.std(axis=0) / reference.std(axis=0))).max()),
        "correlation": float(np.abs(np.corrcoef(samples.T) - np.corrcoef(reference.T)).max()),
    }


def _shown(value: float | None) -> str:
    return "-     " if value is None else f"{value:.4f}"


def _c2st(pair: tuple[NDArray[np.float64], NDArray[np.float64]]) -> float:
    return benchmark_c2st(*pair)


def measure(
    path: Path, task: dict[str, NDArray[Any]], n: int, seed: int, pool: ProcessPoolExecutor | None
) -> dict[str, Any]:
    """For each observation C2ST, unless there is no pool, and `quick`; what the network and its simulations cost."""
    estimator = load(path)
    kind = "statistics" if isinstance(estimator.encoder, SpikeStatistics) else "raw"
    if tuple(estimator.prior.names) != TASK:
        raise InputError(f"{path}: expected a network for the parameters {TASK}, found {estimator.prior.names}")
    print(f"{path}, from {kind}, {estimator.provenance['simulation']['init_args']['n']:,} simulations")
    print("  observation   C2ST     limit    largest error of a mean (sd), log sd, correlation", flush=True)
    lines: list[dict[str, float]] = []
    pairs, seconds = [], 0.0
    for i in range(len(task["observation"])):
        begin = time.perf_counter()
        answer = posterior(estimator, task["observation"][i], task["observation_raw"][i])
        samples = answer.sample(n, seed + i)
        seconds += (time.perf_counter() - begin) / len(task["observation"])
        reference = task["reference_posterior"][i, :n].astype(np.float64)
        lines.append(quick(answer, samples, reference, task, i))
        pairs.append((reference, samples))
    found = [None] * len(pairs) if pool is None else pool.map(_c2st, pairs)
    values: list[float] = []
    for i, (line, value) in enumerate(zip(lines, found, strict=True)):
        if value is not None:
            line["c2st"] = value
            values.append(value)
        errors = "   ".join(f"{line[name]:.3f}" for name in ("mean", "log_sd", "correlation"))
        print(f"  {i + 1}             {_shown(value)}   {line['limit']:.4f}   {errors}", flush=True)
    return {
        "checkpoint": str(path),
        "from": kind,
        "observations": lines,
        "mean": float(np.mean(values)) if values else None,
        "limit": float(np.mean([line["limit"] for line in lines])),
        "bar": BARS[kind],
        "published": PUBLISHED[kind],
        "simulations": estimator.provenance["simulation"]["init_args"]["n"],
        "simulation_seconds": estimator.provenance.get("simulation_seconds"),
        "training_seconds": estimator.training_seconds,
        "sampling_seconds": seconds,
        "val_loss": min(line["val/loss"] for line in estimator.history),
    }


def report(result: dict[str, Any]) -> None:
    """The means, beside the bar and what was published."""
    mean, limit = result["mean"], result["limit"]
    if mean is None:  # a classifier may be worse than the best: above the bar the limit says nothing
        word = "holds" if limit <= result["bar"] else "open without --quick"
    else:
        word = "holds" if mean <= result["bar"] else "FAILS"
    published = result["published"]
    print(f"  mean          {_shown(mean)}   {limit:.4f}   (bar {result['bar']:.2f}: {word})")
    print(f"  published at 100,000: {published['NPE']:.3f} NPE, {published['best']:.3f} best method of any kind")
    print(
        f"  validation loss {result['val_loss']:.3f}; simulation {result['simulation_seconds']:.0f} s, training "
        f"{result['training_seconds']:.0f} s, samples of one observation {result['sampling_seconds']:.2f} s",
        flush=True,
    )


def main() -> None:
    """Measure each checkpoint, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument(
        "--reference", type=Path, default=Path("../shared/reference/bernoulli_glm/observations_1_to_5.npz")
    )
    parser.add_argument("--samples", type=int, default=10_000, help="of either kind; the benchmark has 10,000")
    parser.add_argument("--seed", type=int, default=0, help="of the first observation's samples; 1 more for each other")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="no classifier: its limit and the moments, in seconds")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    if not arguments.reference.is_file():
        parser.error(
            f"{arguments.reference} is missing: --reference takes the task's observations and reference samples, an npz "
            "with observation, observation_raw and reference_posterior"
        )
    os.environ["OMP_NUM_THREADS"] = "1"  # of the classifiers' processes
    task = dict(np.load(arguments.reference))
    results = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for path in arguments.checkpoints:
            chosen = None if arguments.quick else pool
            results.append(measure(path, task, arguments.samples, arguments.seed, chosen))
            report(results[-1])
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
